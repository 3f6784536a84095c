"""Grouping equals the literal algorithm and the values of the official modules."""

import time

import numpy as np
import pytest
import torch
from literal_grouping import full_maps, literal_poses
from scenes import random_passes

from hrpose.codecs.grouping import aggregate, enlarge, find_instances, group
from hrpose.skeletons import COCO


@torch.inference_mode()
def fast(passes, size, **options):
    maps = [aggregate(outputs) for outputs in passes]
    heatmaps = torch.stack([heat for heat, _ in maps]).mean(0)
    return find_instances(enlarge(heatmaps, size)[0], torch.cat([tag for _, tag in maps], dim=2)[0], **options)


def assert_literal(passes, size, **options):
    keypoints, values, scores = fast(passes, size, **options)
    expected, expected_scores = literal_poses(*full_maps(passes, size), **options)
    assert keypoints.shape[0] == len(expected)
    np.testing.assert_allclose(keypoints, expected[..., :2], atol=1e-3)
    np.testing.assert_allclose(values, expected[..., 2], atol=1e-6)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    return keypoints, values, scores


@pytest.mark.parametrize(
    "scene",
    [
        {"seed": 0},
        {"seed": 1, "num_passes": 1},
        {"seed": 2, "num_instances": 33},
        {"seed": 3, "num_instances": 1, "noise": 0.05},
        {"seed": 4, "num_keypoints": 14},
    ],
)
def test_instances_are_those_of_the_literal_algorithm(scene):
    keypoints, _, _ = assert_literal(random_passes(**scene, size=(128, 64)), (64, 128))
    assert len(keypoints) >= scene.get("num_instances", 10) - 1


def test_without_refinement_instances_are_those_of_the_literal_algorithm():
    _, values, _ = assert_literal(random_passes(5, size=(192, 128)), (128, 192), refine=False)
    assert (values == 0).any()


@pytest.mark.slow
def test_200_scenes_are_those_of_the_literal_algorithm():
    for seed in range(200):
        assert_literal(random_passes(seed), (256, 384))


@pytest.mark.slow
def test_grouping_takes_a_fifth_of_the_time_of_the_literal_algorithm():
    passes, size = random_passes(0, size=(768, 512)), (512, 768)

    def seconds(function):
        start = time.process_time()
        function()
        return time.process_time() - start

    literal = min(seconds(lambda: literal_poses(*full_maps(passes, size))) for _ in range(2))
    assert 5 * min(seconds(lambda: fast(passes, size)) for _ in range(5)) < literal


def test_candidates_are_grouped_as_in_the_official_code():
    tags = [(0.1, 0.2), (2, 2.1), (2.3, 2.2), (0.3, 0.1), (5, 5), (0.9, 0.8)]
    members = group(
        np.array([0, 0, 1, 1, 1, 2]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.65], np.float32), np.array(tags, np.float32), 3
    )
    assert members.tolist() == [[0, 3, 5], [1, 2, -1], [-1, 4, -1]]


def test_below_half_a_tag_distance_the_value_decides():
    members = group(np.array([0, 1, 1]), np.array([0.9, 0.8, 0.3], np.float32), np.array([[0], [0.4], [0.0]], np.float32), 2)
    assert members.tolist() == [
        [0, 2]
    ]  # the weaker one creates an instance with the same first tag, which replaces that of the first


def test_keypoints_move_a_quarter_to_the_higher_neighbour_and_half_a_cell():
    heatmaps = torch.zeros(1, 16, 16)
    heatmaps[0, 5, 7:9] = torch.tensor([1.0, 0.4])
    keypoints, values, scores = find_instances(heatmaps, torch.zeros(1, 1, 16, 16))
    assert (keypoints.tolist(), values.tolist(), scores.tolist()) == ([[[7.75, 5.25]]], [[1.0]], [1.0])


@pytest.mark.parametrize("refine", [True, False])
def test_a_score_counts_missing_keypoints_as_zero_before_they_are_filled(refine):
    heatmaps, tags = torch.full((17, 16, 16), 0.05), torch.zeros(17, 1, 16, 16)
    heatmaps[0, 4, 4], heatmaps[3, 9, 9] = 0.8, 0.6
    _, values, scores = find_instances(heatmaps, tags, refine=refine)
    assert scores == pytest.approx([0.08235], abs=1e-5)
    assert (values > 0).sum() == (17 if refine else 2)


