"""Match predictions to annotated instances by the COCO keypoint protocol, or pair them at one low OKS for error analysis.

In each image, predictions are matched in the order of their scores. Each takes the free instance of highest OKS that reaches the
threshold. Ignored instances are taken only if no other fits, and crowds can be taken repeatedly. For equal OKS the later
annotation is taken. All images are processed together, first the predictions of rank one, then those of rank two, so the work is
a few hundred array operations for any number of images.

Legend of the shapes: D kept predictions, M annotated instances, P pairs, A area ranges, T OKS thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, may_reach, oks_pairs
from hrpose.structures import GroundTruth

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
OKS_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.50, 0.55, ..., 0.95 with the rounding of the reference implementation."""

AREA_RANGES: Mapping[str, tuple[float, float]] = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Instance sizes in square pixels, both ends included."""
_TINY = np.spacing(1)


@dataclass(frozen=True, eq=False)
class Detections:
    """Predicted poses, one row each. Among equal scores of an image the earlier row ranks higher."""

    image_ids: Indices  # (N,)
    category_ids: Indices  # (N,)
    keypoints: Floats  # (N, K, 2) in image pixels
    scores: Floats  # (N,)
    areas: Floats  # (N,) in square pixels; unmatched predictions outside of an area range are ignored in it

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: NDArray[Any]) -> Detections:
        """Select rows by a mask or indices."""
        return Detections(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Matches:
    """The result of matching. Predictions are sorted by score, highest first."""

    rows: Indices  # (D,) the row of each kept prediction in its `Detections`
    scores: Floats  # (D,) descending
    images: Indices  # (D,) index of the image in the sorted image ids
    categories: Indices  # (D,) index of the category in the sorted category ids
    instances: NDArray[np.int32]  # (A, T, D) int32 the annotated instance matched to each prediction, -1 for none
    ignored: NDArray[np.bool_]  # (A, T, D) bool whether the prediction is ignored
    instance_images: Indices  # (M,) index of the image
    instance_categories: Indices  # (M,) index of the category
    instance_ignored: NDArray[np.bool_]  # (A, M) bool whether the instance is ignored
    num_images: int  # I
    num_categories: int  # C
    oks_thresholds: tuple[float, ...]  # T numbers
    area_names: tuple[str, ...]  # A names


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of predictions and annotated instances."""

    rows: Indices  # (P,) the prediction of each pair, highest score first
    instances: Indices  # (P,) the instance of each pair
    alone: Indices  # rows of the predictions without instance, except those matched to crowds and instances without keypoints
    missed: Indices  # rows of the instances without prediction


def match_detections(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    oks_thresholds: Sequence[float] = OKS_THRESHOLDS,
    area_ranges: Mapping[str, tuple[float, float]] = AREA_RANGES,
    max_detections: int = 20,
) -> Matches:
    """Match predictions to annotated instances at every OKS threshold and in every area range.

    Predictions of a category without annotations are left out. Crowds, instances without keypoints (`GroundTruth.is_ignored`)
    and instances outside the area range are ignored. An annotation id of 0 is valid, unlike in the reference implementation,
    which treats a match with it as no match. For the arguments see `average_precision`.

    Raises:
        ValueError: if the image of a prediction is not in `truth`.
    """
    image_ids, category_ids = np.unique(truth.image_ids), np.unique(truth.category_ids)
    instance_images = np.searchsorted(image_ids, truth.object_image_ids)
    instance_categories = np.searchsorted(category_ids, truth.category_ids)
    rows, images, categories = keep_best(detections, image_ids, category_ids, max_detections)
    groups = categories * len(image_ids) + images
    low, high = np.array(list(area_ranges.values()), dtype=np.float64).reshape(-1, 2).T[..., None]
    areas = detections.areas[rows]
    instance_ignored = truth.is_ignored | (truth.area < low) | (truth.area > high)
    pairs = _candidates(
        detections.keypoints[rows], truth, groups, instance_categories * len(image_ids) + instance_images,
        keypoint_variances(sigmas), min(oks_thresholds),
    )  # fmt: skip
    deciders, chosen = _choose(*pairs, groups, instance_ignored, truth.iscrowd, np.minimum(oks_thresholds, 1 - 1e-10))
    outside = ((areas < low) | (areas > high))[:, None]
    instances = np.full((len(outside), len(oks_thresholds), len(rows)), -1, dtype=np.int32)
    instances[..., deciders] = chosen
    ignored = np.repeat(outside, len(oks_thresholds), axis=1)
    of_chosen = np.take_along_axis(instance_ignored[:, None], np.maximum(chosen, 0), axis=2) if len(truth) else False
    ignored[..., deciders] = np.where(chosen >= 0, of_chosen, outside[..., deciders])
    return Matches(
        rows=rows, scores=detections.scores[rows], images=images, categories=categories, instances=instances, ignored=ignored,
        instance_images=instance_images, instance_categories=instance_categories, instance_ignored=instance_ignored,
        num_images=len(image_ids), num_categories=len(category_ids),
        oks_thresholds=tuple(oks_thresholds), area_names=tuple(area_ranges),
    )  # fmt: skip


