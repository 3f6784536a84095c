import numpy as np

from hrpose.data.crops import crop_matrices, crops_of_bboxes, empty_images, warp_crops
from hrpose.geometry import transform_points


def test_the_middle_of_a_box_is_mapped_to_the_middle_of_the_input() -> None:
    bbox = np.array([[10.0, 20.0, 40.0, 60.0], [0.0, 0.0, 8.0, 4.0]])
    crops = crops_of_bboxes(bbox, (48, 64), 1.25)
    matrices = crop_matrices(crops, (48, 64), "plain")
    middles = bbox[:, :2] + bbox[:, 2:] / 2
    np.testing.assert_allclose(transform_points(middles[:, None], matrices)[:, 0], [[24, 32], [24, 32]])
    assert [crop.extent.tolist() for crop in crops] == [[50.0, 75.0], [10.0, 5.0]]  # padded, of any aspect ratio
    np.testing.assert_allclose(crops[1].scale, [10.0, 10.0 * 64 / 48])


def test_warp_crops_writes_the_given_slots_only() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    matrices = np.array([[[1.0, 0, 0], [0, 1, 0]], [[1.0, 0, -2], [0, 1, -1]], [[1.0, 0, 100], [0, 1, 0]]])
    images = empty_images(3, (4, 3)).numpy()
    images[:] = 7
    warp_crops(image, matrices, images, [1, 2])
    assert (images[0] == 7).all()
    np.testing.assert_array_equal(images[1], image[1:4, 2:6])
    assert (images[2] == 0).all()  # outside the image
