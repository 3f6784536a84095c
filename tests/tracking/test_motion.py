"""The speed of a person: a median over keypoints, an average over a few frames."""

import numpy as np
import pytest

from hrpose.tracking.motion import BodyMotion


def test_a_steady_walk_has_its_speed_after_one_step():
    points = np.random.default_rng(0).normal(size=(17, 2))
    motion = BodyMotion()
    for _ in range(5):
        motion = motion.measure(points, points + np.array([3.0, -1.0]), 0.5)
        np.testing.assert_allclose(motion.velocity, [6.0, -2.0])
    assert motion.num_steps == 5


def test_keypoints_that_jump_hardly_matter():
    points = np.zeros((17, 2))
    moved = points + np.array([3.0, 0.0])
    moved[:8] = 900.0
    np.testing.assert_allclose(BodyMotion().measure(points, moved, 1.0).velocity, [3.0, 0.0])


def test_a_new_speed_is_taken_on_within_a_few_frames():
    still, moved = np.zeros((5, 2)), np.full((5, 2), 4.0)
    motion = BodyMotion()
    for _ in range(10):
        motion = motion.measure(still, still, 0.04)
    for _ in range(10):  # 0.4 s: all but exp(-0.4 / 0.15) of it
        motion = motion.measure(still, moved, 0.04)
    assert motion.velocity == pytest.approx(100.0 * (1 - np.exp(-0.4 / 0.15)), rel=1e-9)


def test_without_keypoints_nothing_is_learned():
    motion = BodyMotion().measure(np.zeros((3, 2)), np.ones((3, 2)), 1.0)
    assert motion.measure(np.zeros((0, 2)), np.zeros((0, 2)), 1.0) is motion
