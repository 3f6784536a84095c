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
    """Pack estimated poses, all of one category; raise ValueError if they are invalid."""
    if poses.keypoints.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected `poses` to have {num_keypoints} keypoints, one per sigma, but got shape {poses.keypoints.shape}."
        )
    number = len(poses)
    triplets = _flat(np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1))
    known = np.column_stack([poses.scores, poses.center, poses.scale, triplets])
    _check_finite(known, "poses", "coordinates, boxes and scores")
    one = np.ones(number, dtype=np.int64)
    return Rows(
        images=np.stack([exact_int64(poses.image_ids, "poses.image_ids"), one, one, 0 * one], axis=1),
        prediction_keys=np.stack([one * category_id, exact_int64(poses.instance_ids, "poses.instance_ids"), one], axis=1),
        prediction_rows=np.column_stack([known[:, :1], np.full((number, 5), np.nan), known[:, 1:]]),
        target_keys=np.zeros((0, 5), dtype=np.int64),
        target_rows=np.zeros((0, NUM_TARGET_VALUES + 3 * num_keypoints)),
    )


def rows_from_images(preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]] | None, num_keypoints: int) -> Rows:
    """Pack one dict of predictions and one dict of annotated instances per image; see `KeypointMetric.update`."""
    for name, value in (("preds", preds), ("target", () if target is None else target)):
        if not isinstance(value, Sequence) or not all(isinstance(item, Mapping) for item in value):
            raise ValueError(
                f"Expected argument `{name}` to be a sequence of dicts, one per image, but got {type(value).__name__}."
            )
    if target is not None and len(preds) != len(target):
        raise ValueError(f"Expected `preds` and `target` of the same length, but got {len(preds)} and {len(target)}.")
    images = []
    predictions = [(np.zeros((0, 3), np.int64), np.zeros((0, NUM_PREDICTION_VALUES + 3 * num_keypoints)))]
    instances = [(np.zeros((0, 5), np.int64), np.zeros((0, NUM_TARGET_VALUES + 3 * num_keypoints)))]
    for position, item in enumerate(preds):
        entries = [_Entries(item, f"preds[{position}]", _PREDICTION_NAMES, num_keypoints, widths=(2, 3))]
        predictions.append(_prediction_table(entries[0]))
        number = 0
        if target is not None:
            entries.append(_Entries(target[position], f"target[{position}]", _TARGET_NAMES, num_keypoints, widths=(3,)))
            instances.append(_target_table(entries[1]))
            number = entries[1].number
        image_ids = {image_id for entry in entries for image_id in entry.image_ids()}
        if len(image_ids) > 1:
            raise ValueError(
                f"Expected preds[{position}] and target[{position}] to be of the same image, but got image_id "
                f"{sorted(image_ids)}."
            )
        images.append((sum(image_ids), len(image_ids), entries[0].number, number))
    return Rows(
        np.array(images, dtype=np.int64).reshape(-1, 4),
        *(np.concatenate(parts) for parts in zip(*predictions, strict=True)),
        *(np.concatenate(parts) for parts in zip(*instances, strict=True)),
    )


class _Entries:
    """The checked entries of a dict of `update`, which is at the place `where` of the arguments.

    `names` are the entries that it may have, the two required ones first.
    """

    def __init__(
        self, item: Mapping[str, Any], where: str, names: Sequence[str], num_keypoints: int, *, widths: Sequence[int]
    ) -> None:
        if missing := [name for name in names[:2] if name not in item]:
            raise ValueError(
                f"Expected {where} to have {' and '.join(names[:2])}, but {missing} is missing. Other entries: "
                f"{', '.join(names)}."
            )
        if unknown := [name for name in item if name not in names]:
            raise ValueError(f"Expected entries {', '.join(names)} in {where}, but got {unknown}.")
        self.item, self.where = item, where
        keypoints: Floats = np.array(self._array("keypoints"), dtype=np.float64)
        if not keypoints.size and keypoints.ndim < 3:
            keypoints = np.zeros((0, num_keypoints, widths[-1]))
        if keypoints.ndim != 3 or keypoints.shape[1] != num_keypoints or keypoints.shape[2] not in widths:
            wanted = " or ".join(f"(N, {num_keypoints}, {width})" for width in widths)
            raise ValueError(f"Expected {where}['keypoints'] to be {wanted}, one keypoint per sigma, but got {keypoints.shape}.")
        self.keypoints, self.number = keypoints, len(keypoints)

    def numbers(self, name: str, default: Floats | None = None) -> Floats:
        """Return one number per row, (N,)."""
        if default is not None and name not in self.item:
            return default
        column: Floats = np.array(self._array(name), dtype=np.float64)
        if column.shape != (self.number,):
            raise ValueError(
                f"Expected {self.where}['{name}'] to be ({self.number},), one per row of keypoints, but got {column.shape}."
            )
        return column

    def integers(self, name: str, default: Indices) -> Indices:
        """Return one integer per row, (N,)."""
        if name not in self.item:
            return default
        self.numbers(name)
        return exact_int64(self._array(name), f"{self.where}['{name}']")

    def boxes(self) -> Floats:
        """Return the boxes xywh (N, 4), NaN if not given."""
        if "boxes" not in self.item:
            return np.full((self.number, 4), np.nan)
        boxes: Floats = np.array(self._array("boxes"), dtype=np.float64)
        boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
        if boxes.shape != (self.number, 4):
            raise ValueError(
                f"Expected {self.where}['boxes'] to be ({self.number}, 4) xywh, one per row of keypoints, but got {boxes.shape}."
            )
        _check_finite(boxes, f"{self.where}['boxes']", "numbers")
        return boxes

    def keys(self) -> Indices:
        """Return category (0 if not given), id (row if not given) and whether the id was given, (N, 3)."""
        labels = self.integers("labels", np.zeros(self.number, np.int64))
        ids = self.integers("ids", np.arange(self.number))
        if "ids" in self.item and len(np.unique(ids)) != self.number:
            values, counts = np.unique(ids, return_counts=True)
            raise ValueError(f"Expected {self.where}['ids'] to be unique, but got {values[counts > 1].tolist()} more than once.")
        return np.column_stack([labels, ids, np.full(self.number, "ids" in self.item)]).astype(np.int64)

    def image_ids(self) -> list[int]:
        """Return the id of the image, if it is given."""
        if "image_id" not in self.item:
            return []
        return [int(exact_int64(self._array("image_id"), f"{self.where}['image_id']").reshape(()))]

    def _array(self, name: str) -> NDArray[Any]:
        value = self.item[name]
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype).numpy()
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.array(None)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"Expected {self.where}['{name}'] to be a tensor or an array of numbers, but got {type(value).__name__}."
            )
        return array


