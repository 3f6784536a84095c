"""The albumentations stage changes pixels only, and depends on the generator of the sample."""

import albumentations as A
import numpy as np
import pytest

from hrpose.data.pixels import PixelStage, compose_pixels
from hrpose.errors import DataError

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_pixels_depend_on_the_generator_alone() -> None:
    stage = PixelStage(A.Compose([A.ColorJitter(p=1.0), A.CoarseDropout(p=1.0)]))
    first = stage(IMAGE, generator())
    other = stage(IMAGE, generator(2))
    np.testing.assert_array_equal(stage(IMAGE, generator()), first)
    assert (first != other).any()


def test_the_image_is_not_modified() -> None:
    before = IMAGE.copy()
    PixelStage(A.Compose([A.CoarseDropout(p=1.0)]))(IMAGE, generator())
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize(
    "transform",
    [
        A.HorizontalFlip(),
        A.Affine(),
        A.RandomCrop(10, 10),
        A.Resize(20, 20),
        A.OneOf([A.GaussNoise(), A.Sequential([A.Rotate()])]),
        A.Compose([A.Transpose()]),
    ],
)
def test_transforms_that_move_pixels_are_refused(transform) -> None:
    with pytest.raises(DataError, match=r"RandomFlip.*hrpose\.data\.transforms"):
        PixelStage(transform)


@pytest.mark.parametrize(
    "transform", [A.CoarseDropout(), A.PixelDropout(), A.GridDropout(), A.OneOf([A.NoOp(), A.GaussianBlur()]), A.ColorJitter()]
)
def test_colour_blur_and_dropout_are_accepted(transform) -> None:
    assert PixelStage(transform)(IMAGE, generator()).shape == IMAGE.shape


@pytest.mark.parametrize("transform", [A.ToFloat(max_value=255, p=1.0), A.Normalize(p=1.0)])
def test_transforms_that_change_the_type_are_refused(transform) -> None:
    with pytest.raises(DataError, match=r"uint8.*\(40, 30, 3\).*float32"):
        PixelStage(transform)(IMAGE, generator())


def test_named_transforms_are_composed_and_none_disables_one() -> None:
    composed = compose_pixels(color=A.ColorJitter(), blur=None, dropout=A.CoarseDropout())
    assert [type(transform) for transform in composed.transforms] == [A.ColorJitter, A.CoarseDropout]
