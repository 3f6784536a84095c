import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_export import CODECS, SKELETON, as_batch, make_crops, make_net

from hrpose.codecs import HeatmapCodec
from hrpose.geometry import center_scale_from_bbox, input_from_image, invert_affine
from hrpose.inference import NonFinitePosesError, collect_poses, estimate_poses, predict_heatmaps
from hrpose.models import HRNet

CODEC = HeatmapCodec((64, 96), (16, 24), 2.0)
PERMUTATION = (0, 2, 1)


class Recorded(torch.nn.Module):
    """A network with constant heatmaps."""

    def __init__(self, heatmaps):
        super().__init__()
        self.heatmaps = heatmaps

    def forward(self, images):
        return self.heatmaps[: len(images)]


@pytest.fixture
def batch():
    bboxes = np.array([[10.0, 20.0, 40.0, 90.0], [100.0, 5.0, 60.0, 30.0]])
    center, scale = center_scale_from_bbox(bboxes, 64 / 96)
    matrices = [input_from_image(*crop, rotation, (64, 96)) for *crop, rotation in zip(center, scale, (0, 20), strict=True)]
    return {
        "images": torch.randn(2, 3, 96, 64),
        "image_from_input": torch.from_numpy(invert_affine(np.stack(matrices))),
        "center": torch.from_numpy(center),
        "scale": torch.from_numpy(scale),
        "bbox_scores": torch.tensor([1.0, 0.5]),
        "image_ids": torch.tensor([7, 2**40]),
        "instance_ids": torch.tensor([3, 4]),
    }


def _estimate(heatmaps, batch, **options):
    return estimate_poses(Recorded(heatmaps), CODEC, batch, flip_test=False, flip_permutation=PERMUTATION, **options)


def test_the_flip_test_is_the_mean_of_both_outputs():
    net = HRNet(width=4, num_keypoints=3, num_modules=(1, 1, 1), num_blocks=1, stage1_blocks=1).eval()
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        found = predict_heatmaps(net, images, CODEC, flip_test=True, flip_permutation=PERMUTATION)
        back = CODEC.flip_back(net(images.flip(-1)), PERMUTATION)
        assert torch.equal(found, (net(images) + back) * 0.5)
        plain = predict_heatmaps(net, images, CODEC, flip_test=False, flip_permutation=PERMUTATION)
        assert torch.equal(plain, net(images))


def test_heatmaps_are_float32_also_under_autocast():
    net = HRNet(width=4, num_keypoints=3, num_modules=(1, 1, 1), num_blocks=1, stage1_blocks=1).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(torch.randn(1, 3, 96, 64)).dtype == torch.bfloat16
        found = predict_heatmaps(net, torch.randn(1, 3, 96, 64), CODEC, flip_test=True, flip_permutation=PERMUTATION)
    assert found.dtype == torch.float32


def test_keypoints_are_in_image_pixels(batch):
    cells = torch.tensor([[[4, 5], [8, 12], [11, 20]], [[3, 3], [9, 9], [12, 6]]])
    heatmaps, _ = CODEC.encode(cells * 4.0, torch.ones(2, 3))
    poses = _estimate(heatmaps, batch)
    for row in range(2):
        matrix = batch["image_from_input"][row].numpy()
        want = (cells[row].numpy() * 4.0) @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(poses.keypoints[row], want, atol=1e-9)
    # The first crop is not rotated: the center of the input is the center of the box.
    np.testing.assert_allclose(poses.keypoints[0, 1], [30.0, 65.0], atol=1e-9)
    np.testing.assert_array_equal(poses.keypoint_scores, 1)


def test_the_record_keeps_ids_boxes_and_types(batch):
    poses = _estimate(torch.rand(2, 3, 24, 16), batch)
    assert poses.image_ids.tolist() == [7, 2**40]
    assert poses.instance_ids.tolist() == [3, 4]
    assert poses.bbox_scores.tolist() == [1.0, 0.5]
    np.testing.assert_array_equal(poses.center, batch["center"].numpy())
    np.testing.assert_array_equal(poses.scale, batch["scale"].numpy())
    types = {"keypoints": "f8", "keypoint_scores": "f4", "scores": "f8", "bbox_scores": "f8", "center": "f8", "scale": "f8"}
    assert {name: getattr(poses, name).dtype for name in types} == {name: np.dtype(code) for name, code in types.items()}
    assert [row["image_id"] for row in poses.to_coco()] == [7, 2**40]


def test_the_instance_score_is_the_box_times_its_confident_keypoints(batch):
    heatmaps = torch.zeros(2, 3, 24, 16)
    heatmaps[0, :, 5, 5] = torch.tensor([0.9, 0.2, 0.4])  # 0.2 itself is not above the threshold
    heatmaps[1, :, 5, 5] = torch.tensor([0.1, 0.15, 0.05])
    assert _estimate(heatmaps, batch).scores == pytest.approx([0.65, 0.0], abs=1e-7)
    assert _estimate(heatmaps, batch, score_threshold=0.0).scores == pytest.approx([0.5, 0.05], abs=1e-7)


def test_instance_scores_are_the_official_ones_to_the_bit(golden_dir, batch):
    golden = np.load(golden_dir / "evaluate.npz")
    rows = golden["hard_rows"]
    box_scores, keypoint_scores = golden["boxes"][rows, 5], golden["preds"][rows, :, 2]
    found = collect_poses(
        np.zeros((len(rows), 17, 2)),
        keypoint_scores,
        {
            "bbox_scores": torch.from_numpy(box_scores),
            "center": torch.zeros(len(rows), 2),
            "scale": torch.ones(len(rows), 2),
            "image_ids": torch.zeros(len(rows), dtype=torch.int64),
            "instance_ids": torch.arange(len(rows)),
        },
    )
    assert found.scores.tolist() == golden["hard_scores"].tolist()


def test_an_empty_batch_gives_no_poses(batch):
    empty = {key: value[:0] for key, value in batch.items()}
    poses = _estimate(torch.rand(2, 3, 24, 16), empty)
    assert poses.keypoints.shape == (0, 3, 2)
    assert len(poses) == 0


def test_the_batch_is_not_changed(batch):
    before = {key: value.clone() for key, value in batch.items()}
    _estimate(torch.rand(2, 3, 24, 16), batch)
    assert all(torch.equal(batch[key], before[key]) for key in batch)


@pytest.mark.parametrize("name", sorted(CODECS))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_poses_with_nan_or_infinity_are_refused(name, data):
    """For any network output, poses are finite or an error counts the crops."""
    codec = CODECS[name]
    width, height = codec.input_size
    outputs = make_net(codec)(torch.randn(3, 3, height, width)).detach()
    for row in data.draw(st.sets(st.integers(0, 2))):
        place = data.draw(st.integers(0, outputs[row].numel() - 1))
        outputs[row].view(-1)[place:] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    batch = {**as_batch(*make_crops(3)), "images": torch.zeros(3, 3, height, width)}
    options = {"flip_test": False, "flip_permutation": SKELETON.flip_permutation}
    try:
        poses = estimate_poses(Recorded(outputs), codec, batch, **options)
    except NonFinitePosesError:
        assert not torch.isfinite(outputs).all()
    else:
        assert np.isfinite(poses.keypoints).all()
        assert np.isfinite(poses.keypoint_scores).all()
        assert np.isfinite(poses.scores).all()
