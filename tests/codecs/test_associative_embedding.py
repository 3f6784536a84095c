import math

import pytest
import torch

from hrpose.codecs import AssociativeEmbedding, is_bottom_up

CODEC = AssociativeEmbedding((512, 512))


def at_first_output(cells):
    """Return keypoints (1, P, 1, 2) in the given cells at stride 4."""
    return torch.tensor(cells)[None, :, None] * 4


def encode(cells, visibility=None):
    points = at_first_output(cells)
    return CODEC.encode(points, torch.ones(points.shape[:3]) if visibility is None else visibility)[0]


def paint_by_loop(keypoints, visibility, stride, size, sigma=2.0):
    """Compute the target like the official code, one instance after another: (K, h, w)."""
    heatmaps = torch.zeros(keypoints.shape[1], size, size)
    for instance, seen in zip(keypoints, visibility, strict=True):
        for k, (point, v) in enumerate(zip(instance, seen, strict=True)):
            x, y = int(point[0] / stride), int(point[1] / stride)
            if v == 0 or not (0 <= x < size and 0 <= y < size):
                continue
            for row in range(max(0, y - 7), min(size, y + 8)):
                for column in range(max(0, x - 7), min(size, x + 8)):
                    value = math.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                    heatmaps[k, row, column] = max(heatmaps[k, row, column], value)
    return heatmaps


def test_heatmaps_are_the_maximum_over_the_instances():
    """Values of the official generator for keypoints (10.9, 20.2) and (12.1, 20.9)."""
    target = encode([[10.9, 20.2], [12.1, 20.9]])
    expected = torch.tensor([0.8825, 1, 0.8825, 1, 0.8825, 0.6065])
    torch.testing.assert_close(target.heatmaps[0][0, 0, 20, 9:15], expected, atol=5e-5, rtol=0)
    assert target.tags[0, :3, 0].tolist() == [20 * 128 + 10, 20 * 128 + 12, -1]


@pytest.mark.parametrize(("x", "inside"), [(-0.9, True), (-1.0, False), (127.9, True), (128.0, False)])
def test_coordinates_are_truncated_towards_zero_before_the_bounds_check(x, inside):
    target = encode([[x, 3.0]])
    assert bool(target.heatmaps[0].any()) is inside
    assert (int(target.tags[0, 0, 0]) >= 0) is inside
    if inside:
        assert int(target.tags[0, 0, 0]) == 3 * 128 + int(x)


def test_targets_are_those_of_the_official_loop_at_both_resolutions():
    generator = torch.Generator().manual_seed(3)
    codec = AssociativeEmbedding((64, 64))
    keypoints = torch.rand(2, 5, 3, 2, generator=generator) * 80 - 8
    visibility = torch.randint(0, 3, (2, 5, 3), generator=generator)
    target, masks = codec.encode(keypoints, visibility)
    for image in range(2):
        for heatmaps, stride, size in zip(target.heatmaps, (4, 2), (16, 32), strict=True):
            expected = paint_by_loop(keypoints[image], visibility[image], stride, size)
            torch.testing.assert_close(heatmaps[image], expected, atol=1e-6, rtol=0)
    assert [tuple(mask.shape) for mask in masks] == [(2, 16, 16), (2, 32, 32)]
    assert all(mask.all() for mask in masks)


def test_tags_are_read_at_the_peaks_of_the_heatmaps():
    keypoints = torch.rand(2, 4, 17, 2) * 512
    target, _ = CODEC.encode(keypoints, torch.ones(2, 4, 17))
    peaks = target.heatmaps[0].flatten(1).gather(1, target.tags[:, :4].flatten(1))
    assert torch.equal(peaks, torch.ones_like(peaks))
    assert (target.tags[:, 4:] == -1).all()
    assert torch.equal(target.tags[:, :4] // 128**2, torch.arange(17).expand(2, 4, 17))


def test_all_instances_have_heatmaps_and_the_first_ones_tags():
    codec = AssociativeEmbedding((64, 64), max_instances=2)
    keypoints = torch.tensor([[[[8.0, 8.0]], [[30.0, 30.0]], [[50.0, 50.0]]]])
    target, _ = codec.encode(keypoints, torch.ones(1, 3, 1))
    assert target.tags.shape == (1, 2, 1)
    assert target.heatmaps[0][0, 0, 12, 12] == 1


@pytest.mark.parametrize("num_instances", [0, 3])
def test_unlabelled_keypoints_are_background(num_instances):
    keypoints = torch.full((1, num_instances, 17, 2), math.nan)
    target, _ = CODEC.encode(keypoints, torch.zeros(1, num_instances, 17))
    assert not any(heatmaps.any() for heatmaps in target.heatmaps)
    assert (target.tags == -1).all()


def test_masks_are_returned_unchanged():
    masks = [torch.rand(1, 128, 128) > 0.5, torch.rand(1, 256, 256) > 0.5]
    _, weight = CODEC.encode(torch.zeros(1, 1, 17, 2), torch.zeros(1, 1, 17), masks)
    assert all(one is other for one, other in zip(weight, masks, strict=True))


def test_it_is_the_codec_of_whole_images():
    assert is_bottom_up(CODEC)
    assert not is_bottom_up(object())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"input_size": (510, 512)}, "input_size"),
        ({"strides": ()}, "strides"),
        ({"strides": (4, 0)}, "strides"),
        ({"sigma": 0.0}, "sigma"),
        ({"max_instances": 0}, "max_instances"),
    ],
)
def test_invalid_settings_are_refused(options, name):
    with pytest.raises(ValueError, match=name):
        AssociativeEmbedding(**{"input_size": (512, 512), **options})


def test_keypoints_without_instance_dimension_are_refused():
    with pytest.raises(ValueError, match=r"\(B, P, K, 2\)"):
        CODEC.encode(torch.zeros(1, 17, 2), torch.zeros(1, 17))
