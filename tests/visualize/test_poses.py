"""Poses on an image: colours by side, marks by visibility and score, sizes by the instance, and what is not drawn."""

import dataclasses
from unittest.mock import patch

import numpy as np
import pytest

from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import Poses
from hrpose.visualize import PosePainter, draw_poses, save_image
from hrpose.visualize.pictures import INK, PAPER, SIDE_COLOURS, id_colours

PAIR = Skeleton.from_names(["leftHand", "right-hand", "nose"], edges=[(0, 2), (1, 2), (0, 1)], sigmas=[0.1] * 3)
POINTS = np.array([[[40.0, 40.0], [200.0, 40.0], [120.0, 200.0]]])
LEFT, RIGHT, MIDDLE = (SIDE_COLOURS[side] for side in ("left", "right", "middle"))
IMAGE = np.full((200, 300, 3), 90, np.uint8)
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


@pytest.fixture
def image():
    return np.full((256, 256, 3), 90, np.uint8)


def estimated(keypoints, scores=1.0):
    count, num_keypoints = keypoints.shape[:2]
    return Poses(
        keypoints=keypoints,
        keypoint_scores=np.full((count, num_keypoints), scores, np.float32),
        scores=np.ones(count),
        bbox_scores=np.ones(count, np.float32),
        center=keypoints.mean(axis=1),
        scale=np.full((count, 2), 200.0),
        image_ids=np.ones(count, np.int64),
        instance_ids=np.arange(count),
    )


def touched(drawn, image):
    """Return rows and columns of all pixels that were drawn on."""
    return np.nonzero((drawn != image).any(axis=-1))


def test_the_image_is_not_modified(image):
    drawn = draw_poses(image, POINTS, PAIR)
    assert (image == 90).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    assert (drawn != image).any()


@pytest.mark.parametrize("view", [lambda p: p[::-1, ::-1], lambda p: np.asfortranarray(p), lambda p: p[:, :, ::-1]])
def test_the_memory_layout_does_not_matter(view):
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    layout = view(image)
    layout.flags.writeable = False
    np.testing.assert_array_equal(draw_poses(layout, POINTS, PAIR), draw_poses(layout.copy("C"), POINTS, PAIR))


def test_limbs_have_the_colour_of_their_side(image):
    drawn = draw_poses(image, POINTS, PAIR)
    assert tuple(drawn[120, 80]) == LEFT
    assert tuple(drawn[120, 160]) == RIGHT
    assert tuple(drawn[40, 120]) == MIDDLE


def test_limbs_have_a_dark_outline():
    column = draw_poses(np.full((256, 256, 3), 255, np.uint8), POINTS, PAIR)[:, 120].max(axis=-1)
    above, below = column[30:40], column[41:51]
    assert column[40] == max(MIDDLE)
    assert above.min() < 140
    assert below.min() < 140


def test_dots_without_score_have_the_colour_of_their_side(image):
    drawn = draw_poses(image, POINTS, PAIR)
    assert [tuple(drawn[y, x]) for x, y in ((40, 40), (200, 40), (120, 200))] == [LEFT, RIGHT, MIDDLE]


def test_an_occluded_keypoint_is_hollow_and_a_visible_one_is_filled(image):
    drawn = draw_poses(image, POINTS, PAIR, visibility=np.array([[1, 2, 2]]))
    assert tuple(drawn[40, 40]) == INK
    assert tuple(drawn[40, 200]) == RIGHT


def test_a_keypoint_of_higher_score_is_paler(image):
    hearts = [draw_poses(image, POINTS, PAIR, scores=np.full((1, 3), s))[40, 40].sum(dtype=int) for s in (0.2, 0.5, 0.8, 1.0)]
    assert hearts == sorted(set(hearts))


@pytest.mark.parametrize(
    "hidden",
    [
        {"visibility": np.zeros((1, 3))},
        {"scores": np.full((1, 3), 0.1)},
        {"scores": np.full((1, 3), np.nan)},
        {"visibility": np.full((1, 3), np.nan)},
        {"scores": np.full((1, 3), 0.7), "score_threshold": 0.71},
    ],
)
def test_keypoints_without_label_or_score_are_not_drawn(image, hidden):
    np.testing.assert_array_equal(draw_poses(image, POINTS, PAIR, **hidden), image)


def test_a_score_at_the_threshold_is_drawn(image):
    assert (draw_poses(image, POINTS, PAIR, scores=np.full((1, 3), 0.25), score_threshold=0.25) != image).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1.0, 256.0])
def test_keypoints_outside_or_not_finite_are_not_drawn_nor_their_limbs(image, value):
    broken = POINTS.copy()
    broken[0, 2, 1] = value
    drawn = draw_poses(image, broken, PAIR)
    assert tuple(drawn[40, 120]) == MIDDLE
    assert (drawn[60:] == 90).all()


