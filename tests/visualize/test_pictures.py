"""Images are tiled and saved; sides and scores have colours."""

import cv2
import numpy as np
import pytest

from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.visualize import save_image, tile
from hrpose.visualize.pictures import SIDE_COLOURS, keypoint_colours, limb_sides, resize, scale_points, score_colours

LEFT, RIGHT, MIDDLE = (SIDE_COLOURS[side] for side in ("left", "right", "middle"))


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def test_tiles_are_centred_in_cells_of_the_largest():
    sheet = tile([grey(10, 20, 200), grey(6, 8, 100), grey(10, 20, 50)])
    assert sheet.shape == (2 * 18 + 8, 2 * 28 + 8, 3)
    assert (sheet[8:18, 8:28] == 200).all()
    assert (sheet[10:16, 42:50] == 100).all()
    assert (sheet[26:36, 8:28] == 50).all()


@pytest.mark.parametrize(
    ("count", "size", "columns"), [(1, (30, 40), 1), (12, (30, 40), 4), (16, (40, 60), 4), (3, (10, 300), 1), (6, (90, 10), 6)]
)
def test_the_number_of_columns_depends_on_the_aspect_ratio(count, size, columns):
    assert tile([grey(*size)] * count).shape[1] == columns * (size[1] + 8) + 8


def test_a_sheet_needs_images_of_uint8_rgb():
    with pytest.raises(ValueError, match="at least one"):
        tile([])
    with pytest.raises(ValueError, match="uint8 RGB"):
        tile([grey(4, 4), np.zeros((4, 4))])


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_points_stay_on_their_pixels_when_an_image_is_resized(factor):
    ramp = np.repeat(np.tile(np.arange(0, 240, 2, dtype=np.uint8), (60, 1))[..., None], 3, axis=2)
    point = np.array([[41.0, 21.0]])
    x, y = np.round(scale_points(point, factor)[0]).astype(int)
    resized = resize(ramp, (round(120 * factor), round(60 * factor)))
    assert abs(int(resized[y, x, 0]) - 2 * 41) <= 2


@pytest.mark.parametrize("name", ["picture.png", "picture.PNG"])
def test_a_saved_png_is_read_as_the_same_rgb(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_image(tmp_path / "new" / "folder" / name, image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "folder" / name))[..., ::-1], image)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.jpeg"])
def test_a_saved_jpeg_is_read_as_nearly_the_same_rgb(tmp_path, name):
    image = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    save_image(str(tmp_path / name), image)
    np.testing.assert_allclose(cv2.imread(str(tmp_path / name))[..., ::-1].astype(int), image, atol=4)
    assert (tmp_path / name).read_bytes()[:2] == b"\xff\xd8"


def test_views_are_saved(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_image(tmp_path / "view.png", image[::-1, ::2])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "view.png"))[..., ::-1], image[::-1, ::2])


@pytest.mark.parametrize("name", ["picture", "picture.xyz", "picture.gif"])
def test_an_unknown_format_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"\.png.*{name}"):
        save_image(tmp_path / "folder" / name, grey(4, 4))
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)]
)
def test_other_arrays_than_uint8_rgb_are_refused_with_advice(tmp_path, image):
    with pytest.raises(ValueError, match=r"uint8 RGB, but got .*astype"):
        save_image(tmp_path / "picture.png", image)
    assert not (tmp_path / "picture.png").exists()


def test_keypoints_have_the_colour_of_their_side():
    assert keypoint_colours(COCO) == [MIDDLE] + [LEFT, RIGHT] * 8
    assert keypoint_colours(MPII) == [RIGHT] * 3 + [LEFT] * 3 + [MIDDLE] * 4 + [RIGHT] * 3 + [LEFT] * 3


def test_limbs_have_the_side_of_their_keypoints_or_the_middle():
    skeleton = Skeleton.from_names(
        ["l_wing", "r_wing", "beak", "tail"], edges=[(0, 1), (0, 2), (2, 1), (2, 3), (0, 0)], sigmas=[0.1] * 4
    )
    assert limb_sides(skeleton) == ["middle", "left", "right", "middle", "left"]


def test_coco_has_as_many_left_limbs_as_right_ones():
    sides = limb_sides(COCO)
    assert sides.count("left") == sides.count("right") == 8
    assert len(sides) == 19


def test_sides_differ_enough_in_lightness_or_hue():
    colours = np.array(list(SIDE_COLOURS.values()))
    distances = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert distances[np.triu_indices(3, 1)].min() > 100


def test_higher_scores_are_paler_and_scores_are_clipped():
    scores = np.linspace(0, 1, 11)
    lightness = score_colours(scores).sum(axis=-1)
    assert (np.diff(lightness) > 0).all()
    np.testing.assert_array_equal(score_colours(np.array([[-1.0, 2.0]])), score_colours(np.array([[0.0, 1.0]])))
