"""Match predictions to annotated persons as the COCO keypoint protocol does, or pair them at one low OKS for error analysis.

In each photo the predictions choose in the order of their scores. Each takes the person of highest OKS that is still free and
reaches the threshold, persons that count before persons that are to be ignored; crowds can be taken many times. Equal OKS goes
to the person that stands later in the annotations. All photos choose at once: the first-ranked predictions of all photos, then
the second-ranked, so the work is a few hundred array operations whatever the number of photos.

Legend of the shapes: D kept predictions, M annotated persons, P pairs, A area ranges, T OKS thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, may_reach, oks_pairs
from hrpose.structures import GroundTruth

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
OKS_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.50, 0.55, ..., 0.95 with the rounding of the reference implementation."""

AREA_RANGES: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Person sizes in square pixels, both ends included."""
_TINY = np.spacing(1)


@dataclass(frozen=True, eq=False)
class Detections:
    """Predicted poses to be evaluated, one row each. Among equal scores of one photo the earlier row is better.

    Attributes:
        image_ids: (N,) int64.
        category_ids: (N,) int64.
        keypoints: (N, K, 2) float64 in image pixels.
        scores: (N,) float64.
        areas: (N,) float64 in square pixels; unmatched predictions outside of an area range are ignored in it.
    """

    image_ids: Indices
    category_ids: Indices
    keypoints: Floats
    scores: Floats
    areas: Floats

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Matches:
    """Who was matched to whom. Predictions stand in the order of their scores.

    Attributes:
        rows: (D,) the row of each kept prediction in its `Detections`.
        scores: (D,) descending.
        images: (D,) position of the photo among the sorted image ids.
        categories: (D,) position of the category among the sorted category ids.
        persons: (A, T, D) int32 the annotated person that each prediction took, -1 for none.
        ignored: (A, T, D) bool whether the prediction counts neither for nor against.
        person_images: (M,) position of the photo.
        person_categories: (M,) position of the category.
        person_ignored: (A, M) bool whether the person need not be found.
        num_images: I.
        num_categories: C.
        oks_thresholds: T numbers.
        area_names: A names.
    """

    rows: Indices
    scores: Floats
    images: Indices
    categories: Indices
    persons: NDArray[np.int32]
    ignored: NDArray[np.bool_]
    person_images: Indices
    person_categories: Indices
    person_ignored: NDArray[np.bool_]
    num_images: int
    num_categories: int
    oks_thresholds: tuple[float, ...]
    area_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Predictions and the persons they stand for.

    Attributes:
        rows: (P,) the prediction of each pair, the best score first.
        persons: (P,) its person.
        alone: rows of the predictions that stand for nobody; those on crowds and on persons without keypoints are in neither.
        missed: rows of the persons that no prediction stands for.
    """

    rows: Indices
    persons: Indices
    alone: Indices
    missed: Indices


def match_detections(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    oks_thresholds: Sequence[float] = OKS_THRESHOLDS,
    area_ranges: Mapping[str, tuple[float, float]] = AREA_RANGES,
    max_detections: int = 20,
) -> Matches:
    """Match predictions to annotated persons at every OKS threshold and in every area range.

    Predictions of a category that nobody is annotated with are left out. Crowds and persons without keypoints
    (`GroundTruth.is_ignored`) are ignored, and so are persons outside of the area range. An annotation id of 0 is an id like
    any other; the reference implementation takes a match with it for none.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        oks_thresholds: T values of OKS from which on a prediction is right.
        area_ranges: A names with their smallest and largest area in square pixels.
        max_detections: how many predictions of a photo and category count, the best first.

    Raises:
        ValueError: if a prediction belongs to a photo that `truth` does not list.
    """
    image_ids, category_ids = np.unique(truth.image_ids), np.unique(truth.category_ids)
    person_images = np.searchsorted(image_ids, truth.object_image_ids)
    person_categories = np.searchsorted(category_ids, truth.category_ids)
    rows, images, categories = keep_best(detections, image_ids, category_ids, max_detections)
    groups = categories * len(image_ids) + images
    low, high = np.array(list(area_ranges.values()), dtype=np.float64).reshape(-1, 2).T[..., None]
    areas = detections.areas[rows]
    person_ignored = truth.is_ignored | (truth.area < low) | (truth.area > high)
    pairs = _candidates(
        detections.keypoints[rows], truth, groups, person_categories * len(image_ids) + person_images,
        keypoint_variances(sigmas), min(oks_thresholds),
    )  # fmt: skip
    deciders, chosen = _choose(*pairs, groups, person_ignored, truth.iscrowd, np.minimum(oks_thresholds, 1 - 1e-10))
    outside = ((areas < low) | (areas > high))[:, None]
    persons = np.full((len(outside), len(oks_thresholds), len(rows)), -1, dtype=np.int32)
    persons[..., deciders] = chosen
    ignored = np.repeat(outside, len(oks_thresholds), axis=1)
    of_chosen = np.take_along_axis(person_ignored[:, None], np.maximum(chosen, 0), axis=2) if len(truth) else False
    ignored[..., deciders] = np.where(chosen >= 0, of_chosen, outside[..., deciders])
    return Matches(
        rows=rows, scores=detections.scores[rows], images=images, categories=categories, persons=persons, ignored=ignored,
        person_images=person_images, person_categories=person_categories, person_ignored=person_ignored,
        num_images=len(image_ids), num_categories=len(category_ids),
        oks_thresholds=tuple(oks_thresholds), area_names=tuple(area_ranges),
    )  # fmt: skip


