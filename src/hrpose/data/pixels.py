"""Change the pixels of finished crops with albumentations: colour, blur, noise, dropout of patches.

albumentations has a random stream of its own, which repeats in every worker and every epoch. It is reseeded for each sample from
the generator of the sample. Transforms that move pixels are refused, because keypoints would not move with them; use
`hrpose.data.transforms` for geometry.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError

# geometric transforms in albumentations, because they may drop keypoints; of an image they change the pixels only
_DROPOUTS = ("CoarseDropout", "ConstrainedCoarseDropout", "Erasing", "GridDropout", "PixelDropout", "XYMasking")


def compose_pixels(**transforms: Any) -> Any:
    """Return an `albumentations.Compose` of pixel-level transforms by name, in their order; None disables one."""
    import albumentations  # optional, and slow to import

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
                    f"Expected pixel-level albumentations transforms, but {type(transform).__name__} moves pixels, and keypoints "
                    "would not move with them. Use HalfBody, RandomScale, RandomRotation and RandomFlip of "
                    "hrpose.data.transforms for geometry."
                )

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Change the pixels of one crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            rng: generator of the sample; one number is drawn.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            DataError: if the pipeline returns another shape or type.
        """
        self._compose.set_random_seed(int(rng.integers(2**31)))
        changed: NDArray[np.uint8] = self._compose(image=image)["image"]
        if changed.shape != image.shape or changed.dtype != np.uint8:
            raise DataError(
                f"Expected the pixel transforms to return uint8 of shape {image.shape}, but got {changed.dtype} of shape "
                f"{tuple(changed.shape)}. Remove transforms that convert or normalise: this is done on the device."
            )
        return changed


def _leaves(transform: Any, composition: Any) -> list[Any]:
    """Return the transforms in nested `OneOf`, `SomeOf`, `Sequential` and other compositions."""
    if not isinstance(transform, composition):
        return [transform]
    return [leaf for child in transform.transforms for leaf in _leaves(child, composition)]
