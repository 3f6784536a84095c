"""Videos of walking people have ids, constant bone lengths, crossing paths, and the same pixels for the same seed."""

import itertools

import numpy as np
import pytest

from hrpose.skeletons import COCO
from hrpose.synthetic import draw_walk
from hrpose.synthetic.motion import _body, _sample_walker


@pytest.fixture(scope="module")
def film():
    return list(draw_walk(num_frames=40, image_size=(160, 120), frame_rate=15.0, seed=4))


def test_the_same_seed_draws_the_same_video(film):
    again = list(draw_walk(num_frames=3, image_size=(160, 120), frame_rate=15.0, seed=4))
    other = next(draw_walk(num_frames=1, image_size=(160, 120), seed=5))
    for one, two in zip(film, again, strict=False):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
    assert (other.image != film[0].image).any()


def test_frames_have_an_image_people_and_a_time(film):
    assert [round(frame.time * 15) for frame in film] == list(range(40))
    for frame in film:
        count = len(frame.person_ids)
        assert frame.image.shape == (120, 160, 3)
        assert frame.keypoints.shape == (count, 17, 2)
        assert (frame.visibility.shape, frame.bbox.shape) == ((count, 17), (count, 4))
    assert (film[10].image != film[11].image).any()


def test_two_people_walk_past_each_other(film):
    hip = COCO.keypoint_names.index("left_hip")
    ways = {
        number: np.array(
            [
                frame.keypoints[row, hip, 0]
                for frame in film
                for row in np.flatnonzero((frame.person_ids == number) & (frame.visibility[:, hip] > 0))
            ]
        )
        for number in (1, 2)
    }
    assert ways[1][0] < 40 < 120 < ways[1][-1]
    assert ways[2][0] > 120 > 40 > ways[2][-1]
    gap = [frame.keypoints[1, hip, 0] - frame.keypoints[0, hip, 0] for frame in film if (frame.visibility[:, hip] > 0).sum() == 2]
    assert gap[0] > 0 > gap[-1]


def test_the_nearer_person_hides_the_farther_one(film):
    occluded = dict.fromkeys((1, 2), 0)
    for frame in film:
        if len(frame.person_ids) == 2 and np.ptp(frame.bbox[:, 0]) < 15:
            for number, labels in zip(frame.person_ids.tolist(), frame.visibility, strict=True):
                occluded[number] += int((labels == 1).sum())
    assert occluded[1] > occluded[2]


def test_people_move_continuously(film):
    """At 0.95 statures a second a leg that swings forward moves about three times as fast: a fifth of a stature per frame."""
    for before, after in itertools.pairwise(film):
        for number in set(before.person_ids.tolist()) & set(after.person_ids.tolist()):
            one, two = ([frame.person_ids.tolist().index(number)] for frame in (before, after))
            common = (before.visibility[one] > 0) & (after.visibility[two] > 0)
            steps = np.linalg.norm(before.keypoints[one] - after.keypoints[two], axis=-1)[common]
            assert steps.max(initial=0) < 0.25 * 0.72 * 120


def test_bones_keep_their_lengths_and_legs_swing():
    walker = _sample_walker(np.random.default_rng(0), (320, 240), 0, 2)
    bodies = [_body(walker, phase) for phase in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    for side in ("left", "right"):
        for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            lengths = [np.linalg.norm(body.joints[f"{side}_{upper}"] - body.joints[f"{side}_{lower}"]) for body in bodies]
            assert np.ptp(lengths) < 1e-12
    ahead = np.array([[body.joints[f"{side}_ankle"][0] for side in ("left", "right")] for body in bodies])
    assert np.corrcoef(ahead.T)[0, 1] < -0.5


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"num_people": 0}, {"frame_rate": 0.0}, {"image_size": (32, 240)}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        next(draw_walk(**wrong))