def pair_persons(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, lowest: float = 0.1, max_detections: int = 20
) -> Pairs:
    """Pair predictions with persons as COCO matches them, at one low OKS and without regard to size.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        lowest: OKS from which on a prediction and a person are a pair.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The pairs, and who is left.
    """
    matches = match_detections(
        detections,
        truth,
        sigmas,
        oks_thresholds=(lowest,),
        area_ranges={"all": (0.0, float("inf"))},
        max_detections=max_detections,
    )
    taken, ignored = matches.persons[0, 0], matches.ignored[0, 0]
    paired = (taken >= 0) & ~ignored
    persons = taken[paired].astype(np.int64)
    missed = ~matches.person_ignored[0]
    missed[persons] = False
    return Pairs(matches.rows[paired], persons, matches.rows[(taken < 0) & ~ignored], np.flatnonzero(missed))


def keypoint_similarity(points: Floats, places: Floats, areas: Floats, variances: Floats) -> Floats:
    """Give exp(-d^2 / (2 var s^2)) of single keypoints: what OKS is the mean of.

    Args:
        points: (P, K, 2) in image pixels.
        places: (P, K, 2) where they belong.
        areas: (P,) of the persons in square pixels.
        variances: (K,) from `keypoint_variances`.

    Returns:
        (P, K) from 0 to 1.
    """
    squares = np.square(points - places).sum(axis=2)
    similarity: Floats = np.exp(-squares / variances / (areas[:, None] + _TINY) / 2)
    return similarity


