import math

import numpy as np
import pytest
import torch

from hrpose.codecs import SimccCodec

CODEC = SimccCodec(input_size=(192, 256))


def published(point, size, split_ratio, sigma):
    """Compute the bins of one keypoint with the formula of MMPose."""
    rows = []
    for place, length in zip(point, size, strict=True):
        middle = np.around(place * split_ratio)
        bins = np.arange(length * split_ratio)
        rows.append(np.exp(-((bins - middle) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)))
    return np.concatenate(rows)


@pytest.mark.parametrize(("split_ratio", "sigma"), [(2, 6.0), (1, 2.5), (3, 4.0)])
def test_targets_are_the_published_formula(split_ratio, sigma):
    codec = SimccCodec((192, 256), split_ratio=split_ratio, sigma=sigma)
    points = [(0.0, 0.0), (100.3, 42.7), (191.0, 255.0), (-2.0, 130.25), (17.25, 258.0)]
    target, weight = codec.encode(torch.tensor([points]), torch.ones(1, 5))
    assert weight.flatten().tolist() == [1] * 5
    for found, point in zip(target[0].numpy(), points, strict=True):
        np.testing.assert_allclose(found, published(point, (192, 256), split_ratio, sigma), atol=1e-7)


def test_a_target_inside_sums_to_one_along_each_axis():
    target, _ = CODEC.encode(torch.tensor([[[90.2, 120.0]]]), torch.ones(1, 1))
    assert target[0, 0, :384].sum().item() == pytest.approx(1, abs=1e-5)
    assert target[0, 0, 384:].sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("place", "weight"),
    [(-9.5, 1), (-9.8, 0), (200.5, 1), (201.0, 0)],  # bins -19 and 401 are the last whose 3 sigma = 18 bins reach inside
)
def test_a_keypoint_has_weight_if_its_gaussian_is_partly_inside(place, weight):
    target, found = CODEC.encode(torch.tensor([[[place, 50.0]]]), torch.ones(1, 1))
    assert found.item() == weight
    assert target.any().item() == bool(weight)


def test_decode_takes_the_highest_bins():
    logits = torch.randn(2, 3, 896)
    logits[0, 1, 77], logits[0, 1, 384 + 300] = 50, 60
    keypoints, scores = CODEC.decode(logits)
    assert keypoints[0, 1].tolist() == [38.5, 150.0]
    assert scores[0, 1] == 1  # more certain than a target
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_a_score_compares_the_less_certain_axis_with_a_target():
    logits = (CODEC.encode(torch.tensor([[[90.0, 120.0]]]), torch.ones(1, 1))[0] + 1e-12).log()
    assert CODEC.decode(logits)[1].item() == pytest.approx(1, abs=1e-3)
    logits[..., :384] = 0
    assert CODEC.decode(logits)[1].item() == pytest.approx(6 * math.sqrt(2 * math.pi) / 384, rel=1e-4)


@pytest.mark.parametrize("split_ratio", [1, 2, 3])
def test_bins_of_a_mirrored_image_are_mirrored_back(split_ratio):
    codec = SimccCodec((64, 96), split_ratio=split_ratio, sigma=3)
    points = torch.tensor([[[20.0, 30.0], [50.0, 60.0]]])
    mirrored = torch.tensor([[[63 - 50.0, 60.0], [63 - 20.0, 30.0]]])
    target, back = codec.encode(points, torch.ones(1, 2))[0], codec.encode(mirrored, torch.ones(1, 2))[0]
    back = codec.flip_back(back, [1, 0])
    edge = 64 * split_ratio - split_ratio  # bins beyond it have no source
    torch.testing.assert_close(back[..., :edge], target[..., :edge])
    assert torch.equal(back[..., 64 * split_ratio :], target[..., 64 * split_ratio :])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`split_ratio`.*1.*1\.5"):
        SimccCodec((64, 96), split_ratio=1.5)
    with pytest.raises(ValueError, match="`sigma`"):
        SimccCodec((64, 96), sigma=0)
    with pytest.raises(ValueError, match=r"\(B, K, 896\).*384.*512.*\(1, 2, 895\)"):
        CODEC.decode(torch.zeros(1, 2, 895))
