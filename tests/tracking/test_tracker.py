"""Ids are kept through crossings, gaps and missed detections and are unique; boxes for the next frame are propagated."""

from dataclasses import replace

import numpy as np
import pytest
from walks import network_poses

from hrpose.skeletons import COCO
from hrpose.structures import Poses
from hrpose.synthetic import draw_walk
from hrpose.tracking import OksTracker, tracker
from hrpose.tracking.tracker import BodyMotion

PERSON = np.random.default_rng(3).uniform(0, 1, (17, 2)) * [60, 160]


def poses(*corners, confident=None):
    """Return poses of the same form at some positions."""
    count = len(corners)
    keypoints = PERSON + np.array(corners, float).reshape(count, 1, 2)
    scores = np.full((count, 17), 0.9, np.float32)
    if confident is not None:
        scores[:, ~np.asarray(confident)] = 0.1
    return Poses(
        keypoints=keypoints,
        keypoint_scores=scores,
        scores=np.ones(count),
        bbox_scores=np.ones(count, np.float32),
        center=keypoints.mean(axis=1),
        scale=np.tile([90.0, 200.0], (count, 1)),
        image_ids=np.ones(count, np.int64),
        instance_ids=np.zeros(count, np.int64),
    )


def follow(film, matcher, *, missed=0.0, seed=0):
    """Return the successive ids of each true instance of a tracked video."""
    people = OksTracker(COCO.sigmas, matcher=matcher)
    rng = np.random.default_rng(seed)
    numbers: dict[int, list[int]] = {}
    for frame in film:
        given = network_poses(frame, rng, missed=missed)
        found = people.update(given, frame.time)
        for true, number in zip(given.instance_ids.tolist(), found.instance_ids.tolist(), strict=True):
            mine = numbers.setdefault(true, [])
            mine += [number] if not mine or mine[-1] != number else []
    return numbers


@pytest.mark.parametrize("matcher", ["greedy", "hungarian"])
@pytest.mark.parametrize("missed", [0.0, 0.1])
def test_ids_are_kept_through_crossings(films, matcher, missed):
    for film in films:
        numbers = follow(film, matcher, missed=missed)
        assert len(numbers) > 1
        assert all(len(mine) == 1 for mine in numbers.values()), numbers
        assert len({mine[0] for mine in numbers.values()}) == len(numbers)


def test_without_motion_ids_are_exchanged(films, monkeypatch):
    """Compared with their last positions instead of the expected ones, instances are confused."""
    monkeypatch.setattr(tracker.Observation, "at", lambda self, time: self.keypoints)
    mixed = [follow(film, "greedy", missed=0.1) for film in films]
    assert any(len(mine) > 1 for numbers in mixed for mine in numbers.values())


@pytest.mark.parametrize("matcher", ["greedy", "hungarian"])
def test_a_hidden_instance_keeps_its_id_for_max_gap_and_ids_are_not_reused(matcher):
    people = OksTracker(COCO.sigmas, matcher=matcher, max_gap=0.5)
    for step in range(5):
        assert people.update(poses((5 * step, 0)), step / 10).instance_ids.tolist() == [1]
    assert people.update(poses((45, 0)), 0.9).instance_ids.tolist() == [1]
    assert people.update(poses((60, 0)), 1.5).instance_ids.tolist() == [2]
    assert people.num_instances == 2


def test_times_may_be_irregular():
    people = OksTracker(COCO.sigmas)
    for time in (0.0, 0.04, 0.05, 0.2, 0.21, 0.6, 1.3):
        assert people.update(poses((200 * time, 0), (300 - 200 * time, 20)), time).instance_ids.tolist() == [1, 2]


def test_the_order_of_the_poses_does_not_matter():
    people = OksTracker(COCO.sigmas)
    assert people.update(poses((0, 0), (200, 0)), 0.0).instance_ids.tolist() == [1, 2]
    assert people.update(poses((202, 0), (400, 0), (2, 0)), 0.1).instance_ids.tolist() == [2, 3, 1]
    assert people.update(poses(), 0.2).instance_ids.tolist() == []
    assert people.update(poses((4, 0)), 0.3).instance_ids.tolist() == [1]


def test_keypoints_of_low_score_are_not_compared():
    people = OksTracker(COCO.sigmas)
    people.update(poses((0, 0)), 0.0)
    partial = poses((0, 0), confident=np.arange(17) < 5)
    partial.keypoints[:, 5:] = 5000.0
    assert people.update(partial, 0.1).instance_ids.tolist() == [1]
    other = poses((0, 0), confident=np.arange(17) >= 12)  # no keypoint in common with the last pose
    assert people.update(other, 0.2).instance_ids.tolist() == [2]