def pair_instances(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, lowest: float = 0.1, max_detections: int = 20
) -> Pairs:
    """Pair predictions with instances by `match_detections`, with an OKS of at least `lowest` and in all sizes."""
    everything = {"all": (0.0, float("inf"))}
    matches = match_detections(
        detections, truth, sigmas, oks_thresholds=(lowest,), area_ranges=everything, max_detections=max_detections
    )
    taken, ignored = matches.instances[0, 0], matches.ignored[0, 0]
    paired = (taken >= 0) & ~ignored
    instances = taken[paired].astype(np.int64)
    missed = ~matches.instance_ignored[0]
    missed[instances] = False
    return Pairs(matches.rows[paired], instances, matches.rows[(taken < 0) & ~ignored], np.flatnonzero(missed))


def keypoint_similarity(points: Floats, places: Floats, areas: Floats, variances: Floats) -> Floats:
    """Compute exp(-d^2 / (2 var s^2)) of single keypoints, the terms of OKS: (P, K).

    Args:
        points: (P, K, 2) predicted, in image pixels.
        places: (P, K, 2) annotated.
        areas: (P,) of the instances in square pixels.
        variances: (K,) from `keypoint_variances`.
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


def list_pairs(groups: Indices, instance_groups: Indices) -> tuple[Indices, Indices]:
    """Return all pairs within a group as indices of predictions (P,) and of instances (P,), sorted by prediction."""
    order = _stable_order(instance_groups)
    sizes = np.bincount(instance_groups, minlength=groups.max(initial=-1) + 1)
    count = sizes[groups]
    predictions = np.repeat(np.arange(len(groups)), count)
    first = (np.cumsum(sizes) - sizes)[groups] - (np.cumsum(count) - count)
    return predictions, order[np.arange(len(predictions)) + first[predictions]]


def _stable_order(keys: Indices) -> Indices:
    """Return a stable sort order of integers; NumPy sorts 16-bit integers by counting, which is much faster."""
    small = len(keys) > 0 and keys.min() >= 0 and keys.max() < 1 << 16
    return np.argsort(keys.astype(np.uint16) if small else keys, kind="stable")


def keep_best(
    detections: Detections, image_ids: Indices, category_ids: Indices, max_detections: int
) -> tuple[Indices, Indices, Indices]:
    """Sort predictions by score, then image and row, and keep the best of each image and category.

    Return row, index of the image and index of the category of each kept prediction.
    """
    images = np.searchsorted(image_ids, detections.image_ids)
    known = image_ids.take(images, mode="clip") == detections.image_ids if len(image_ids) else np.zeros(len(images), bool)
    if not known.all():
        unknown = np.unique(detections.image_ids[~known])
        raise ValueError(
            f"Expected predictions of the {len(image_ids)} annotated images, but {len(unknown)} image ids are not annotated, "
            f"such as {unknown[:5].tolist()}."
        )
    rows = np.flatnonzero(np.isin(detections.category_ids, category_ids))
    rows = rows[_stable_order(images[rows])]
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    images = images[rows]
    categories = np.searchsorted(category_ids, detections.category_ids[rows])
    kept = position_among_equals(categories * len(image_ids) + images) < max_detections
    return rows[kept], images[kept], categories[kept]


def _candidates(
    keypoints: Floats, truth: GroundTruth, groups: Indices, instance_groups: Indices, variances: Floats, lowest: float
) -> tuple[Indices, Indices, Floats]:
    """Return the pairs of an image and category with an OKS of at least the lowest threshold: prediction, instance, OKS.

    They are sorted by prediction, then by decreasing OKS, then by decreasing index of the instance.
    """
    predictions, instances = list_pairs(groups, instance_groups)
    close = np.flatnonzero(may_reach(lowest, keypoints, truth, variances.max(), predictions, instances))
    predictions, instances = predictions[close], instances[close]
    similarity = oks_pairs(keypoints, truth, variances, predictions, instances)
    near = np.flatnonzero(similarity >= min(lowest, 1 - 1e-10))
    predictions, instances, similarity = predictions[near], instances[near], similarity[near]
    same = predictions[1:] == predictions[:-1]
    several = np.flatnonzero(np.append(same, False) | np.append(False, same))  # a single candidate needs no sorting
    order = several[np.lexsort((-instances[several], -similarity[several], predictions[several]))]
    instances[several], similarity[several] = instances[order], similarity[order]
    return predictions, instances, similarity


def _choose(
    predictions: Indices,
    instances: Indices,
    similarity: Floats,
    groups: Indices,
    instance_ignored: NDArray[np.bool_],
    iscrowd: NDArray[np.bool_],
    thresholds: Floats,
) -> tuple[Indices, NDArray[np.int32]]:
    """Match the predictions that have candidates; return these predictions, and their instances (A, T, ...), -1 for none."""
    num_areas, num_instances = instance_ignored.shape
    begins = np.append(True, predictions[1:] != predictions[:-1])[: len(predictions)]
    deciders, decider = predictions[begins], np.cumsum(begins) - 1
    chosen = np.full((num_areas * len(deciders), len(thresholds)), -1, dtype=np.int32)
    matched = np.zeros((num_areas * num_instances, len(thresholds)), dtype=bool)
    rank = position_among_equals(groups[deciders])[decider]

    area = np.repeat(np.arange(num_areas), len(instances))
    unit = area * len(deciders) + np.tile(decider, num_areas)
    order = np.argsort(unit * 2 + instance_ignored[:, instances].ravel(), kind="stable")
    unit, area, pair = unit[order], area[order], order % max(1, len(instances))
    preference = position_among_equals(unit)
    step = rank[pair] * (preference.max(initial=0) + 1) + preference
    order = _stable_order(step)
    unit, area, pair = unit[order], area[order], pair[order]
    instance = instances[pair]
    target = area * num_instances + instance
    enough = similarity[pair, None] >= thresholds
    crowd = iscrowd[instance][:, None]

    begin = 0
    for end in (np.flatnonzero(np.diff(step[order], append=-1)) + 1).tolist():
        now = slice(begin, end)
        held = chosen[unit[now]]
        takes = enough[now] & (held < 0) & ~matched[target[now]]
        chosen[unit[now]] = np.where(takes, instance[now, None], held)
        matched[target[now]] |= takes & ~crowd[now]
        begin = end
    return deciders, np.ascontiguousarray(chosen.reshape(num_areas, len(deciders), len(thresholds)).transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision at 101 recalls; -1 for a category without annotated instances."""

    precision: Floats  # (T, 101, C, A) the highest precision at this or a higher recall
    recall: Floats  # (T, C, A) the highest recall
    oks_thresholds: tuple[float, ...]  # T numbers
    area_names: tuple[str, ...]  # A names


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
        truth: M annotated instances, and all images.
        sigmas: (K,) per-keypoint constants of the skeleton.
        oks_thresholds: smallest values of OKS of a correct prediction.
        area_ranges: names with the smallest and largest area in square pixels.
        max_detections: number of predictions per image and category that count, those of highest score.

    Returns:
        AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; -1 without annotated instances. See `summarize` for other area ranges.
    """
    matches = match_detections(
        detections, truth, sigmas, oks_thresholds=oks_thresholds, area_ranges=area_ranges, max_detections=max_detections
    )
    return summarize(accumulate(matches))


def accumulate(matches: Matches) -> PrecisionRecall:
    """Compute precision as a function of recall.

    Only correct predictions raise recall or a maximum of precision, so only they are visited.
    """
    num_areas, num_thresholds, _ = matches.instances.shape
    precision = -np.ones((num_thresholds, len(RECALLS), matches.num_categories, num_areas))
    recall = -np.ones((num_thresholds, matches.num_categories, num_areas))
    for category in range(matches.num_categories):
        mine = slice(None) if matches.num_categories == 1 else matches.categories == category
        to_find = ~matches.instance_ignored & (matches.instance_categories == category)
        for area, num_instances in enumerate(to_find.sum(axis=1).tolist()):
            if num_instances:
                curves = _curves(matches.instances[area][:, mine] >= 0, matches.ignored[area][:, mine], num_instances)
                precision[:, :, category, area], recall[:, category, area] = curves
    return PrecisionRecall(precision, recall, matches.oks_thresholds, matches.area_names)


def summarize(curves: PrecisionRecall) -> dict[str, float]:
    """Average the curves into the reported numbers.

    Returns:
        AP and AR over all thresholds, at 0.5 (AP50) and 0.75 (AP75), and for each area range but "all": the range "medium"
        gives APM, "large" APL, "small" APS, any other name gives AP_<name>. -1 if a number is undefined, without annotated
        instances or without this threshold.
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
    """Return the suffix of an area range: "medium" gives the M of APM."""
    return {"small": "S", "medium": "M", "large": "L"}.get(name, f"_{name}")


