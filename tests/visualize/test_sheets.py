"""Sheets: places of pictures, heatmaps over their crop."""

import numpy as np
import pytest
import torch

from hrpose.codecs.heatmap import HeatmapCodec
from hrpose.skeletons import COCO
from hrpose.structures import Poses
from hrpose.visualize import draw_crop_sheet, draw_heatmaps, draw_pose_sheet, tile


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def test_heatmap_peak_lies_on_its_keypoint():
    codec = HeatmapCodec((48, 64), (12, 16), 1.0)
    target, _ = codec.encode(torch.tensor([[[20.0, 40.0]]]), torch.ones(1, 1))
    overlay = draw_heatmaps(grey(64, 48, 0), target[0].numpy()).max(-1)
    assert np.unravel_index(overlay.argmax(), overlay.shape) == (40, 20)


def test_empty_and_broken_heatmaps_only_dim_the_crop():
    for heatmaps in (
        np.zeros((3, 16, 12)),
        np.full((3, 16, 12), np.nan),
        np.zeros((0, 16, 12)),
        np.full((3, 16, 12), -9.0),
    ):
        np.testing.assert_array_equal(draw_heatmaps(grey(64, 48, 100), heatmaps), grey(64, 48, 40))


def test_heatmaps_have_three_axes():
    with pytest.raises(ValueError, match=r"\(K, h, w\)"):
        draw_heatmaps(grey(64, 48), np.zeros((16, 12)))


def test_tiles_are_centred_in_cells_of_the_largest():
    sheet = tile([grey(10, 20, 200), grey(6, 8, 100), grey(10, 20, 50)], columns=2, gap=2)
    assert sheet.shape == (2 * 12 + 2, 2 * 22 + 2, 3)
    assert (sheet[2:12, 2:22] == 200).all()
    assert (sheet[4:10, 30:38] == 100).all()
    assert (sheet[14:24, 2:22] == 50).all()


def test_captions_stand_under_their_pictures():
    plain, named = tile([grey(30, 60)] * 2), tile([grey(30, 60)] * 2, captions=["one", "two"])
    assert named.shape[0] > plain.shape[0]
    assert (named[37:] > 200).any()


def test_a_sheet_needs_a_picture_and_a_caption_for_each():
    with pytest.raises(ValueError, match="at least one"):
        tile([])
    with pytest.raises(ValueError, match="2 captions"):
        tile([grey(4, 4)] * 2, captions=["one"])


def test_crop_sheet_shows_every_crop_beside_its_target():
    keypoints = np.full((4, 17, 2), 20.0, np.float32)
    visibility = np.array([[2] * 17, [1] * 17, [0] * 17, [0, 1, 2] * 5 + [0, 0]])
    sheet = draw_crop_sheet(np.stack([grey(64, 48)] * 4), keypoints, visibility, np.zeros((4, 17, 16, 12)), COCO)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] * sheet.shape[1] >= 4 * 2 * 64 * 48


def test_pose_sheet_draws_photos_with_and_without_people():
    def poses(count):
        zeros = np.zeros(count)
        return Poses(
            keypoints=np.random.default_rng(0).uniform(0, 50, (count, 17, 2)),
            keypoint_scores=np.ones((count, 17), np.float32),
            scores=zeros,
            bbox_scores=np.zeros(count, np.float32),
            center=np.zeros((count, 2)),
            scale=np.ones((count, 2)),
            image_ids=zeros.astype(np.int64),
            instance_ids=zeros.astype(np.int64),
        )

    sheet = draw_pose_sheet([grey(60, 80), grey(600, 800)], [poses(2), poses(0)], COCO)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 1600