def test_a_keypoint_on_a_border_is_found():
    heatmaps = torch.zeros(4, 16, 16)
    for k, (x, y) in enumerate([(0, 0), (15, 0), (0, 15), (15, 15)]):
        heatmaps[k, y, x] = 1.0
    keypoints, _, _ = find_instances(heatmaps, torch.zeros(4, 1, 8, 8))
    np.testing.assert_allclose(keypoints[0], [[0.25, 0.25], [15.75, 0.25], [0.25, 15.75], [15.75, 15.75]], atol=0.5)


def test_heatmaps_without_peaks_give_no_instance():
    keypoints, values, scores = find_instances(torch.full((17, 64, 64), 0.1), torch.zeros(17, 2, 32, 32))
    assert (keypoints.shape, values.shape, scores.shape) == ((0, 17, 2), (0, 17), (0,))


def test_a_size_that_is_not_a_multiple_of_the_block_is_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        find_instances(torch.zeros(1, 16, 20), torch.zeros(1, 1, 8, 10))


@pytest.mark.parametrize("component", [0, 1])
def test_a_constant_added_to_one_component_of_the_tags_changes_nothing(component):
    heatmaps, tags = (maps[0] for maps in aggregate(random_passes(6, size=(128, 64))[0]))
    tags = torch.cat([tags, tags.flip(-1)], dim=1)
    heatmaps = enlarge(heatmaps[None], (64, 128))[0]
    moved = tags.clone()
    moved[:, component] += 8
    for value, expected in zip(find_instances(heatmaps, moved), find_instances(heatmaps, tags), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_mirror_image_gives_the_mirrored_instances():
    plain, mirrored = random_passes(7, size=(192, 128))
    order = [*COCO.flip_permutation, *(17 + k for k in COCO.flip_permutation)]

    def turned(outputs):
        return [output.flip(-1)[:, order[: output.shape[1]]] for output in outputs]

    keypoints, values, scores = fast([plain, mirrored], (128, 192))
    flipped, flipped_values, flipped_scores = fast([turned(mirrored), turned(plain)], (128, 192))
    back = (flipped * [-1, 1] + [192, 0])[:, COCO.flip_permutation]
    one, other = np.argsort(scores), np.argsort(flipped_scores)
    np.testing.assert_allclose(back[other], keypoints[one], atol=1e-4)
    np.testing.assert_allclose(flipped_values[other][:, COCO.flip_permutation], values[one], atol=1e-6)


def test_target_heatmaps_and_tags_give_every_instance():
    generator = torch.Generator().manual_seed(0)
    points = (
        torch.rand(6, 17, 2, generator=generator) * 44 + torch.tensor([[x, y] for y in (8, 72) for x in (8, 72, 136)])[:, None]
    )
    tags = torch.zeros(1, 17, 32, 48)
    for n in range(6):
        tags[:, :, 16 * (n // 3) :, 16 * (n % 3) :] = 10.0 * n
    heatmaps = []
    for stride in (4, 2):
        cells = (points / stride).floor()
        rows, columns = torch.arange(128 // stride), torch.arange(192 // stride)
        distance = (columns - cells[..., 0, None, None]) ** 2 + (rows[:, None] - cells[..., 1, None, None]) ** 2
        heatmaps.append(torch.exp(-distance / 8).amax(0)[None])
    keypoints, values, _ = fast([[torch.cat([heatmaps[0], tags], dim=1), heatmaps[1]]] * 2, (128, 192))
    assert len(keypoints) == 6
    nearest = np.abs(keypoints[:, None] - points.numpy()).max(axis=(2, 3)).argmin(axis=1)
    assert sorted(nearest) == list(range(6))
    # a cell reaches 1 pixel to each side; the coarser heatmaps move the peak by up to 0.2, and the offset adds a quarter
    assert np.abs(keypoints - points.numpy()[nearest]).max() < 1.5
    assert values.min() > 0.9
