"""Colours: one a side, and scores that grow paler."""

import numpy as np

from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.visualize.colours import SIDE_COLOURS, keypoint_colours, limb_colours, score_colours

LEFT, RIGHT, MIDDLE = (SIDE_COLOURS[side] for side in ("left", "right", "middle"))


def test_keypoints_have_the_colour_of_their_side():
    assert keypoint_colours(COCO) == [MIDDLE] + [LEFT, RIGHT] * 8
    assert keypoint_colours(MPII) == [RIGHT] * 3 + [LEFT] * 3 + [MIDDLE] * 4 + [RIGHT] * 3 + [LEFT] * 3


def test_limbs_between_the_sides_are_of_the_middle_and_those_from_the_middle_of_their_side():
    skeleton = Skeleton.from_names(
        ["l_wing", "r_wing", "beak", "tail"], edges=[(0, 1), (0, 2), (2, 1), (2, 3), (0, 0)], sigmas=[0.1] * 4
    )
    assert limb_colours(skeleton) == [MIDDLE, LEFT, RIGHT, MIDDLE, LEFT]


def test_left_limbs_of_coco_are_as_many_as_right_ones():
    colours = limb_colours(COCO)
    assert colours.count(LEFT) == colours.count(RIGHT) == 8
    assert len(colours) == 19


def test_sides_differ_in_lightness_or_hue_enough_to_be_told_apart():
    colours = np.array(list(SIDE_COLOURS.values()))
    distances = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert distances[np.triu_indices(3, 1)].min() > 100


def test_scores_grow_paler_and_are_clipped_to_the_scale():
    scores = np.linspace(0, 1, 11)
    lightness = score_colours(scores).sum(axis=-1)
    assert (np.diff(lightness) > 0).all()
    np.testing.assert_array_equal(score_colours(np.array([[-1.0, 2.0]])), score_colours(np.array([[0.0, 1.0]])))