def _curves(taken: NDArray[np.bool_], ignored: NDArray[np.bool_], num_instances: int) -> tuple[Floats, Floats]:
    """Compute precision (T, 101) and recall (T,) of predictions (T, D), highest score first."""
    precision, recall = np.zeros((len(taken), len(RECALLS))), np.zeros(len(taken))
    for row, (hits, skipped) in enumerate(zip(taken, ignored, strict=True)):
        right = np.flatnonzero(hits & ~skipped)
        if len(right):
            found = np.arange(1.0, len(right) + 1)
            reached = precision_at_recalls(found, right + 1 - np.cumsum(skipped)[right], num_instances)
            precision[row, : len(reached)] = reached
            recall[row] = found[-1] / num_instances
    return precision, recall


def precision_at_recalls(found: Floats, counted: NDArray[Any], num_instances: float) -> Floats:
    """Compute the highest precision at each of `RECALLS` or a higher recall, up to the highest one that is reached.

    For each correct prediction, `found` is the number of correct predictions so far, `counted` the number of all predictions.
    """
    best = np.maximum.accumulate((found / (counted + _TINY))[::-1])[::-1]
    place = np.searchsorted(found / num_instances, RECALLS, side="left")
    return best[place[place < len(found)]]


def _mean(table: Floats) -> float:
    """Return the mean of the defined values; -1 if there are none."""
    defined = table[table > -1]
    return float(np.mean(defined)) if defined.size else -1.0
