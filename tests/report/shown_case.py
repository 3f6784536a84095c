"""A crop, and skeletons of any number of keypoints."""

import cv2
import numpy as np

from hrpose.report.crops import ShownCrop
from hrpose.skeletons import Skeleton

SIZE = (48, 64)


def skeleton_of(count: int) -> Skeleton:
    return Skeleton.from_names([f"point {k}" for k in range(count)], sigmas=[0.05] * count, flip_pairs=[])


def crop(count: int = 17, **changes) -> ShownCrop:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (8, 6, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    keypoints = rng.uniform(2, 45, (count, 2))
    return ShownCrop(
        **{
            "title": "photo.jpg, annotation 7",
            "image": image,
            "keypoints": keypoints,
            "visibility": np.full(count, 2, np.uint8),
            **changes,
        }
    )
