"""The anatomy of errors, on predictions with a known mixture of them."""

import numpy as np
import pytest

from hrpose.metrics.functional import Detections, keypoint_variances
from hrpose.metrics.functional.anatomy import error_anatomy
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth

AREA = 10_000.0
GRID = (
    np.stack(np.divmod(np.arange(17), 5), axis=1) * 80.0
)  # keypoints far apart beside their tolerance of at most 25 px


def pairs_of_people(num_images: int) -> GroundTruth:
    """Two persons in each photo, 2000 px apart, every keypoint labelled."""
    number = 2 * num_images
    keypoints = GRID + (np.arange(number) % 2 * 2000.0)[:, None, None]
    ones = np.ones(number, dtype=np.int64)
    return GroundTruth(
        np.arange(num_images), np.arange(number) // 2, np.arange(number), ones, keypoints, np.full((number, 17), 2, np.uint8),
        np.tile([0.0, 0.0, 1.0, 1.0], (number, 1)), np.full(number, AREA), np.zeros(number, dtype=bool),
    )  # fmt: skip


def predict(truth: GroundTruth, keypoints: np.ndarray) -> Detections:
    return Detections(
        truth.object_image_ids,
        truth.category_ids,
        keypoints,
        np.linspace(1, 0.5, len(truth)),
        np.full(len(truth), AREA),
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


def test_known_mixture_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    truth = pairs_of_people(40)
    kinds = rng.choice(["good", "jitter", "inversion", "swap", "miss"], (80, 17), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    kinds[:, 0] = np.where(kinds[:, 0] == "inversion", "good", kinds[:, 0])  # the nose has no mirrored keypoint
    found = predict(truth, inject(truth, kinds))
    kept = np.ones(80, dtype=bool)
    kept[[3, 10, 77]] = False  # false negatives
    junk = predict(truth, truth.keypoints - 30_000)
    detections = Detections(
        *(np.concatenate([getattr(found, name)[kept], getattr(junk, name)[:5]]) for name in vars(found))
    )
    anatomy = error_anatomy(detections, truth, COCO.sigmas, COCO.flip_permutation)
    names, counts = np.unique(kinds[kept], return_counts=True)
    assert anatomy.keypoints == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert (anatomy.false_positives, anatomy.false_negatives) == (5, 3)
    assert all(cured["AP"] > anatomy.numbers["AP"] for cured in anatomy.cured.values())


@pytest.mark.parametrize("kind", ["jitter", "inversion", "swap", "miss"])
def test_curing_the_only_kind_of_error_gives_one(kind: str) -> None:
    truth = pairs_of_people(6)
    kinds = np.full((12, 17), "good", dtype=object)
    kinds[:, [5, 8, 13]] = kind
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.cured[kind]["AP"] == 1.0
    assert anatomy.numbers["AP"] < 1
    assert all(anatomy.cured[other]["AP"] == anatomy.numbers["AP"] for other in anatomy.cured if other != kind)


def test_unlabelled_keypoints_are_no_errors() -> None:
    truth = pairs_of_people(2)
    truth.visibility[:, 4] = 0
    kinds = np.full((4, 17), "good", dtype=object)
    kinds[:, 4] = "miss"
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.keypoints == {"good": 64, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}


def test_nothing_predicted() -> None:
    truth = pairs_of_people(2)
    nothing = Detections(*(values[:0] for values in vars(predict(truth, truth.keypoints)).values()))
    anatomy = error_anatomy(nothing, truth, COCO.sigmas, COCO.flip_permutation)
    assert (anatomy.false_positives, anatomy.false_negatives, anatomy.numbers["AP"]) == (0, 4, 0.0)
