from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrpose.geometry import (
    bbox_iou,
    bbox_nms,
    center_scale_from_bbox,
    clip_bbox,
    fit_aspect_ratio,
    flip_keypoints,
    input_from_image,
    invert_affine,
    transform_points,
)
from hrpose.skeletons import COCO, MPII

coordinate = st.floats(-2000, 2000)
side = st.floats(1, 2000)


@pytest.fixture(scope="module")
def golden(golden_dir: Path):
    return np.load(golden_dir / "geometry.npz")


def test_center_and_scale_equal_the_official_ones(golden) -> None:
    for row, (width, height) in enumerate(golden["image_size"]):
        center, scale = center_scale_from_bbox(golden["boxes"][row], width / height)
        np.testing.assert_allclose(center, golden["center"][row], rtol=1e-6)
        np.testing.assert_allclose(scale, golden["scale"][row] * 200, rtol=1e-6)


def test_points_through_the_crop_equal_the_official_ones(golden) -> None:
    for row, size in enumerate(golden["image_size"]):
        matrix = input_from_image(golden["center"][row], golden["scale"][row] * 200.0, golden["rot"][row], size)
        np.testing.assert_allclose(transform_points(golden["points"][row], matrix), golden["points_img"][row], atol=1e-2)


def test_points_back_to_the_image_equal_the_official_ones(golden) -> None:
    for row, size in enumerate(golden["image_size"]):
        matrix = input_from_image(golden["center"][row], golden["scale"][row] * 200.0, 0, size)
        back = transform_points(golden["hm_coords"][row] * 4.0, invert_affine(matrix))
        np.testing.assert_allclose(back, golden["preds_img"][row], atol=1e-2)


@pytest.mark.parametrize(("name", "skeleton"), [("coco", COCO), ("mpii", MPII)])
def test_flipped_keypoints_equal_the_official_ones(golden, name, skeleton) -> None:
    visibility = golden[f"{name}_joints_vis"][:, 0]
    keypoints, flipped = flip_keypoints(golden[f"{name}_joints"][:, :2], visibility, skeleton.flip_permutation, 300)
    np.testing.assert_allclose(keypoints, golden[f"{name}_joints_flipped_w300"][:, :2])
    np.testing.assert_array_equal(flipped, golden[f"{name}_joints_vis_flipped"][:, 0])


def test_official_clipping_makes_a_box_inside_a_pixel_smaller() -> None:
    np.testing.assert_array_equal(clip_bbox([10, 20, 30, 40], (640, 480)), [10, 20, 29, 39])


def test_official_clipping_measures_the_right_edge_from_the_clipped_left_edge() -> None:
    np.testing.assert_array_equal(clip_bbox([-10, 0, 30, 40], (640, 480)), [0, 0, 29, 39])


def test_a_box_outside_the_image_has_no_positive_size() -> None:
    assert clip_bbox([700, 0, 30, 40], (640, 480))[2] < 0


def test_mmpose_clips_each_edge_separately_and_keeps_boxes_inside() -> None:
    boxes = [[10, 20, 30, 40], [-10, -5, 30, 40], [630, 470, 30, 40], [700, 0, 30, 40]]
    want = [[10, 20, 30, 40], [0, 0, 20, 35], [630, 470, 9, 9], [639, 0, 0, 40]]
    np.testing.assert_array_equal(clip_bbox(boxes, (640, 480), "mmpose"), want)


@given(arrays(np.float64, (5, 2), elements=side), st.floats(0.2, 5))
def test_fitting_the_aspect_ratio_enlarges_one_side_only(size, aspect_ratio) -> None:
    fitted = fit_aspect_ratio(size, aspect_ratio)
    np.testing.assert_allclose(fitted[:, 0] / fitted[:, 1], aspect_ratio)
    assert (fitted >= size * (1 - 1e-12)).all()
    assert np.isclose(fitted, size).any(axis=1).all()