def test_a_keypoint_on_the_border_is_drawn(image):
    for corner in (0.0, 255.0):
        rows, columns = touched(draw_poses(image, np.full((3, 2), corner), PAIR), image)
        assert abs(rows - corner).max() < 8
        assert corner in rows
        assert corner in columns


def test_no_instances_leave_the_image_unchanged(image):
    np.testing.assert_array_equal(draw_poses(image, np.zeros((0, 3, 2)), PAIR), image)


def test_one_instance_needs_no_leading_axis(image):
    np.testing.assert_array_equal(
        draw_poses(image, POINTS[0], PAIR, visibility=np.array([2, 1, 2]), bboxes=np.array([30, 30, 180, 180])),
        draw_poses(image, POINTS, PAIR, visibility=np.array([[2, 1, 2]]), bboxes=np.array([[30, 30, 180, 180]])),
    )


def test_poses_are_drawn_with_their_scores(image):
    poses = estimated(POINTS, scores=0.6)
    np.testing.assert_array_equal(draw_poses(image, poses, PAIR), draw_poses(image, POINTS, PAIR, scores=poses.keypoint_scores))
    unsure = dataclasses.replace(poses, keypoint_scores=np.zeros((1, 3), np.float32))
    np.testing.assert_array_equal(draw_poses(image, unsure, PAIR), image)


def test_the_line_width_depends_on_the_size_of_the_instance():
    image = np.zeros((1000, 1000, 3), np.uint8)
    widths = []
    for size in (0.5, 1, 2, 4):
        drawn = draw_poses(image, POINTS * size, PAIR)[: int(80 * size), int(120 * size)]
        widths.append((drawn[:, 1] / MIDDLE[1]).sum())
    extents = np.hypot(160, 160) * np.array([0.5, 1, 2, 4])
    np.testing.assert_allclose(widths, np.minimum(0.02 * extents, 0.01 * extents + 1.2), atol=0.8)


def test_a_dot_is_round_and_at_its_keypoint_to_a_fraction_of_a_pixel():
    image = np.zeros((101, 101, 3), np.uint8)
    point = np.array([[50.3, 49.6], [np.nan] * 2, [np.nan] * 2])
    drawn = draw_poses(image, point, PAIR).astype(float).sum(axis=-1)
    rows, columns = np.indices(drawn.shape)
    center = np.array([(columns * drawn).sum(), (rows * drawn).sum()]) / drawn.sum()
    np.testing.assert_allclose(center, point[0], atol=0.1)


@pytest.mark.parametrize("side", [1, 2, 7, 24])
def test_poses_are_drawn_on_tiny_images(side):
    image = np.zeros((side, side, 3), np.uint8)
    people = np.random.default_rng(0).uniform(0, side - 1, (3, 17, 2))
    drawn = draw_poses(image, people, COCO, bboxes=np.tile([0, 0, side, side], (3, 1)), labels=["a", "b", "c"])
    assert drawn.shape == image.shape
    assert drawn.any()


def test_a_single_keypoint_is_visible_on_a_huge_image():
    image = np.zeros((3000, 5000, 3), np.uint8)
    rows, _ = touched(draw_poses(image, np.array([[1500.0, 900.0]] + [[np.nan] * 2] * 2), PAIR), image)
    assert np.ptp(rows) > 15


def test_keypoints_close_together_have_smaller_dots():
    image = np.zeros((400, 400, 3), np.uint8)
    names = ["a", "b", "c"]
    points = np.array([[50.0, 50.0], [350.0, 350.0], [350.0, 344.0]])
    drawn = draw_poses(image, points, Skeleton.from_names(names, sigmas=[0.1] * 3))
    alone, crowded = (drawn[:200].any(-1).sum(), drawn[200:].any(-1).sum())
    assert crowded < 1.6 * alone


def test_boxes_are_drawn_on_request_and_clipped_to_the_image(image):
    plain = draw_poses(image, POINTS, PAIR)
    boxed = draw_poses(image, POINTS, PAIR, bboxes=np.array([[16, 80, 900, 160]]))
    assert np.abs(boxed[80, 24:34].astype(int) - PAPER).max() < 40
    assert np.abs(boxed[100:200, 255].astype(int) - PAPER).max() < 40
    assert (plain[80, 24:34] == 90).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_not_finite_is_not_drawn(image, value):
    boxed = draw_poses(image, POINTS, PAIR, bboxes=np.array([[16, 80, value, 160]]), labels=["some label"])
    np.testing.assert_array_equal(boxed, draw_poses(image, POINTS, PAIR, labels=["some label"]))


