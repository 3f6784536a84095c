"""The state of the keypoint metrics as tables of numbers: checked on input, gathered over processes, unpacked for evaluation.

The state is five tables, so processes exchange five tensors:
`images` (I, 4) int64: image id, whether it was given, number of predictions and number of annotated instances;
`prediction_keys` (N, 3) int64: category, instance id, whether it was given;
`prediction_rows` (N, 10 + 3 K) float64: score, area, bbox xywh, crop center, crop scale (NaN if not given), keypoints x y score;
`target_keys` (M, 5) int64: category, annotation id, whether it was given, crowd, num_keypoints;
`target_rows` (M, 5 + 3 K) float64: area, bbox xywh (NaN if not given), keypoints x y visibility.

Rows are in the order of `images` instead of storing their image, so images without ids need no numbering across processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.metrics.functional.matching import Detections
from hrpose.metrics.functional.oks import Floats, Indices, enclosed_areas
from hrpose.structures import GroundTruth, Poses, exact_int64, result_rows

NUM_PREDICTION_VALUES = 10
NUM_TARGET_VALUES = 5
_PREDICTION_NAMES = ("keypoints", "scores", "labels", "boxes", "areas", "ids", "image_id")
_TARGET_NAMES = ("keypoints", "area", "labels", "iscrowd", "num_keypoints", "boxes", "ids", "image_id")


@dataclass(frozen=True, eq=False)
class Rows:
    """The five tables; see the docstring of the module."""

    images: Indices
    prediction_keys: Indices
    prediction_rows: Floats
    target_keys: Indices
    target_rows: Floats


def rows_from_poses(poses: Poses, num_keypoints: int, category_id: int) -> Rows:
    """Pack estimated poses, all of one category.

    Raises:
        ValueError: if the number of keypoints is not K, a coordinate or score is not finite, or an id is not a 64-bit integer.
    """
    if poses.keypoints.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected `poses` to have {num_keypoints} keypoints, one per sigma, but got shape {poses.keypoints.shape}."
        )
    number = len(poses)
    unknown = np.full((number, 5), np.nan)
    triplets = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1)
    triplets = triplets.reshape(number, 3 * num_keypoints)
    values = np.concatenate([poses.scores[:, None], unknown, poses.center, poses.scale, triplets], axis=1)
    _check_finite(values[:, [0, *range(6, values.shape[1])]], "poses", "coordinates, boxes and scores")
    one = np.ones(number, dtype=np.int64)
    return Rows(
        images=np.stack([exact_int64(poses.image_ids, "poses.image_ids"), one, one, 0 * one], axis=1),
        prediction_keys=np.stack([one * category_id, exact_int64(poses.instance_ids, "poses.instance_ids"), one], axis=1),
        prediction_rows=values,
        target_keys=np.zeros((0, 5), dtype=np.int64),
        target_rows=np.zeros((0, NUM_TARGET_VALUES + 3 * num_keypoints)),
    )


def rows_from_images(preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]] | None, num_keypoints: int) -> Rows:
    """Pack one dict of predictions and one dict of annotated instances per image; see `KeypointMetric.update`.

    Raises:
        ValueError: if an entry is missing, unknown, of the wrong shape or NaN, or an id is not a 64-bit integer.
    """
    pairs = _image_pairs(preds, target)
    images, predictions, instances = [], [], []
    for position, (prediction, annotation) in enumerate(pairs):
        keys, values = _prediction_table(prediction, f"preds[{position}]", num_keypoints)
        predictions.append((keys, values))
        number = 0
        if target is not None:
            instances.append(_target_table(annotation, f"target[{position}]", num_keypoints))
            number = len(instances[-1][0])
        image_id = _image_id(prediction, annotation, position)
        images.append((0 if image_id is None else image_id, image_id is not None, len(keys), number))
    no_predictions = (np.zeros((0, 3), np.int64), np.zeros((0, NUM_PREDICTION_VALUES + 3 * num_keypoints)))
    no_instances = (np.zeros((0, 5), np.int64), np.zeros((0, NUM_TARGET_VALUES + 3 * num_keypoints)))
    return Rows(
        np.array(images, dtype=np.int64).reshape(-1, 4),
        *(np.concatenate(parts) for parts in zip(no_predictions, *predictions, strict=True)),
        *(np.concatenate(parts) for parts in zip(no_instances, *instances, strict=True)),
    )


def _image_pairs(
    preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]] | None
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for name, value in (("preds", preds), ("target", preds if target is None else target)):
        if not isinstance(value, Sequence) or not all(isinstance(item, Mapping) for item in value):
            raise ValueError(
                f"Expected argument `{name}` to be a sequence of dicts, one per image, but got {type(value).__name__}."
            )
    if target is not None and len(preds) != len(target):
        raise ValueError(f"Expected `preds` and `target` of the same length, but got {len(preds)} and {len(target)}.")
    return list(zip(preds, [{}] * len(preds) if target is None else target, strict=True))


def _prediction_table(item: Mapping[str, Any], where: str, num_keypoints: int) -> tuple[Indices, Floats]:
    _check_names(item, where, _PREDICTION_NAMES, required=("keypoints", "scores"))
    keypoints = _keypoints(item["keypoints"], where, num_keypoints, widths=(2, 3))
    number = len(keypoints)
    if keypoints.shape[2] == 2:
        keypoints = np.concatenate([keypoints, np.ones((number, num_keypoints, 1))], axis=2)
    _check_finite(keypoints, f"{where}['keypoints']", "coordinates and scores")
    scores = _column(item["scores"], where, "scores", number)
    _check_finite(scores, f"{where}['scores']", "scores")
    boxes = _boxes(item, where, number)
    areas = _column(item["areas"], where, "areas", number) if "areas" in item else boxes[:, 2] * boxes[:, 3]
    unknown = np.full((number, 4), np.nan)
    values = np.concatenate(
        [scores[:, None], areas[:, None], boxes, unknown, keypoints.reshape(number, 3 * num_keypoints)], axis=1
    )
    return _keys(item, where, number), values


def _target_table(item: Mapping[str, Any], where: str, num_keypoints: int) -> tuple[Indices, Floats]:
    _check_names(item, where, _TARGET_NAMES, required=("keypoints", "area"))
    keypoints = _keypoints(item["keypoints"], where, num_keypoints, widths=(3,))
    number = len(keypoints)
    unlabelled = ~(keypoints[..., 2] > 0)
    _check_finite(keypoints[~unlabelled], f"{where}['keypoints']", "coordinates of labelled keypoints")
    keypoints = np.where(unlabelled[..., None], 0.0, keypoints)
    area = _column(item["area"], where, "area", number)
    if not (np.isfinite(area) & (area >= 0)).all():
        raise ValueError(f"Expected {where}['area'] to be finite and not negative, but got {area.tolist()}.")
    boxes = _boxes(item, where, number)
    if (unlabelled.all(axis=1) & np.isnan(boxes).any(axis=1)).any():
        raise ValueError(f"Expected `boxes` in {where} for instances without labelled keypoints, but got none. Add boxes (M, 4).")
    iscrowd = _column(item["iscrowd"], where, "iscrowd", number) if "iscrowd" in item else np.zeros(number)
    values = np.concatenate([area[:, None], boxes, keypoints.reshape(number, 3 * num_keypoints)], axis=1)
    if "num_keypoints" in item:
        stated = _integers(item["num_keypoints"], where, "num_keypoints", number)
    else:
        stated = np.count_nonzero(~unlabelled, axis=1)
    return np.column_stack([_keys(item, where, number), iscrowd != 0, stated]).astype(np.int64), values


def _keys(item: Mapping[str, Any], where: str, number: int) -> Indices:
    """Return category (0 if not given), id (row if not given) and whether the id was given, (N, 3)."""
    labels = _integers(item["labels"], where, "labels", number) if "labels" in item else np.zeros(number, np.int64)
    ids = _integers(item["ids"], where, "ids", number) if "ids" in item else np.arange(number)
    if len(np.unique(ids)) != number:
        values, counts = np.unique(ids, return_counts=True)
        raise ValueError(f"Expected {where}['ids'] to be unique, but got {values[counts > 1].tolist()} more than once.")
    return np.column_stack([labels, ids, np.full(number, "ids" in item)]).astype(np.int64)


def _image_id(prediction: Mapping[str, Any], annotation: Mapping[str, Any], position: int) -> int | None:
    given = {
        int(exact_int64(_array(item["image_id"], where, "image_id"), f"{where}['image_id']").reshape(()))
        for item, where in ((prediction, f"preds[{position}]"), (annotation, f"target[{position}]"))
        if "image_id" in item
    }
    if len(given) > 1:
        raise ValueError(
            f"Expected preds[{position}] and target[{position}] to be of the same image, but got image_id {sorted(given)}."
        )
    return given.pop() if given else None


def _check_names(item: Mapping[str, Any], where: str, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in item]
    if missing:
        raise ValueError(
            f"Expected {where} to have {' and '.join(required)}, but {missing} is missing. Other entries: {', '.join(names)}."
        )
    unknown = [name for name in item if name not in names]
    if unknown:
        raise ValueError(f"Expected entries {', '.join(names)} in {where}, but got {unknown}.")


def _check_finite(values: Floats, where: str, what: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"Expected {where} to have finite {what}, but got NaN or infinity.")


def _array(value: Any, where: str, name: str) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected {where}['{name}'] to be a tensor or an array of numbers, but got {type(value).__name__}.")
    return array


def _keypoints(value: Any, where: str, num_keypoints: int, widths: Sequence[int]) -> Floats:
    keypoints: Floats = np.array(_array(value, where, "keypoints"), dtype=np.float64)
    if not keypoints.size and keypoints.ndim < 3:
        return np.zeros((0, num_keypoints, widths[-1]))
    if keypoints.ndim != 3 or keypoints.shape[1] != num_keypoints or keypoints.shape[2] not in widths:
        wanted = " or ".join(f"(N, {num_keypoints}, {width})" for width in widths)
        raise ValueError(f"Expected {where}['keypoints'] to be {wanted}, one keypoint per sigma, but got {keypoints.shape}.")
    return keypoints


def _column(value: Any, where: str, name: str, number: int) -> Floats:
    column: Floats = np.array(_array(value, where, name), dtype=np.float64)
    if column.shape != (number,):
        raise ValueError(f"Expected {where}['{name}'] to be ({number},), one per row of keypoints, but got {column.shape}.")
    return column


def _integers(value: Any, where: str, name: str, number: int) -> Indices:
    _column(value, where, name, number)
    return exact_int64(_array(value, where, name), f"{where}['{name}']")


def _boxes(item: Mapping[str, Any], where: str, number: int) -> Floats:
    """Return the boxes xywh (N, 4), NaN if not given."""
    if "boxes" not in item:
        return np.full((number, 4), np.nan)
    boxes: Floats = np.array(_array(item["boxes"], where, "boxes"), dtype=np.float64)
    boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
    if boxes.shape != (number, 4):
        raise ValueError(f"Expected {where}['boxes'] to be ({number}, 4) xywh, one per row of keypoints, but got {boxes.shape}.")
    _check_finite(boxes, f"{where}['boxes']", "numbers")
    return boxes


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of all processes without duplicates, sorted by image id and instance id."""

    detections: Detections  # N predictions
    instance_ids: Indices  # (N,) int64
    boxes: Floats  # (N, 4) xywh, NaN if not given
    center: Floats  # (N, 2) of the crop, NaN if unknown
    scale: Floats  # (N, 2) of the crop, NaN if unknown
    keypoint_scores: Floats  # (N, K)

    @property
    def crop_areas(self) -> Floats:
        """Return the areas (N,) for OKS between predictions: of the padded crop, or of the pose without crop."""
        crops: Floats = self.scale.prod(axis=1)
        return np.where(np.isnan(crops), self.detections.areas, crops)

    def __getitem__(self, rows: Indices) -> Predictions:
        """Select rows by indices."""
        others = {name: values[rows] for name, values in vars(self).items() if name != "detections"}
        return Predictions(self.detections[rows], **others)

    def to_coco(self, category_id: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of a COCO keypoint result file; `category_id` replaces the categories of the predictions."""
        d = self.detections
        categories = d.category_ids if category_id is None else np.full(len(d), category_id)
        rows = result_rows(d.image_ids, categories, d.keypoints, self.keypoint_scores, d.scores)
        for name, values in (("center", self.center), ("scale", self.scale), ("bbox", self._boxes())):
            for row in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
                rows[row][name] = values[row].tolist()
        return rows

    def _boxes(self) -> Floats:
        """Return the boxes to write. Readers expect boxes in all rows or in none, so missing ones enclose the keypoints."""
        missing = np.asarray(np.isnan(self.boxes).any(axis=1))
        if missing.all():
            return self.boxes
        low = self.detections.keypoints.min(axis=1)
        enclosing = np.concatenate([low, self.detections.keypoints.max(axis=1) - low], axis=1)
        return np.where(missing[:, None], enclosing, self.boxes)


def collect_predictions(rows: Rows, num_keypoints: int, *, area_keypoints: int | None = None) -> Predictions:
    """Unpack the predictions of all processes.

    Predictions without area get the area of the box around their first `area_keypoints` keypoints.

    Raises:
        ValueError: if an image occurs twice with different predictions without ids.
    """
    image_ids = np.repeat(_number_images(rows.images), rows.images[:, 2])
    values = rows.prediction_rows
    kept = _once(image_ids, rows.prediction_keys[:, 1:3], values, rows.images[:, [0, 1, 2]], "preds")
    values, keys = values[kept], rows.prediction_keys[kept]
    triplets = values[:, NUM_PREDICTION_VALUES:].reshape(-1, num_keypoints, 3)
    keypoints = np.ascontiguousarray(triplets[..., :2])
    areas = np.where(np.isnan(values[:, 1]), enclosed_areas(keypoints[:, :area_keypoints]), values[:, 1])
    return Predictions(
        Detections(image_ids[kept], keys[:, 0], keypoints, np.ascontiguousarray(values[:, 0]), areas),
        instance_ids=keys[:, 1],
        boxes=values[:, 2:6],
        center=values[:, 6:8],
        scale=values[:, 8:10],
        keypoint_scores=triplets[..., 2],
    )


def collect_truth(rows: Rows, num_keypoints: int) -> GroundTruth:
    """Unpack the annotated instances of all processes; see `collect_predictions`."""
    numbers = _number_images(rows.images)
    image_ids = np.repeat(numbers, rows.images[:, 3])
    kept = _once(image_ids, rows.target_keys[:, 1:3], rows.target_rows, rows.images[:, [0, 1, 3]], "target")
    values, keys = rows.target_rows[kept], rows.target_keys[kept]
    triplets = values[:, NUM_TARGET_VALUES:].reshape(-1, num_keypoints, 3)
    return GroundTruth(
        image_ids=np.unique(numbers),
        object_image_ids=image_ids[kept],
        instance_ids=keys[:, 1],
        category_ids=keys[:, 0],
        keypoints=np.ascontiguousarray(triplets[..., :2]),
        visibility=(triplets[..., 2] > 0).astype(np.uint8),
        bbox=np.nan_to_num(values[:, 1:5]),
        area=np.ascontiguousarray(values[:, 0]),
        iscrowd=keys[:, 3] != 0,
        num_keypoints=keys[:, 4],
    )


def check_truth(truth: GroundTruth, num_keypoints: int) -> None:
    """Raise ValueError, with annotation ids, if a ground truth is invalid."""
    if truth.keypoints.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected `ground_truth` to have {num_keypoints} keypoints, one per sigma, but got shape {truth.keypoints.shape}."
        )
    labelled = (truth.visibility > 0)[..., None]
    unique, position = np.unique(truth.instance_ids, return_index=True)
    repeated = np.ones(len(truth), dtype=bool)
    repeated[position] = False
    faults = {
        "unique annotation ids": repeated & (len(unique) < len(truth)),
        "areas of at least 0": ~(np.isfinite(truth.area) & (truth.area >= 0)),
        "finite coordinates": (labelled & ~np.isfinite(truth.keypoints)).any(axis=(1, 2)),
        "a finite bbox for every instance without keypoints": ~labelled.any(axis=(1, 2)) & ~np.isfinite(truth.bbox).all(axis=1),
        "annotations of listed images": ~np.isin(truth.object_image_ids, truth.image_ids),
    }
    for wanted, wrong in faults.items():
        if wrong.any():
            ids = truth.instance_ids[wrong]
            raise ValueError(
                f"Expected argument `ground_truth` to have {wanted}, but {len(ids)} of {len(truth)} annotations do not: ids "
                f"{ids[:5].tolist()}{' ...' if len(ids) > 5 else ''}."
            )


def _number_images(images: Indices) -> Indices:
    """Return the id of each image, or its index if no image has an id."""
    given = images[:, 1] != 0
    if given.any() and not given.all():
        raise ValueError(f"Expected `image_id` for all images or for none, but got it for {given.sum()} of {len(given)}.")
    return images[:, 0] if given.any() else np.arange(len(images))


def _once(image_ids: Indices, keys: Indices, values: Floats, images: Indices, name: str) -> Indices:
    """Return the rows without duplicates of (image id, id), sorted by both.

    Args:
        image_ids: (N,).
        keys: (N, 2) id, and whether it was given.
        values: (N, V).
        images: (I, 3) image id, whether it was given, number of rows.
        name: argument of the rows, for messages.
    """
    order = np.lexsort((keys[:, 0], keys[:, 1], image_ids))
    columns = np.column_stack([image_ids, keys])[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (columns[1:] != columns[:-1]).any(axis=1)
    kept = order[first]
    unnamed = columns[:, 2] == 0
    original = kept[np.cumsum(first) - 1]
    differs = np.zeros(len(order), dtype=bool)
    one, other = values[order[unnamed]], values[original[unnamed]]
    differs[unnamed] = ~((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    uneven = np.isin(columns[:, 0], _uneven_images(images)) & unnamed
    if (differs | uneven).any():
        image_id = columns[differs | uneven, 0][0]
        raise ValueError(
            f"Expected `{name}` of an image in several updates to be equal or to have `ids`, but those of image_id {image_id} "
            "differ. Add `ids`, so that every instance counts once."
        )
    return kept


def _uneven_images(images: Indices) -> Indices:
    """Return the ids of images that occur several times with different numbers of rows."""
    order = np.lexsort((images[:, 2], images[:, 0]))
    ids, counts = images[order, 0], images[order, 2]
    return np.asarray(ids[1:][(images[order, 1][1:] != 0) & (ids[1:] == ids[:-1]) & (counts[1:] != counts[:-1])])