def position_among_equals(keys: Indices) -> Indices:
    """Number the elements of each value from 0, in their order: [7, 5, 7, 7] becomes [0, 0, 1, 2]."""
    order = _stable_order(keys)
    ordered = keys[order]
    places = np.arange(len(keys))
    first = np.ones(len(keys), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    position = np.empty(len(keys), dtype=np.int64)
    position[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return position


def list_pairs(groups: Indices, person_groups: Indices) -> tuple[Indices, Indices]:
    """List all pairs of one group: the places of the prediction and of the person, those of a prediction together."""
    order = _stable_order(person_groups)
    sizes = np.bincount(person_groups, minlength=groups.max(initial=-1) + 1)
    count = sizes[groups]
    predictions = np.repeat(np.arange(len(groups)), count)
    first = (np.cumsum(sizes) - sizes)[groups] - (np.cumsum(count) - count)
    return predictions, order[np.arange(len(predictions)) + first[predictions]]


def _stable_order(keys: Indices) -> Indices:
    """Sort integers stably: those that fit in 16 bits by counting, which is far faster."""
    small = len(keys) > 0 and keys.min() >= 0 and keys.max() < 1 << 16
    return np.argsort(keys.astype(np.uint16) if small else keys, kind="stable")


def keep_best(
    detections: Detections, image_ids: Indices, category_ids: Indices, max_detections: int
) -> tuple[Indices, Indices, Indices]:
    """Order predictions by score, equal ones by photo and row; keep the best of each photo and category."""
    images = np.searchsorted(image_ids, detections.image_ids)
    known = (
        image_ids.take(images, mode="clip") == detections.image_ids if len(image_ids) else np.zeros(len(images), bool)
    )
    if not known.all():
        unknown = np.unique(detections.image_ids[~known])
        raise ValueError(
            f"Expected the predictions to belong to annotated photos, but {len(unknown)} image ids are not among the "
            f"{len(image_ids)} of the annotations, the first of them {unknown[:5].tolist()}."
        )
    rows = np.flatnonzero(np.isin(detections.category_ids, category_ids))
    rows = rows[_stable_order(images[rows])]
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    images = images[rows]
    categories = np.searchsorted(category_ids, detections.category_ids[rows])
    kept = position_among_equals(categories * len(image_ids) + images) < max_detections
    return rows[kept], images[kept], categories[kept]


def _candidates(
    keypoints: Floats,
    truth: GroundTruth,
    groups: Indices,
    person_groups: Indices,
    variances: Floats,
    lowest: float,
) -> tuple[Indices, Indices, Floats]:
    """List the pairs of one photo and category whose OKS reaches the lowest threshold: prediction, person, OKS.

    A prediction's pairs stand together, the highest OKS first and among equal ones the later person first.
    """
    predictions, persons = list_pairs(groups, person_groups)
    close = np.flatnonzero(may_reach(lowest, keypoints, truth, variances.max(), predictions, persons))
    predictions, persons = predictions[close], persons[close]
    similarity = oks_pairs(keypoints, truth, variances, predictions, persons)
    near = np.flatnonzero(similarity >= min(lowest, 1 - 1e-10))
    predictions, persons, similarity = predictions[near], persons[near], similarity[near]
    same = predictions[1:] == predictions[:-1]
    several = np.flatnonzero(np.append(same, False) | np.append(False, same))  # one candidate needs no order
    order = several[np.lexsort((-persons[several], -similarity[several], predictions[several]))]
    persons[several], similarity[several] = persons[order], similarity[order]
    return predictions, persons, similarity


def _choose(
    predictions: Indices,
    persons: Indices,
    similarity: Floats,
    groups: Indices,
    person_ignored: NDArray[np.bool_],
    iscrowd: NDArray[np.bool_],
    thresholds: Floats,
) -> tuple[Indices, NDArray[np.int32]]:
    """Let the predictions that have candidates choose: give those predictions, and (A, T, ...) persons, -1 for none."""
    num_areas, num_persons = person_ignored.shape
    begins = np.append(True, predictions[1:] != predictions[:-1])[: len(predictions)]
    deciders, decider = predictions[begins], np.cumsum(begins) - 1
    chosen = np.full((num_areas * len(deciders), len(thresholds)), -1, dtype=np.int32)
    gone = np.zeros((num_areas * num_persons, len(thresholds)), dtype=bool)
    turn = position_among_equals(groups[deciders])[decider]

    area = np.repeat(np.arange(num_areas), len(persons))
    unit = area * len(deciders) + np.tile(decider, num_areas)
    order = np.argsort(unit * 2 + person_ignored[:, persons].ravel(), kind="stable")
    unit, area, pair = unit[order], area[order], order % max(1, len(persons))
    preference = position_among_equals(unit)
    step = turn[pair] * (preference.max(initial=0) + 1) + preference
    order = _stable_order(step)
    unit, area, pair = unit[order], area[order], pair[order]
    person = persons[pair]
    seat = area * num_persons + person
    enough = similarity[pair, None] >= thresholds
    crowd = iscrowd[person][:, None]

    begin = 0
    for end in (np.flatnonzero(np.diff(step[order], append=-1)) + 1).tolist():
        now = slice(begin, end)
        held = chosen[unit[now]]
        takes = enough[now] & (held < 0) & ~gone[seat[now]]
        chosen[unit[now]] = np.where(takes, person[now, None], held)
        gone[seat[now]] |= takes & ~crowd[now]
        begin = end
    return deciders, np.ascontiguousarray(chosen.reshape(num_areas, len(deciders), len(thresholds)).transpose(0, 2, 1))


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
        oks_thresholds: as `match_detections`; so are the next two.
        area_ranges: names with ranges.
        max_detections: of a photo.

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