def _prediction_table(entries: _Entries) -> tuple[Indices, Floats]:
    keypoints = entries.keypoints
    if keypoints.shape[2] == 2:
        keypoints = np.concatenate([keypoints, np.ones((*keypoints.shape[:2], 1))], axis=2)
    _check_finite(keypoints, f"{entries.where}['keypoints']", "coordinates and scores")
    scores, boxes = entries.numbers("scores"), entries.boxes()
    _check_finite(scores, f"{entries.where}['scores']", "scores")
    areas = entries.numbers("areas", boxes[:, 2] * boxes[:, 3])
    crops = np.full((entries.number, 4), np.nan)
    return entries.keys(), np.concatenate([scores[:, None], areas[:, None], boxes, crops, _flat(keypoints)], axis=1)


def _target_table(entries: _Entries) -> tuple[Indices, Floats]:
    keypoints, where = entries.keypoints, entries.where
    unlabelled = ~(keypoints[..., 2] > 0)
    _check_finite(keypoints[~unlabelled], f"{where}['keypoints']", "coordinates of labelled keypoints")
    area, boxes = entries.numbers("area"), entries.boxes()
    if not (np.isfinite(area) & (area >= 0)).all():
        raise ValueError(f"Expected {where}['area'] to be finite and not negative, but got {area.tolist()}.")
    if (unlabelled.all(axis=1) & np.isnan(boxes).any(axis=1)).any():
        raise ValueError(f"Expected `boxes` in {where} for instances without labelled keypoints, but got none. Add boxes (M, 4).")
    iscrowd = entries.numbers("iscrowd", np.zeros(entries.number)) != 0
    stated = entries.integers("num_keypoints", np.count_nonzero(~unlabelled, axis=1))
    values = np.concatenate([area[:, None], boxes, _flat(np.where(unlabelled[..., None], 0.0, keypoints))], axis=1)
    return np.column_stack([entries.keys(), iscrowd, stated]).astype(np.int64), values


def _flat(keypoints: Floats) -> Floats:
    """Return keypoints (N, K, 3) as rows (N, 3 K)."""
    return keypoints.reshape(len(keypoints), keypoints.shape[1] * 3)


def _check_finite(values: Floats, where: str, what: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"Expected {where} to have finite {what}, but got NaN or infinity.")


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
        boxes, missing = self.boxes, np.isnan(self.boxes).any(axis=1, keepdims=True)
        if not missing.all():  # readers expect boxes in all rows or in none, so missing ones enclose the keypoints
            low = d.keypoints.min(axis=1)
            boxes = np.where(missing, np.concatenate([low, d.keypoints.max(axis=1) - low], axis=1), boxes)
        for name, values in (("center", self.center), ("scale", self.scale), ("bbox", boxes)):
            for row in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
                rows[row][name] = values[row].tolist()
        return rows


def collect_predictions(rows: Rows, num_keypoints: int, *, area_keypoints: int | None = None) -> Predictions:
    """Unpack the predictions of all processes; a missing area is the area of the box around the first `area_keypoints`."""
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
    """Return the rows without duplicates of (image id, id), sorted by both; duplicates without given id must be equal.

    Keys (N, 2) are an id, and whether it was given; images (I, 3) an image id, whether it was given, and the number of rows.
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