@given(coordinate, coordinate, side, st.floats(-180, 180), st.booleans())
def test_image_from_input_after_input_from_image_is_identity(x, y, width, rotation, flip) -> None:
    matrix = input_from_image((x, y), (width, width * 4 / 3), rotation, (192, 256), flip=flip)
    points = np.array([[0.0, 0.0], [x, y], [x + width, y - width]])
    back = transform_points(transform_points(points, matrix), invert_affine(matrix))
    np.testing.assert_allclose(back, points, atol=1e-6)


@given(coordinate, coordinate, side, st.floats(-180, 180), st.integers(1, 4000))
def test_a_flipped_crop_is_the_crop_of_the_mirrored_image(x, y, width, rotation, image_width) -> None:
    points = np.array([[0.0, 0.0], [x, y], [x + 3, y - 5]])
    mirrored = points * [-1, 1] + [image_width - 1, 0]
    flipped = input_from_image((x, y), (width, width), rotation, (192, 256), flip=True)
    of_mirrored = input_from_image((image_width - 1 - x, y), (width, width), rotation, (192, 256))
    expected = transform_points(mirrored, of_mirrored)
    np.testing.assert_allclose(transform_points(points, flipped), expected, rtol=1e-7, atol=1e-5 * (1 + 192 / width))


@pytest.fixture(scope="module")
def other_grids(golden_dir: Path):
    return np.load(golden_dir / "dark_udp.npz")


def test_crops_of_the_udp_grid_equal_udps_and_mmposes(golden, other_grids) -> None:
    for row, size in enumerate(golden["image_size"]):
        center, scale = golden["center"][row], golden["scale"][row] * 200.0
        # Both rotate in the opposite direction.
        matrix = input_from_image(center, scale, -golden["rot"][row], size, grid="udp")
        bound = 1e-5 * np.abs(matrix).max()
        np.testing.assert_allclose(matrix, other_grids["geometry_mm_udp_warp"][row], atol=bound)
        udp = invert_affine(other_grids["geometry_udp_mat_inverse_map"][row])
        np.testing.assert_allclose(matrix, udp, atol=bound)
        points = transform_points(golden["points"][row], matrix)
        np.testing.assert_allclose(points, other_grids["geometry_udp_points_img"][row], atol=1e-2)


def test_points_of_the_udp_grid_go_back_to_the_image_as_udps(golden, other_grids) -> None:
    for row, (width, height) in enumerate(golden["image_size"]):
        center, scale = golden["center"][row], golden["scale"][row] * 200.0
        matrix = input_from_image(center, scale, 0, (width, height), grid="udp")
        stride = np.array([(width - 1) / (width / 4 - 1), (height - 1) / (height / 4 - 1)])
        back = transform_points(golden["hm_coords"][row] * stride, invert_affine(matrix))
        np.testing.assert_allclose(back, other_grids["geometry_udp_preds_img"][row], atol=1e-2)


def test_crops_of_the_dark_grid_equal_darkposes(golden, other_grids) -> None:
    for row, size in enumerate(golden["image_size"]):
        scale = other_grids["geometry_dark_scale"][row] * 200.0
        matrix = input_from_image(other_grids["geometry_dark_center"][row], scale, golden["rot"][row], size, grid="dark")
        want = other_grids["geometry_dark_mat_img"][row]
        np.testing.assert_allclose(matrix, want, atol=2e-5 * np.abs(want).max())


@given(coordinate, coordinate, side, st.floats(-180, 180), st.sampled_from(["dark", "udp"]))
def test_a_flipped_crop_of_the_other_grids_is_the_mirror_image(x, y, width, rotation, grid) -> None:
    scale, size = (width + 2, (width + 2) * 4 / 3), (192, 256)
    plain = input_from_image((x, y), scale, rotation, size, grid=grid)
    flipped = input_from_image((x, y), scale, -rotation, size, flip=True, grid=grid)
    mirrored = transform_points([[3.0, 5.0], [x + 9, y - 4]], plain) * [-1, 1] + [191, 0]
    found = transform_points([[3.0, 5.0], [x + 9, y - 4]], flipped)
    np.testing.assert_allclose(found, mirrored, rtol=1e-7, atol=1e-5 * (1 + 192 / width))