def test_boxes_are_propagated_to_the_expected_positions():
    people = OksTracker(COCO.sigmas)
    for step in range(4):
        found = poses((10 * step, -3 * step))
        people.update(replace(found, bbox_scores=np.float32([0.75 - step / 10])), step / 10)
    boxes, scores = people.propagate(0.5)
    low, high = PERSON.min(axis=0), PERSON.max(axis=0)
    expected = [*(np.array([50, -15]) + low - 0.15 * (high - low)), *(1.3 * (high - low))]
    np.testing.assert_allclose(boxes, [expected], atol=1e-9)
    np.testing.assert_allclose(scores, [0.45], rtol=1e-6)  # of the last box, not of the keypoints
    assert [len(side) for side in people.propagate(1.4)] == [0, 0]
    assert [len(side) for side in OksTracker(COCO.sigmas).propagate(0.0)] == [0, 0]


def test_missing_instances_are_at_their_expected_positions():
    people = OksTracker(COCO.sigmas, max_gap=0.5)
    assert people.missing(poses((0, 0)), 0.0).shape == (0, 2)
    for step in range(4):
        people.update(poses((0, 0), (200 + 10 * step, 0)), step / 10)
    assert len(people.missing(poses((0, 0), (240, 0)), 0.4)) == 0
    np.testing.assert_allclose(people.missing(poses((0, 0)), 0.4), PERSON.mean(axis=0)[None] + [[240, 0]], atol=1e-9)
    assert len(people.missing(poses(), 0.4)) == 2
    assert len(people.missing(poses(), 0.9)) == 0
    assert people.update(poses((0, 0), (240, 0)), 0.4).instance_ids.tolist() == [1, 2]  # asking changes nothing


def test_no_box_is_propagated_from_two_keypoints():
    people = OksTracker(COCO.sigmas)
    people.update(poses((0, 0), confident=np.arange(17) < 2), 0.0)
    assert len(people.propagate(0.1)[0]) == 0
    assert people.update(poses((0, 0), confident=np.arange(17) < 2), 0.1).instance_ids.tolist() == [1]


def test_the_given_poses_are_not_modified():
    given = poses((0, 0))
    found = OksTracker(COCO.sigmas).update(given, 0.0)
    assert given.instance_ids.tolist() == [0]
    assert found.keypoints is given.keypoints


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="'greedyy'"):
        OksTracker(COCO.sigmas, matcher="greedyy")
    with pytest.raises(ValueError, match="`min_oks` to be above 0"):
        OksTracker(COCO.sigmas, min_oks=0)
    people = OksTracker(COCO.sigmas)
    people.update(poses((0, 0)), 1.0)
    with pytest.raises(ValueError, match="1 s"):
        people.update(poses((0, 0)), 1.0)
    short = replace(poses((0, 0)), keypoints=np.zeros((1, 3, 2)), keypoint_scores=np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"17 keypoints.*3"):
        people.update(short, 2.0)


@pytest.mark.slow
def test_ids_change_as_often_as_documented(monkeypatch):
    """docs/predict.md states the counts: 84 people on 24 films, one in ten missed in each frame."""
    crowd = [list(draw_walk(num_frames=70, num_people=2 + seed % 4, seed=100 + seed)) for seed in range(24)]

    def count(matcher):
        numbers = [follow(film, matcher, missed=0.1, seed=seed) for seed, film in enumerate(crowd)]
        assert sum(map(len, numbers)) == 84
        return sum(len(mine) - 1 for people in numbers for mine in people.values())

    assert [count(matcher) <= 9 for matcher in ("greedy", "hungarian")] == [True, True]
    monkeypatch.setattr(tracker.Observation, "at", lambda self, time: self.keypoints)
    assert count("greedy") > 20


def test_a_constant_velocity_is_measured_in_one_step():
    points = np.random.default_rng(0).normal(size=(17, 2))
    motion = BodyMotion()
    for _ in range(5):
        motion = motion.measure(points, points + np.array([3.0, -1.0]), 0.5)
        np.testing.assert_allclose(motion.velocity, [6.0, -2.0])
    assert motion.num_steps == 5


def test_single_keypoints_that_jump_do_not_change_the_velocity():
    points = np.zeros((17, 2))
    moved = points + np.array([3.0, 0.0])
    moved[:8] = 900.0
    np.testing.assert_allclose(BodyMotion().measure(points, moved, 1.0).velocity, [3.0, 0.0])


def test_a_new_velocity_is_measured_within_a_few_frames():
    still, moved = np.zeros((5, 2)), np.full((5, 2), 4.0)
    motion = BodyMotion()
    for _ in range(10):
        motion = motion.measure(still, still, 0.04)
    for _ in range(10):  # 0.4 s: all but exp(-0.4 / 0.15) of it
        motion = motion.measure(still, moved, 0.04)
    assert motion.velocity == pytest.approx(100.0 * (1 - np.exp(-0.4 / 0.15)), rel=1e-9)


def test_without_keypoints_the_motion_is_unchanged():
    motion = BodyMotion().measure(np.zeros((3, 2)), np.ones((3, 2)), 1.0)
    assert motion.measure(np.zeros((0, 2)), np.zeros((0, 2)), 1.0) is motion
