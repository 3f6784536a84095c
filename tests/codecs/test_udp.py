import numpy as np
import pytest
import torch
from golden_cases import SIZES, heatmaps, in_photo, keypoints

from hrpose.codecs import UdpCodec


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "dark_udp.npz")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SIZES)
def test_targets_are_official(name, dtype, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    target, weight = UdpCodec(*SIZES[name]).encode(points[:8].to(dtype), visibility[:8])
    want = golden[f"{name}_udp_target"]
    np.testing.assert_allclose(target[: len(want)].numpy(), want, atol=5e-6 if dtype == torch.float32 else 1e-6)
    np.testing.assert_array_equal(weight.numpy(), golden[f"{name}_udp_weight"])


@pytest.mark.parametrize(
    ("smoothing", "kernel", "key"), [("official", 7, "udp_preds_k7"), ("mmpose", 11, "mm_udp_preds_k11")]
)
@pytest.mark.parametrize("name", SIZES)
def test_decoded_keypoints_are_official_and_mmposes(name, smoothing, kernel, key, golden, golden_dir):
    maps, positive = heatmaps(golden_dir, name)  # what the others make of heatmaps without a positive cell is undefined
    found, scores = UdpCodec(*SIZES[name], blur_kernel=kernel, smoothing=smoothing).decode(maps)
    photo = in_photo(found, golden_dir, name, "udp")
    np.testing.assert_allclose(photo[positive], golden[f"{name}_{key}"][positive], atol=1e-3)
    assert torch.equal(scores, maps.amax((2, 3)))


@pytest.mark.parametrize(("smoothing", "kernel"), [("official", 7), ("mmpose", 11), ("mmpose", 17), ("official", 1)])
@pytest.mark.parametrize("name", SIZES)
def test_decode_after_encode_is_the_identity_on_clean_heatmaps(name, smoothing, kernel):
    codec = UdpCodec(*SIZES[name], blur_kernel=kernel, smoothing=smoothing)
    margin = 28 if name == "48x64" else 40
    points = margin + torch.rand(8, 17, 2) * (torch.tensor(codec.input_size) - 2.0 * margin)
    assert (codec.decode(codec.encode(points, torch.ones(8, 17))[0])[0] - points).abs().max() < 0.005


def test_the_corners_of_the_heatmap_are_the_corners_of_the_input():
    codec = UdpCodec((192, 256), (48, 64))
    corners = torch.tensor([[[0.0, 0.0], [191.0, 0.0], [0.0, 255.0], [191.0, 255.0]]])
    target, _ = codec.encode(corners, torch.ones(1, 4))
    assert [int(one.argmax()) for one in target[0]] == [0, 47, 63 * 48, 64 * 48 - 1]
    assert (target.amax((2, 3)) == 1).all()


def test_flip_back_shifts_nothing(golden, golden_dir):
    flip = np.load(golden_dir / "flip.npz")
    permutation = list(range(17))
    for left, right in flip["coco_pairs"].tolist():
        permutation[left], permutation[right] = right, left
    back = UdpCodec((48, 64), (12, 16)).flip_back(torch.from_numpy(flip["coco_output_of_flipped_input"]), permutation)
    np.testing.assert_array_equal(back.numpy(), golden["flip_unshifted"])
    mean = (torch.from_numpy(flip["coco_output"]) + back) * 0.5
    np.testing.assert_array_equal(mean.numpy(), golden["flip_unshifted_mean"])


def test_a_flat_heatmap_is_read_at_its_first_cell():
    found, scores = UdpCodec((192, 256), (48, 64)).decode(torch.full((1, 1, 64, 48), 0.5))
    assert found.flatten().tolist() == [0, 0]
    assert scores.item() == 0.5


def test_an_unknown_smoothing_is_refused():
    with pytest.raises(ValueError, match="`smoothing` to be one of official, mmpose, but got 'none'"):
        UdpCodec((192, 256), (48, 64), smoothing="none")