def test_the_box_extends_from_the_first_to_the_last_pixel_of_the_udp_grid() -> None:
    matrix = input_from_image((100, 50), (96, 128), 0, (192, 256), grid="udp")
    np.testing.assert_allclose(transform_points([[52, -14], [148, 114]], matrix), [[0, 0], [191, 255]], atol=1e-12)


def test_an_unknown_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"""`grid`.*"plain".*"udp".*'square'"""):
        input_from_image((100, 50), (96, 128), 0, (192, 256), grid="square")


def test_the_center_of_the_box_is_mapped_to_the_center_of_the_input() -> None:
    matrix = input_from_image((100, 50), (96, 128), 33, (192, 256))
    np.testing.assert_allclose(transform_points([[100, 50]], matrix), [[96, 128]])


def test_a_positive_rotation_is_counter_clockwise() -> None:
    matrix = input_from_image((0, 0), (192, 256), 90, (192, 256))
    np.testing.assert_allclose(transform_points([[10, 0]], matrix), [[96, 118]])


@given(arrays(np.float64, (17, 2), elements=coordinate), arrays(np.uint8, 17, elements=st.integers(0, 2)))
def test_flip_twice_is_identity(keypoints, visibility) -> None:
    once = flip_keypoints(keypoints, visibility, COCO.flip_permutation, 640)
    twice, visibility_twice = flip_keypoints(*once, COCO.flip_permutation, 640)
    np.testing.assert_allclose(twice, np.where(visibility[:, None] > 0, keypoints, 0), atol=1e-9)
    np.testing.assert_array_equal(visibility_twice, visibility)


def test_transform_points_broadcasts_over_a_batch() -> None:
    matrices = np.stack([input_from_image((i, i), (96, 128), 10 * i, (192, 256)) for i in range(4)])
    points = np.arange(24, dtype=float).reshape(4, 3, 2)
    expected = np.stack([transform_points(p, m) for p, m in zip(points, matrices, strict=True)])
    np.testing.assert_allclose(transform_points(points, matrices), expected)
    np.testing.assert_allclose(invert_affine(matrices)[2], invert_affine(matrices[2]))


def test_iou_of_known_boxes() -> None:
    boxes = [[0, 0, 10, 10], [5, 0, 10, 10], [2, 2, 5, 5], [10, 0, 5, 5], [3, 3, 0, 0]]
    expected = [[1, 50 / 150, 25 / 100, 0, 0], [50 / 150, 1, 10 / 115, 25 / 100, 0], [0.25, 10 / 115, 1, 0, 0]]
    np.testing.assert_allclose(bbox_iou(boxes[:3], boxes), expected)
    assert bbox_iou(boxes, np.zeros((0, 4))).shape == (5, 0)


@given(arrays(np.float64, (6, 4), elements=st.floats(0, 100)))
def test_iou_is_symmetric_and_bounded(boxes) -> None:
    overlap = bbox_iou(boxes, boxes)
    np.testing.assert_allclose(overlap, overlap.T)
    assert overlap.min() >= 0
    assert overlap.max() <= 1


def test_box_nms_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = [[0, 0, 10, 10], [1, 0, 10, 10], [2, 0, 10, 10], [50, 50, 10, 10]]  # IoU of neighbours 90 / 110, of next ones 2 / 3
    assert bbox_nms(boxes, [0.5, 0.9, 0.7, 0.1], 0.6).tolist() == [1, 3]
    assert bbox_nms(boxes, [0.9, 0.8, 0.7, 0.1], 0.7).tolist() == [0, 2, 3]  # a removed box removes no other box
    assert bbox_nms(boxes, [0.5, 0.5, 0.5, 0.5], 0.6).tolist() == [0, 3]
    assert bbox_nms(boxes, [0.1, 0.2, 0.3, 0.4], 0.9).tolist() == [3, 2, 1, 0]
    assert bbox_nms(np.zeros((0, 4)), [], 0.5).tolist() == []
