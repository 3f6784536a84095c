"""Heatmaps over their crop: in their place, in the colour of their side, as opaque as they are high."""

import numpy as np
import pytest
import torch

from hrpose.codecs.heatmap import HeatmapCodec
from hrpose.skeletons import COCO, Skeleton
from hrpose.visualize import draw_heatmaps
from hrpose.visualize.colours import SIDE_COLOURS

SIDES = Skeleton.from_names(["left_hand", "right_hand", "nose"], sigmas=[0.1] * 3)


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def test_the_peak_lies_on_its_keypoint():
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
    "heatmaps",
    [np.zeros((3, 16, 12)), np.full((3, 16, 12), np.nan), np.zeros((0, 16, 12)), np.full((3, 16, 12), -9.0)],
)
def test_empty_and_broken_heatmaps_only_dim_the_crop(heatmaps):
    np.testing.assert_array_equal(draw_heatmaps(grey(64, 48, 100), heatmaps), grey(64, 48, 40))


def test_heights_beyond_the_scale_are_clipped():
    heatmaps = np.random.default_rng(0).uniform(0, 1, (3, 16, 12)).round()
    np.testing.assert_array_equal(
        draw_heatmaps(grey(64, 48), 7 * heatmaps, SIDES), draw_heatmaps(grey(64, 48), heatmaps, SIDES)
    )


def test_the_arguments_stay_as_they_are():
    image, heatmaps = grey(64, 48), np.random.default_rng(0).normal(size=(3, 16, 12)).astype(np.float32)
    before = heatmaps.copy()
    draw_heatmaps(image, heatmaps, SIDES)
    np.testing.assert_array_equal(heatmaps, before)
    assert (image == 128).all()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(K, h, w\), but got the shape \(16, 12\)"):
        draw_heatmaps(grey(64, 48), np.zeros((16, 12)))
    with pytest.raises(ValueError, match=r"\(K, h, w\) with K = 17, but got the shape \(3, 16, 12\)"):
        draw_heatmaps(grey(64, 48), np.zeros((3, 16, 12)), COCO)
    with pytest.raises(ValueError, match="uint8 RGB"):
        draw_heatmaps(np.zeros((64, 48, 3)), np.zeros((3, 16, 12)))
