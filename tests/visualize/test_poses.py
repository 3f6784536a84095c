"""People on a photo: colours by side, marks by visibility and score, and what is left out."""

import numpy as np
import pytest

from hrpose.skeletons import COCO, Skeleton
from hrpose.visualize import draw_poses
from hrpose.visualize.poses import LEFT, MIDDLE, RIGHT

PAIR = Skeleton.from_names(["leftHand", "right-hand", "nose"], edges=[(0, 2), (1, 2), (0, 1)], sigmas=[0.1] * 3)
POINTS = 4 * np.array([[[10.0, 10.0], [50.0, 10.0], [30.0, 50.0]]])


@pytest.fixture
def photo():
    return np.full((256, 256, 3), 90, np.uint8)


def test_the_photo_itself_stays_as_it_is(photo):
    drawn = draw_poses(photo, POINTS, PAIR)
    assert (photo == 90).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == photo.shape
    assert (drawn != photo).any()


def test_limbs_take_the_colour_of_their_side(photo):
    drawn = draw_poses(photo, POINTS, PAIR)
    assert tuple(drawn[120, 80]) == LEFT
    assert tuple(drawn[120, 160]) == RIGHT
    assert tuple(drawn[40, 120]) == MIDDLE


def test_an_occluded_joint_is_hollow_and_a_visible_one_is_not(photo):
    visible = draw_poses(photo, POINTS, PAIR, visibility=np.array([[2, 2, 2]]))[40, 40]
    occluded = draw_poses(photo, POINTS, PAIR, visibility=np.array([[1, 2, 2]]))[40, 40]
    assert visible.min() > 150
    assert occluded.max() < 60


def test_a_surer_joint_is_paler(photo):
    doubtful, sure = (draw_poses(photo, POINTS, PAIR, scores=np.full((1, 3), score))[40, 40] for score in (0.3, 1.0))
    assert sure.astype(int).sum() > doubtful.astype(int).sum()


@pytest.mark.parametrize(
    "hidden",
    [
        {"visibility": np.zeros((1, 3))},
        {"scores": np.full((1, 3), 0.1)},
        {"scores": np.full((1, 3), np.nan)},
        {"visibility": np.full((1, 3), np.nan)},
    ],
)
def test_keypoints_without_label_or_score_are_left_out(photo, hidden):
    np.testing.assert_array_equal(draw_poses(photo, POINTS, PAIR, **hidden), photo)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_keypoints_that_are_nowhere_are_left_out(photo, value):
    broken = POINTS.copy()
    broken[0, 2] = value
    drawn = draw_poses(photo, broken, PAIR)
    assert tuple(drawn[40, 120]) == MIDDLE
    assert (drawn[120:] == 90).all()


def test_nobody_leaves_the_photo_unchanged(photo):
    np.testing.assert_array_equal(draw_poses(photo, np.zeros((0, 3, 2)), PAIR), photo)


def test_one_person_needs_no_leading_axis(photo):
    np.testing.assert_array_equal(
        draw_poses(photo, POINTS[0], PAIR, visibility=np.array([2, 1, 2])),
        draw_poses(photo, POINTS, PAIR, visibility=np.array([[2, 1, 2]])),
    )


def test_larger_people_get_thicker_lines():
    photo = np.zeros((700, 700, 3), np.uint8)
    lines = [(draw_poses(photo, POINTS * size, PAIR) == MIDDLE).all(-1)[:, int(120 * size)].sum() for size in (1, 3)]
    assert lines[1] > lines[0] > 0


def test_boxes_and_labels_are_drawn_on_demand(photo):
    plain = draw_poses(photo, POINTS, PAIR)
    boxed = draw_poses(photo, POINTS, PAIR, bboxes=np.array([[16, 80, 220, 160]]))
    named = draw_poses(photo, POINTS, PAIR, bboxes=np.array([[16, 80, 220, 160]]), labels=["someone"])
    assert (boxed[80, 24:36] > 200).all()
    assert (plain[80, 24:36] == 90).all()
    assert (named != boxed).any()


def test_a_label_without_any_keypoint_still_fits_in(photo):
    drawn = draw_poses(photo, np.full((1, 3, 2), np.nan), PAIR, labels=["nobody"])
    assert (drawn != photo).any()


def test_wrong_shapes_are_named(photo):
    with pytest.raises(ValueError, match=r"\(N, 17, 2\).*'person'|\(N, 17, 2\)"):
        draw_poses(photo, POINTS, COCO)
    with pytest.raises(ValueError, match=r"`visibility` to be \(1, 3\)"):
        draw_poses(photo, POINTS, PAIR, visibility=np.ones((1, 4)))


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)],
)
def test_a_picture_must_be_uint8_rgb(image):
    with pytest.raises(ValueError, match="uint8 RGB"):
        draw_poses(image, POINTS, PAIR)
