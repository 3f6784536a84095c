"""The person that skeletons are shown on: every keypoint has a place, on the person, left and right where they belong."""

import numpy as np
import pytest
from specimen import PERSONS, draw_specimen, specimen_keypoints

from hrpose.skeletons import COCO, HALPE26, JHMDB, WHOLEBODY, Skeleton, whole_body_parts

PARTS = whole_body_parts(WHOLEBODY.keypoint_names)


@pytest.fixture(scope="module")
def whole():
    return draw_specimen((372, 540))


@pytest.mark.parametrize("skeleton", PERSONS.values(), ids=PERSONS)
def test_every_keypoint_lies_on_the_person(whole, skeleton: Skeleton) -> None:
    picture, places = whole
    keypoints = specimen_keypoints(places, skeleton)
    assert keypoints.shape == (skeleton.num_keypoints, 2)
    columns, rows = np.round(keypoints).astype(int).T
    assert (picture[rows, columns] != picture[0, 0]).any(axis=1).all()


@pytest.mark.parametrize("skeleton", PERSONS.values(), ids=PERSONS)
def test_the_person_faces_the_camera_and_is_its_own_mirror_image(whole, skeleton: Skeleton) -> None:
    picture, places = whole
    keypoints = specimen_keypoints(places, skeleton)
    middle = (picture.shape[1] - 1) / 2
    for left, right in skeleton.flip_pairs:
        if skeleton.sides[left] == "right":
            left, right = right, left
        assert keypoints[left, 0] > middle > keypoints[right, 0]
    np.testing.assert_allclose(keypoints[list(skeleton.flip_permutation)] * (-1, 1) + (2 * middle, 0), keypoints, atol=1e-6)


@pytest.mark.parametrize("part", ["face", "left hand", "right hand"])
def test_an_enlarged_part_is_in_the_picture_and_the_same_in_shape(whole, part) -> None:
    _, places = draw_specimen((500, 400), part=part)
    indices = list(PARTS[part])
    enlarged = specimen_keypoints(places, WHOLEBODY)[indices]
    assert (enlarged > 0).all()
    assert (enlarged < (500, 400)).all()
    small = specimen_keypoints(whole[1], WHOLEBODY)[indices]
    factor = np.linalg.norm(np.ptp(enlarged, axis=0)) / np.linalg.norm(np.ptp(small, axis=0))
    assert factor > 3
    np.testing.assert_allclose((enlarged - enlarged[0]) / factor, small - small[0], atol=1e-6)


def test_the_head_of_jhmdb_is_that_of_nobody_else(whole) -> None:
    face = specimen_keypoints(whole[1], JHMDB)[JHMDB.keypoint_names.index("head")]
    top = specimen_keypoints(whole[1], HALPE26)[HALPE26.keypoint_names.index("head")]
    assert top[1] < face[1] - 20
    assert face[1] < specimen_keypoints(whole[1], COCO)[0, 1] + 5  # about the nose


def test_a_keypoint_that_a_person_has_not_is_told(whole) -> None:
    with pytest.raises(ValueError, match=r"specimen in skeleton 'cat', but got tail\. It has belly, "):
        specimen_keypoints(whole[1], Skeleton.from_names(["nose", "tail"], name="cat", sigmas=[0.1, 0.1]))
