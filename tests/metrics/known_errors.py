"""Persons whose keypoints lie far apart, and predictions of them that are wrong in known ways."""

import numpy as np

from hrpose.metrics.functional import Detections, keypoint_variances
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth

AREA = 10_000.0
GRID = np.stack(np.divmod(np.arange(17), 5), axis=1) * 80.0 + 8.0  # keypoints far apart beside their tolerance of at most 25 px


def pairs_of_people(num_images: int) -> GroundTruth:
    """Two persons in each image, 2000 px apart, every keypoint labelled."""
    number = 2 * num_images
    keypoints = GRID + (np.arange(number) % 2 * 2000.0)[:, None, None]
    ones = np.ones(number, dtype=np.int64)
    return GroundTruth(
        np.arange(num_images), np.arange(number) // 2, np.arange(number), ones, keypoints, np.full((number, 17), 2, np.uint8),
        np.tile([0.0, 0.0, 1.0, 1.0], (number, 1)), np.full(number, AREA), np.zeros(number, dtype=bool),
    )  # fmt: skip


def predict(truth: GroundTruth, keypoints: np.ndarray) -> Detections:
    return Detections(
        truth.object_image_ids, truth.category_ids, keypoints, np.linspace(1, 0.5, len(truth)), np.full(len(truth), AREA)
    )


def inject(truth: GroundTruth, kinds: np.ndarray) -> np.ndarray:
    """Keypoints wrong in the given ways (M, K)."""
    wrong = truth.keypoints.copy()
    other = truth.keypoints.reshape(-1, 2, 17, 2)[:, ::-1].reshape(-1, 17, 2)
    jitter = np.sqrt(-2 * np.log(0.7) * keypoint_variances(COCO.sigmas) * AREA)  # similarity 0.7
    wrong[..., 0] += np.where(kinds == "jitter", jitter, 0)
    wrong[kinds == "inversion"] = truth.keypoints[:, list(COCO.flip_permutation)][kinds == "inversion"]
    wrong[kinds == "swap"] = other[kinds == "swap"]
    wrong[kinds == "miss"] += 50_000
    return wrong
