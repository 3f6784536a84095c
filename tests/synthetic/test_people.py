"""Left and right follow the direction that a person faces, and bones have constant lengths."""

import numpy as np
import pytest

from hrpose.synthetic.people import rotation, sample_body


@pytest.fixture(scope="module")
def bodies():
    return [sample_body(np.random.default_rng(seed)) for seed in range(300)]


def test_left_is_right_in_the_image_from_the_front_and_left_from_behind(bodies):
    front = [body for body in bodies if body.chest[2, 2] > 0.5]
    back = [body for body in bodies if body.chest[2, 2] < -0.5]
    assert len(front) > 50
    assert len(back) > 20
    for group, sign in ((front, 1), (back, -1)):
        for body in group:
            assert sign * (body.joints["left_shoulder"][0] - body.joints["right_shoulder"][0]) > 0


def test_side_views_occur(bodies):
    assert sum(abs(body.chest[2, 2]) < 0.4 for body in bodies) > 10


def test_postures_vary(bodies):
    wrists = np.array([body.joints["left_wrist"] - body.joints["left_shoulder"] for body in bodies])
    knees = np.array([body.joints["left_knee"] - body.joints["left_hip"] for body in bodies])
    assert (wrists[:, 1] < -0.1).mean() > 0.05, "some hands are above the shoulder (y points down)"
    assert (wrists[:, 1] > 0.2).mean() > 0.2, "some hang"
    assert (knees[:, 1] < 0.15).mean() > 0.08, "some sit or crouch"


@pytest.mark.parametrize(("upper", "lower"), [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")])
def test_left_and_right_bones_have_the_same_length(bodies, upper, lower):
    for body in bodies:
        lengths = [np.linalg.norm(body.joints[f"{side}_{upper}"] - body.joints[f"{side}_{lower}"]) for side in ("left", "right")]
        assert lengths[0] == pytest.approx(lengths[1])


def test_rotation_is_right_handed():
    np.testing.assert_allclose(rotation(2, 90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 90) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(1, 90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