def test_labels_are_above_the_instance_and_inside_the_image(image):
    plain = draw_poses(image, POINTS, PAIR)
    rows, _ = touched(draw_poses(image, POINTS, PAIR, labels=["some label"]), plain)
    assert rows.max() < 40
    for x, y in ((0, 0), (255, 0), (0, 255), (255, 255)):
        rows, columns = touched(draw_poses(image, np.full((3, 2), (x, y)), PAIR, labels=["some label"]), image)
        assert np.ptp(rows) >= 10
        assert np.ptp(columns) >= 30


def test_a_label_without_keypoints_is_drawn(image):
    assert (draw_poses(image, np.full((1, 3, 2), np.nan), PAIR, labels=["some label"]) != image).any()


@pytest.mark.parametrize("skeleton", [COCO, MPII, Skeleton.from_names(["tip", "base"], sigmas=[0.1, 0.1])])
def test_any_skeleton_can_be_drawn(image, skeleton):
    people = np.random.default_rng(1).uniform(10, 240, (2, skeleton.num_keypoints, 2))
    assert (draw_poses(image, people, skeleton) != image).any()


def test_wrong_shapes_are_refused(image):
    with pytest.raises(ValueError, match=r"\(N, 17, 2\).*'coco'.*\(1, 3, 2\)"):
        draw_poses(image, POINTS, COCO)
    with pytest.raises(ValueError, match="third coordinate"):
        draw_poses(image, np.zeros((1, 3, 3)), PAIR)
    with pytest.raises(ValueError, match=r"`visibility` to be \(1, 3\)"):
        draw_poses(image, POINTS, PAIR, visibility=np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"`scores` to be \(2, 3\)"):
        draw_poses(image, np.tile(POINTS, (2, 1, 1)), PAIR, scores=np.ones(3))
    with pytest.raises(ValueError, match=r"`bboxes` to be \(1, 4\)"):
        draw_poses(image, POINTS, PAIR, bboxes=np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"`labels` to be 1 texts"):
        draw_poses(image, POINTS, PAIR, labels=["a", "b"])


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)]
)
def test_an_image_must_be_uint8_rgb(image):
    with pytest.raises(ValueError, match="uint8 RGB"):
        draw_poses(image, POINTS, PAIR)


def test_the_skeleton_is_that_of_the_poses_and_images_may_be_files(image, tmp_path):
    poses = dataclasses.replace(estimated(POINTS), skeleton=PAIR)
    file = tmp_path / "photo.png"
    save_image(file, image)
    expected = draw_poses(image, POINTS, PAIR, scores=poses.keypoint_scores)
    np.testing.assert_array_equal(draw_poses(file, poses), expected)
    with pytest.raises(ValueError, match="skeleton"):
        draw_poses(image, POINTS)


def arguments_of(**options):
    """Return the arguments of `draw_poses`."""
    numbered = options.pop("numbered", False)
    with patch("hrpose.visualize.poses.draw_poses", return_value=IMAGE) as draw:
        PosePainter(**options)(IMAGE, POSES, COCO, numbered=numbered)
    return draw.call_args


def test_instances_of_low_score_are_not_drawn():
    assert arguments_of().args[1].scores.tolist() == [0.9, 0.5]
    assert arguments_of(min_score=0.0).args[1].scores.tolist() == [0.9, 0.5, 0.1]
    assert arguments_of(min_keypoint_score=0.4).kwargs["score_threshold"] == 0.4


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
def test_labels_are_ids_in_videos_and_scores_on_images(labels, numbered, texts):
    assert arguments_of(labels=labels, numbered=numbered).kwargs["labels"] == texts


def test_boxes_are_those_of_the_poses_or_of_the_crops():
    assert arguments_of().kwargs["bboxes"] is None
    np.testing.assert_array_equal(arguments_of(boxes=True).kwargs["bboxes"], [[25.0, 25, 150, 150]] * 2)


def test_the_painter_draws_with_its_settings():
    shown = POSES[:2]
    expected = draw_poses(IMAGE, shown, COCO, labels=["4", "11"], label_colours=id_colours(shown.instance_ids))
    np.testing.assert_array_equal(PosePainter()(IMAGE, POSES, COCO, numbered=True), expected)


def test_an_id_has_a_fixed_colour_and_consecutive_ids_differ():
    colours = id_colours(np.arange(1, 12))
    assert len(set(colours)) == 10
    assert colours[0] == colours[10]
    assert all(sum(colour) < 420 for colour in colours)  # light letters can be read on them


def test_a_label_has_its_background_colour():
    ground = (176, 58, 46)
    drawn = draw_poses(IMAGE, POSES.keypoints[:1], COCO, labels=["x"], label_colours=[ground])
    assert (drawn == ground).all(axis=-1).any()
    with pytest.raises(ValueError, match="but got 1 and 2 colours"):
        draw_poses(IMAGE, POSES.keypoints[:1], COCO, labels=["x"], label_colours=[ground] * 2)
