import pytest
import torch

from hrpose.models.checks import check_counts, check_final_kernel, check_images


def test_what_fits_passes():
    check_counts(width=1, num_blocks=10**6)
    check_final_kernel(3)
    check_images(torch.zeros(0, 3, 64, 128), 64)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_a_wrong_count_is_named(value):
    with pytest.raises(ValueError, match=f"`num_blocks` to be a whole number of at least 1, but got {value!r}"):
        check_counts(width=4, num_blocks=value)


@pytest.mark.parametrize("value", [0, 2])
def test_a_kernel_without_a_middle_is_refused(value):
    with pytest.raises(ValueError, match="`final_kernel` to be"):
        check_final_kernel(value)


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (3, 64, 64)])
def test_images_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`images` to be \(B, 3, H, W\), but got the shape"):
        check_images(torch.zeros(shape), 32)


def test_the_nearest_size_comes_with_its_heatmaps():
    with pytest.raises(ValueError, match=r"multiples of 64, but got 100 x 20 .*nearest size is 128 x 64.*\(16, 8\)"):
        check_images(torch.zeros(1, 3, 20, 100), 64, heatmap_stride=8)


def test_an_image_that_is_too_small_is_told_how_large_it_has_to_be():
    check_images(torch.zeros(1, 3, 96, 64), 32, least=64)
    with pytest.raises(ValueError, match=r"multiples of 32 of at least 64, but got 96 x 32 .*nearest size is 96 x 64"):
        check_images(torch.zeros(1, 3, 32, 96), 32, least=64)
