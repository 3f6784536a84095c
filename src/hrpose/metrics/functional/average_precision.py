"""Average precision and recall over OKS thresholds: the ten numbers of the COCO keypoint task.

`match_detections` decides which predictions are right, `accumulate` turns that into precision at 101 recalls, `summarize` into
the numbers that people report. Every sum is taken in the order of the reference implementation, so the bits are its bits.
Source: https://cocodataset.org/#keypoints-eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.matching import AREA_RANGES, OKS_THRESHOLDS, Detections, Matches, match_detections
from hrpose.metrics.functional.oks import Floats
from hrpose.structures import GroundTruth

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_TINY = np.spacing(1)


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision at 101 recalls; -1 where a category has no person to be found.

    Attributes:
        precision: (T, 101, C, A), the highest precision at this recall or beyond it.
        recall: (T, C, A) the highest recall.
        oks_thresholds: T numbers.
        area_names: A names.
    """

    precision: Floats
    recall: Floats
    oks_thresholds: tuple[float, ...]
    area_names: tuple[str, ...]


def average_precision(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    oks_thresholds: Sequence[float] = OKS_THRESHOLDS,
    area_ranges: Mapping[str, tuple[float, float]] = AREA_RANGES,
    max_detections: int = 20,
) -> dict[str, float]:
    """Evaluate predictions by the COCO keypoint protocol.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        oks_thresholds: as in `match_detections`.
        area_ranges: as in `match_detections`.
        max_detections: as in `match_detections`.

    Returns:
        AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; -1 where there is nobody to be found. `summarize` tells the
        names for other area ranges.

    Raises:
        ValueError: if a prediction belongs to a photo that `truth` does not list.
    """
    matches = match_detections(
        detections, truth, sigmas,
        oks_thresholds=oks_thresholds, area_ranges=area_ranges, max_detections=max_detections,
    )  # fmt: skip
    return summarize(accumulate(matches))


def accumulate(matches: Matches) -> PrecisionRecall:
    """Turn matches into precision as a function of recall.

    Recall rises, and precision peaks, only at predictions that are right, so only those are looked at.

    Args:
        matches: from `match_detections`.

    Returns:
        The curves.
    """
    num_areas, num_thresholds, _ = matches.persons.shape
    precision = -np.ones((num_thresholds, len(RECALLS), matches.num_categories, num_areas))
    recall = -np.ones((num_thresholds, matches.num_categories, num_areas))
    for category in range(matches.num_categories):
        mine = slice(None) if matches.num_categories == 1 else matches.categories == category
        to_find = ~matches.person_ignored & (matches.person_categories == category)
        for area, num_persons in enumerate(to_find.sum(axis=1).tolist()):
            if num_persons:
                curves = _curves(matches.persons[area][:, mine] >= 0, matches.ignored[area][:, mine], num_persons)
                precision[:, :, category, area], recall[:, category, area] = curves
    return PrecisionRecall(precision, recall, matches.oks_thresholds, matches.area_names)


def summarize(curves: PrecisionRecall) -> dict[str, float]:
    """Average the curves into the reported numbers.

    Args:
        curves: from `accumulate`.

    Returns:
        AP and AR over all thresholds, at 0.5 (AP50) and 0.75 (AP75), and for each area range but "all": the range "medium"
        gives APM, "large" APL, "small" APS, any other name gives AP_<name>. -1 where a number is not defined: nobody
        to be found, or a threshold that was not asked for.
    """
    areas = {name: position for position, name in enumerate(curves.area_names)}
    summary = {}
    for prefix, table in (("AP", curves.precision), ("AR", curves.recall)):
        whole = table[..., [areas["all"]]] if "all" in areas else table[..., :0]
        summary[prefix] = _mean(whole)
        for threshold, suffix in ((0.5, "50"), (0.75, "75")):
            summary[prefix + suffix] = _mean(whole[np.equal(curves.oks_thresholds, threshold)])
        for name, position in areas.items():
            if name != "all":
                summary[prefix + area_suffix(name)] = _mean(table[..., position])
    return summary


def area_suffix(name: str) -> str:
    """Shorten the name of an area range as COCO does: "medium" is the M of APM."""
    return {"small": "S", "medium": "M", "large": "L"}.get(name, f"_{name}")


def _curves(taken: NDArray[np.bool_], ignored: NDArray[np.bool_], num_persons: int) -> tuple[Floats, Floats]:
    """Give precision (T, 101) and recall (T,) of predictions (T, D) in the order of their scores."""
    precision, recall = np.zeros((len(taken), len(RECALLS))), np.zeros(len(taken))
    for row, (hits, skipped) in enumerate(zip(taken, ignored, strict=True)):
        right = np.flatnonzero(hits & ~skipped)
        if len(right):
            found = np.arange(1.0, len(right) + 1)
            counted = right + 1 - np.cumsum(skipped)[right]
            best = np.maximum.accumulate((found / (counted + _TINY))[::-1])[::-1]
            share = found / num_persons
            place = np.searchsorted(share, RECALLS, side="left")
            precision[row, place < len(right)] = best[place[place < len(right)]]
            recall[row] = share[-1]
    return precision, recall


def _mean(table: Floats) -> float:
    """Average what is defined."""
    defined = table[table > -1]
    return float(np.mean(defined)) if defined.size else -1.0
