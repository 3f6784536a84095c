"""The style of annotated pictures: who is drawn, and what is written beside them."""

from unittest.mock import patch

import numpy as np
import pytest

from hrpose.skeletons import COCO
from hrpose.structures import Poses
from hrpose.visualize import PosePainter, draw_poses, painter
from hrpose.visualize.colours import person_colours

PHOTO = np.full((200, 300, 3), 90, np.uint8)
POSES = Poses(
    keypoints=np.random.default_rng(0).uniform(20, 180, (3, 17, 2)),
    keypoint_scores=np.random.default_rng(1).uniform(0, 1, (3, 17)).astype(np.float32),
    scores=np.array([0.9, 0.5, 0.1]),
    bbox_scores=np.ones(3, np.float32),
    center=np.full((3, 2), 100.0),
    scale=np.full((3, 2), 150.0),
    image_ids=np.ones(3, np.int64),
    instance_ids=np.array([4, 11, 2]),
)


def told(**options):
    """Give what `draw_poses` is told."""
    numbered = options.pop("numbered", False)
    with patch.object(painter, "draw_poses", return_value=PHOTO) as draw:
        PosePainter(**options)(PHOTO, POSES, COCO, numbered=numbered)
    return draw.call_args


def test_people_of_low_score_are_left_out():
    assert told().args[1].scores.tolist() == [0.9, 0.5]
    assert told(min_score=0.0).args[1].scores.tolist() == [0.9, 0.5, 0.1]
    assert told(min_keypoint_score=0.4).kwargs["score_threshold"] == 0.4


@pytest.mark.parametrize(
    ("labels", "numbered", "texts"),
    [
        (None, False, None),
        (None, True, ["4", "11"]),
        (True, False, ["0.90", "0.50"]),
        (True, True, ["4", "11"]),
        (False, True, None),
    ],
)
def test_labels_are_numbers_in_videos_and_scores_on_photos(labels, numbered, texts):
    assert told(labels=labels, numbered=numbered).kwargs["labels"] == texts


def test_boxes_are_those_that_were_given_or_else_those_of_the_crops():
    assert told().kwargs["bboxes"] is None
    np.testing.assert_array_equal(told(boxes=True).kwargs["bboxes"], [[25.0, 25, 150, 150]] * 2)


def test_the_picture_is_drawn_in_that_style():
    shown = POSES[:2]
    expected = draw_poses(PHOTO, shown, COCO, labels=["4", "11"], label_colours=person_colours(shown.instance_ids))
    np.testing.assert_array_equal(PosePainter()(PHOTO, POSES, COCO, numbered=True), expected)


def test_a_person_keeps_a_colour_and_neighbours_differ():
    colours = person_colours(np.arange(1, 12))
    assert len(set(colours)) == 10
    assert colours[0] == colours[10]
    assert all(sum(colour) < 420 for colour in colours)  # light letters can be read on them


def test_a_label_stands_on_its_colour():
    ground = (176, 58, 46)
    drawn = draw_poses(PHOTO, POSES.keypoints[:1], COCO, labels=["x"], label_colours=[ground])
    assert (drawn == ground).all(axis=-1).any()
    with pytest.raises(ValueError, match="but got 1 and 2 colours"):
        draw_poses(PHOTO, POSES.keypoints[:1], COCO, labels=["x"], label_colours=[ground] * 2)
