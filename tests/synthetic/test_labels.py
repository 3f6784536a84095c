"""Labels describe the drawn pixels."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from hrpose.skeletons import COCO
from hrpose.synthetic.canvas import OVERSAMPLING, Canvas, to_canvas, to_image
from hrpose.synthetic.labels import label_crowd, label_person
from hrpose.synthetic.painting import paint_person
from hrpose.synthetic.people import OWNER_STRIDE, Person, rotation, sample_body, sample_outfit
from hrpose.synthetic.scene import draw_scene

FACE = [COCO.keypoint_names.index(name) for name in ("nose", "left_eye", "right_eye")]
SIZE = (200, 220)


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng((5, seed)), (240, 200)) for seed in range(60)]


@pytest.fixture
def canvas():
    return Canvas(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.array([0.0, -1.0]))


def upright_person(hips=(100.0, 110.0), stature=160.0, seed=2):
    """Return a person in front of the camera with hanging arms."""
    rng = np.random.default_rng(seed)
    while True:
        body, outfit = sample_body(rng), sample_outfit(rng)
        hanging = all(body.joints[f"{side}_wrist"][1] - body.joints[f"{side}_shoulder"][1] > 0.2 for side in ("left", "right"))
        standing = all(body.joints[f"{side}_ankle"][1] > 0.4 for side in ("left", "right"))
        if body.head[2, 2] > 0.93 and body.chest[2, 2] > 0.93 and hanging and standing:
            return Person(body, replace(outfit, skirt=0.0, long_hair=False), np.array(hips), stature)


def pixels_of(canvas, number):
    return int((canvas.owners[::OVERSAMPLING, ::OVERSAMPLING] // OWNER_STRIDE == number).sum())


def paint(canvas, *people):
    painted = {}
    for number, person in enumerate(people, start=1):
        paint_person(canvas, person, number, np.random.default_rng(0))
        painted[number] = pixels_of(canvas, number)
    return [label_person(canvas.owners, person, n, painted[n]) for n, person in enumerate(people, start=1)]


def test_box_and_area_equal_those_of_the_pixels(scenes):
    for scene in scenes:
        for number, label in scene.labels.items():
            mask = scene.owners[::OVERSAMPLING, ::OVERSAMPLING] // OWNER_STRIDE == number
            rows, columns = np.nonzero(mask)
            assert label.area == mask.sum()
            left, top, width, height = label.bbox
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)


def test_the_run_lengths_equal_those_of_the_pixels(scenes):
    for scene in scenes:
        numbers = scene.owners[::2, ::2] // OWNER_STRIDE
        for number, label in scene.labels.items():
            run = {"size": list(numbers.shape), "counts": label.runs}
            mask = coco_masks.decode(coco_masks.frPyObjects(run, *numbers.shape))
            np.testing.assert_array_equal(mask, numbers == number)


def test_visible_keypoints_are_on_pixels_of_their_person(scenes):
    count = 0
    for scene in scenes:
        for number, label in scene.labels.items():
            for point in label.keypoints[label.visibility == 2]:
                x, y = np.round(to_canvas(point)).astype(int)
                patch = scene.owners[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
                assert (patch // OWNER_STRIDE == number).any()
                count += 1
    assert count > 500


def test_keypoints_are_inside_the_image_or_unlabelled(scenes):
    for scene in scenes:
        height, width = scene.image.shape[:2]
        for label in scene.labels.values():
            labelled = label.visibility > 0
            assert (label.keypoints[~labelled] == 0).all()
            assert (label.keypoints[labelled] >= -0.5).all()
            assert (label.keypoints[labelled] < (width - 0.5, height - 0.5)).all()


def test_every_kind_of_visibility_occurs(scenes):
    people = [label.visibility for scene in scenes for label in scene.labels.values() if label.visibility.any()]
    shares = np.bincount(np.concatenate(people), minlength=3) / (17 * len(people))
    assert (shares > [0.05, 0.08, 0.5]).all()


def test_labels_match_the_posture(scenes):
    for scene in scenes:
        for number, person in scene.people.items():
            if number in scene.labels:
                label = scene.labels[number]
                elbow = COCO.keypoint_names.index("left_elbow")
                if label.visibility[elbow]:
                    np.testing.assert_allclose(label.keypoints[elbow], person.place("left_elbow"))


def test_a_face_is_visible_from_the_front_and_never_from_behind(canvas):
    person = upright_person()
    (front,) = paint(canvas, person)
    assert (front.visibility[FACE] == 2).all()
    turned = rotation(1, 180)
    away = replace(person, body=replace(person.body, head=turned @ person.body.head))
    (back,) = paint(Canvas(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.array([0.0, -1.0])), away)
    assert (back.visibility[FACE] == 0).all()


def test_the_left_eye_is_right_of_the_right_eye_from_the_front(canvas):
    (label,) = paint(canvas, upright_person())
    assert label.keypoints[FACE[1], 0] > label.keypoints[FACE[2], 0]


def test_only_the_person_behind_is_occluded(canvas):
    front = upright_person(hips=(108.0, 112.0))
    behind, before = paint(canvas, upright_person(), front)
    (alone,) = paint(Canvas(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.array([0.0, -1.0])), upright_person())
    assert (alone.visibility == 2).sum() >= 15
    assert (behind.visibility == 1).sum() >= 5
    assert (behind.visibility > 0).sum() == 17
    assert (before.visibility == 2).sum() >= 15
    assert behind.area < alone.area
    np.testing.assert_allclose(behind.keypoints, alone.keypoints)


def test_an_object_in_front_occludes(canvas):
    person = upright_person()
    paint_person(canvas, person, 1, np.random.default_rng(0))
    painted = pixels_of(canvas, 1)
    canvas.polygon(np.array([[0.0, 140.0], [200, 140], [200, 220], [0, 220]]), np.array([9.0, 9, 9]), 0)
    label = label_person(canvas.owners, person, 1, painted)
    below = label.keypoints[:, 1] > 142
    assert below.sum() >= 4
    assert (label.visibility[below] == 1).all()
    assert label.bbox[1] + label.bbox[3] <= 141


def test_keypoints_outside_the_image_are_unlabelled(canvas):
    person = upright_person(hips=(100.0, 215.0))
    (label,) = paint(canvas, person)
    knees = [COCO.keypoint_names.index(name) for name in ("left_knee", "right_knee", "left_ankle", "right_ankle")]
    assert (label.visibility[knees] == 0).all()
    assert (label.keypoints[knees] == 0).all()
    assert (label.visibility[FACE] == 2).all()


def test_tiny_and_mostly_hidden_people_have_a_box_but_no_keypoints(canvas):
    tiny, buried, _ = paint(
        canvas,
        upright_person(hips=(20.0, 40.0), stature=26.0),
        upright_person(hips=(120.0, 110.0), stature=70.0),
        upright_person(hips=(120.0, 120.0), stature=190.0),
    )
    assert tiny.visibility.sum() == 0
    assert tiny.bbox[2] > 4
    assert buried is None or buried.visibility.sum() == 0


def test_hidden_people_have_no_label(canvas):
    assert paint(canvas, upright_person(hips=(-500.0, 110.0))) == [None]
    assert label_crowd(canvas.owners, 7) is None


def test_canvas_and_image_have_the_same_pixel_centers():
    np.testing.assert_allclose(to_canvas(np.array([0.0, 10.0])), [0.5, 20.5])
    np.testing.assert_allclose(to_image(to_canvas(np.array([3.25, -1.0]))), [3.25, -1.0])
