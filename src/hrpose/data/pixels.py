"""Pixel-level augmentation by albumentations, on the finished crop: colour, blur, noise, dropout of patches.

albumentations keeps a random stream of its own, which repeats in every worker and every epoch; here it is reseeded for each
sample from the sample's own generator. Whatever would move a pixel is refused, because no keypoint would follow it:
geometry belongs to `hrpose.data.transforms`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError

# albumentations counts these among the geometric ones, because they may drop keypoints; of a mere image they change pixels only
_DROPOUTS = ("CoarseDropout", "ConstrainedCoarseDropout", "Erasing", "GridDropout", "PixelDropout", "XYMasking")


def compose_pixels(**transforms: Any) -> Any:
    """Make one albumentations `Compose` of named pixel-level transforms, in their order.

    Args:
        transforms: albumentations transforms by name; None switches one off.

    Returns:
        `albumentations.Compose`.
    """
    import albumentations  # takes a second to import: only those who use it wait for it

    return albumentations.Compose([transform for transform in transforms.values() if transform is not None])


class PixelStage:
    """Run an albumentations pipeline on crops, seeded for each sample.

    Args:
        compose: `albumentations.Compose`, or a single transform; of pixel-level transforms and dropouts.

    Raises:
        DataError: if a transform moves pixels.
    """

    def __init__(self, compose: Any) -> None:
        import albumentations  # see compose_pixels

        self._compose = compose if isinstance(compose, albumentations.Compose) else albumentations.Compose([compose])
        allowed = (albumentations.ImageOnlyTransform, *(getattr(albumentations, name) for name in _DROPOUTS))
        for transform in _leaves(self._compose, albumentations.BaseCompose):
            if not isinstance(transform, allowed) and type(transform) is not albumentations.NoOp:
                raise DataError(
                    f"Expected pixel-level albumentations transforms, but {type(transform).__name__} moves pixels or does more "
                    "than change them, and no keypoint would follow. Use HalfBody, RandomScale, RandomRotation and RandomFlip "
                    "of hrpose.data.transforms for geometry."
                )

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Change the pixels of one crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            rng: the sample's generator; one number is drawn.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            DataError: if the pipeline returns another shape or type.
        """
        self._compose.set_random_seed(int(rng.integers(2**31)))
        changed: NDArray[np.uint8] = self._compose(image=image)["image"]
        if changed.shape != image.shape or changed.dtype != np.uint8:
            raise DataError(
                f"Expected the pixel transforms to give uint8 of shape {image.shape}, but got {changed.dtype} of shape "
                f"{tuple(changed.shape)}. Leave out transforms that convert or normalise: that is done on the device."
            )
        return changed


def _leaves(transform: Any, composition: Any) -> list[Any]:
    """Unfold nested `OneOf`, `SomeOf`, `Sequential` and their like."""
    if not isinstance(transform, composition):
        return [transform]
    return [leaf for child in transform.transforms for leaf in _leaves(child, composition)]
