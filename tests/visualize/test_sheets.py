"""Sheets show every crop beside its target, and every image with its poses."""

import numpy as np
import pytest
import torch

from hrpose.codecs.heatmap import HeatmapCodec
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import Poses
from hrpose.visualize import draw_crop_sheet, draw_heatmaps, draw_pose_sheet
from hrpose.visualize.pictures import INK, SIDE_COLOURS

SIDES = Skeleton.from_names(["left_hand", "right_hand", "nose"], sigmas=[0.1] * 3)


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def poses(count, extent=50.0):
    rng = np.random.default_rng(0)
    return Poses(
        keypoints=rng.uniform(0, extent, (count, 17, 2)),
        keypoint_scores=np.ones((count, 17), np.float32),
        scores=np.ones(count),
        bbox_scores=np.ones(count, np.float32),
        center=np.full((count, 2), extent / 2),
        scale=np.full((count, 2), extent),
        image_ids=np.ones(count, np.int64),
        instance_ids=np.arange(count),
    )


def crops(count, height=64, width=48):
    keypoints = np.random.default_rng(0).uniform(0, 48, (count, 17, 2)).astype(np.float32)
    visibility = np.resize(np.array([2, 1, 0], np.uint8), (count, 17))
    return (np.stack([grey(height, width)] * count), keypoints, visibility, np.zeros((count, 17, height // 4, width // 4)))


def test_crop_sheet_shows_every_crop_beside_its_target():
    sheet = draw_crop_sheet(*crops(1), COCO)
    gap = 8
    assert sheet.shape == (256 + 2 * gap, 2 * 192 + 2 * gap, 3)
    taught, target = sheet[gap:-gap, gap : gap + 192], sheet[gap:-gap, gap + 192 : -gap]
    assert (taught == 128).all(axis=-1).mean() > 0.3
    assert (taught != 128).any()
    assert (target == round(0.4 * 128)).all()


def test_a_window_shows_all_its_instances():
    images, keypoints, visibility, heatmaps = crops(1)
    others = np.stack([keypoints, keypoints[..., ::-1]], axis=1)
    alone = draw_crop_sheet(images, keypoints, visibility, heatmaps, COCO)
    both = draw_crop_sheet(images, others, np.stack([visibility] * 2, axis=1), heatmaps, COCO)
    assert both.shape == alone.shape
    assert (both != 128).sum() > (alone != 128).sum()
    nobody = draw_crop_sheet(images, others[:, :0], np.zeros((1, 0, 17), np.uint8), heatmaps, COCO)
    assert (nobody[8:-8, 8 : 8 + 192] == 128).all()


def test_crops_without_heatmaps_are_drawn_alone():
    images, keypoints, visibility, _ = crops(1)
    sheet = draw_crop_sheet(images, keypoints, visibility, None, COCO)
    beside = draw_crop_sheet(*crops(1), COCO)
    assert sheet.shape == (256 + 16, 192 + 16, 3)
    assert (sheet[8:-8, 8:-8] == beside[8:-8, 8 : 8 + 192]).all()


@pytest.mark.parametrize(("height", "zoom"), [(32, 8), (64, 4), (128, 2), (256, 1), (384, 1), (768, 1)])
def test_small_crops_are_enlarged_by_a_whole_factor(height, zoom):
    sheet = draw_crop_sheet(*crops(1, height, height * 3 // 4), COCO)
    assert sheet.shape[0] == zoom * height + 16


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_any_number_of_crops_makes_a_sheet(count):
    sheet = draw_crop_sheet(*crops(count), COCO)
    cells = (sheet.shape[0] - 8) // 264 * ((sheet.shape[1] - 8) // 392)
    assert cells >= count


def test_an_enlarged_keypoint_stays_on_its_pixel():
    images = np.zeros((1, 64, 48, 3), np.uint8)
    images[0, 40, 20] = 255
    keypoints, visibility = np.full((1, 17, 2), (20.0, 40.0)), np.array([[2] + [0] * 16])
    empty = np.zeros((1, 17, 16, 12))
    bare, dotted = (draw_crop_sheet(images, keypoints, seen, empty, COCO) for seen in (0 * visibility, visibility))
    centers = []
    for sheet in (bare, dotted):
        taught = sheet[8:264, 8:200].sum(axis=-1, dtype=float)
        rows, columns = np.indices(taught.shape)
        centers.append([(columns * taught).sum() / taught.sum(), (rows * taught).sum() / taught.sum()])
    np.testing.assert_allclose(centers[0], centers[1], atol=0.3)


def test_pose_sheet_scales_each_image_to_fit_its_cell():
    sizes = [(60, 80), (600, 300), (500, 1000), (30, 30), (480, 640), (640, 480)]
    sheet = draw_pose_sheet([grey(*size, 200) for size in sizes], [poses(0)] * 6, COCO)
    assert sheet.shape == (2 * 368 + 8, 3 * 488 + 8, 3)
    assert (sheet[8:368, 8:488] == 200).all()
    columns = (sheet[180, 496:976] == 200).all(axis=-1)
    assert columns.sum() == 180
    assert columns[150:330].all()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_any_number_of_images_makes_a_sheet(count):
    sheet = draw_pose_sheet([grey(240, 320, 200)] * count, [poses(2)] * count, COCO)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 240


def test_poses_are_scaled_with_their_image():
    people = poses(1, extent=2000.0)
    sheet = draw_pose_sheet([grey(2000, 2000)], [people], COCO)
    drawn = (sheet[8:-8, 8:-8] != 128).any(axis=-1)
    small = people.keypoints[0] * len(drawn) / 2000
    assert all(drawn[round(y), round(x)] for x, y in small.tolist())


def test_extreme_aspect_ratios_are_drawn():
    sheet = draw_pose_sheet([grey(1, 900), grey(900, 1), grey(1, 1)], [poses(1)] * 3, COCO)
    assert max(sheet.shape) < 4000


def test_a_tall_image_among_wide_ones_fits_its_cell():
    sheet = draw_pose_sheet([grey(100, 400, 200), grey(400, 100, 200), grey(100, 400, 200)], [poses(0)] * 3, COCO)
    assert max(sheet.shape) < 2000
    assert ((sheet == 200) | (sheet == INK)).all()


def test_arguments_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 images, 1 poses"):
        draw_pose_sheet([grey(4, 4)] * 2, [poses(1)], COCO)
    with pytest.raises(ValueError, match="at least one"):
        draw_pose_sheet([], [], COCO)
    images, keypoints, visibility, heatmaps = crops(2)
    with pytest.raises(ValueError, match=r"2 images.*1 heatmaps"):
        draw_crop_sheet(images, keypoints, visibility, heatmaps[:1], COCO)
    with pytest.raises(ValueError, match="at least one"):
        draw_crop_sheet(images[:0], keypoints[:0], visibility[:0], heatmaps[:0], COCO)


def test_a_skeleton_with_another_number_of_keypoints_is_refused():
    with pytest.raises(ValueError, match="skeleton 'mpii'"):
        draw_crop_sheet(*crops(1), MPII)
    with pytest.raises(ValueError, match="skeleton 'mpii'"):
        draw_pose_sheet([grey(60, 80)], [poses(1)], MPII)


def test_the_peak_of_a_heatmap_is_drawn_on_its_keypoint():
    codec = HeatmapCodec((48, 64), (12, 16), 1.0)
    target, _ = codec.encode(torch.tensor([[[20.0, 40.0]]]), torch.ones(1, 1))
    overlay = draw_heatmaps(grey(64, 48, 0), target[0].numpy()).max(-1)
    assert np.unravel_index(overlay.argmax(), overlay.shape) == (40, 20)


def test_each_side_has_its_colour_at_the_peak():
    codec = HeatmapCodec((64, 64), (16, 16), 1.0)
    keypoints = torch.tensor([[[8.0, 8.0], [52.0, 8.0], [32.0, 52.0]]])
    target, _ = codec.encode(keypoints, torch.ones(1, 3))
    overlay = draw_heatmaps(grey(64, 64), target[0].numpy(), SIDES)
    found = [tuple(overlay[y, x]) for x, y in ((8, 8), (52, 8), (32, 52))]
    assert found == [SIDE_COLOURS[side] for side in ("left", "right", "middle")]


def test_a_higher_heatmap_hides_more_of_the_crop():
    heights = (0.0, 0.2, 0.5, 1.0)
    pixels = [draw_heatmaps(grey(8, 8, 0), np.full((1, 2, 2), height))[4, 4].sum(dtype=int) for height in heights]
    assert pixels == sorted(set(pixels))
    assert pixels[0] == 0
    assert pixels[3] == sum(SIDE_COLOURS["middle"])


@pytest.mark.parametrize(
    "heatmaps", [np.zeros((3, 16, 12)), np.full((3, 16, 12), np.nan), np.zeros((0, 16, 12)), np.full((3, 16, 12), -9.0)]
)
def test_empty_heatmaps_only_dim_the_crop(heatmaps):
    np.testing.assert_array_equal(draw_heatmaps(grey(64, 48, 100), heatmaps), grey(64, 48, 40))


def test_values_above_1_are_clipped():
    heatmaps = np.random.default_rng(0).uniform(0, 1, (3, 16, 12)).round()
    np.testing.assert_array_equal(draw_heatmaps(grey(64, 48), 7 * heatmaps, SIDES), draw_heatmaps(grey(64, 48), heatmaps, SIDES))


def test_the_arguments_are_not_modified():
    image, heatmaps = grey(64, 48), np.random.default_rng(0).normal(size=(3, 16, 12)).astype(np.float32)
    before = heatmaps.copy()
    draw_heatmaps(image, heatmaps, SIDES)
    np.testing.assert_array_equal(heatmaps, before)
    assert (image == 128).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(K, h, w\).*\(16, 12\)"):
        draw_heatmaps(grey(64, 48), np.zeros((16, 12)))
    with pytest.raises(ValueError, match=r"\(K, h, w\).*17.*\(3, 16, 12\)"):
        draw_heatmaps(grey(64, 48), np.zeros((3, 16, 12)), COCO)
    with pytest.raises(ValueError, match="uint8 RGB"):
        draw_heatmaps(np.zeros((64, 48, 3)), np.zeros((3, 16, 12)))
