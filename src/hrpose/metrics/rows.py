"""The rows in which the keypoint metrics keep what they were given: checked on entry, packed for gathering, unpacked to evaluate.

Five tables of numbers hold everything, so that several processes exchange five tensors:
`images` (I, 4) int64: image id, whether it was given, number of predictions, number of persons that follow in the others;
`prediction_keys` (N, 3) int64: category, instance id, whether it was given;
`prediction_rows` (N, 10 + 3 K) float64: score, area, bbox xywh, crop center, crop scale (NaN where not given), keypoints x y
score;
`person_keys` (M, 5) int64: category, annotation id, whether it was given, crowd, num_keypoints;
`person_rows` (M, 5 + 3 K) float64: area, bbox xywh (NaN where not given), keypoints x y visibility.

Rows do not name their photo: they follow in the order of `images`, so photos without ids need no numbering across processes.
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
NUM_PERSON_VALUES = 5
_PREDICTION_NAMES = ("keypoints", "scores", "labels", "boxes", "areas", "ids", "image_id")
_PERSON_NAMES = ("keypoints", "area", "labels", "iscrowd", "num_keypoints", "boxes", "ids", "image_id")


@dataclass(frozen=True, eq=False)
class Rows:
    """What was handed in, as the five tables of this file's head."""

    images: Indices
    prediction_keys: Indices
    prediction_rows: Floats
    person_keys: Indices
    person_rows: Floats


def rows_from_poses(poses: Poses, num_keypoints: int, category_id: int) -> Rows:
    """Pack estimated poses, each of which knows its photo and its instance id.

    Args:
        poses: N poses with K keypoints.
        num_keypoints: K.
        category_id: the category they all have.

    Raises:
        ValueError: if the number of keypoints is another one, a coordinate or score is not finite, or an id is no integer of
            64 bits.
    """
    if poses.keypoints.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected argument `poses` to have {num_keypoints} keypoints, one for each sigma, "
            f"but got keypoints of shape {poses.keypoints.shape}."
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
        prediction_keys=np.stack(
            [one * category_id, exact_int64(poses.instance_ids, "poses.instance_ids"), one], axis=1
        ),
        prediction_rows=values,
        person_keys=np.zeros((0, 5), dtype=np.int64),
        person_rows=np.zeros((0, NUM_PERSON_VALUES + 3 * num_keypoints)),
    )


def rows_from_images(
    preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]] | None, num_keypoints: int
) -> Rows:
    """Pack one dict of predictions, and one of annotated persons, for each photo.

    Args:
        preds: as `KeypointAveragePrecision.update` tells.
        target: the same; None where the ground truth is already known.
        num_keypoints: K.

    Raises:
        ValueError: if a dict lacks an entry, has one that nobody reads, one of the wrong shape or with NaN in it, or an id
            that is no integer of 64 bits.
    """
    pairs = _image_pairs(preds, target)
    images, predictions, persons = [], [], []
    for position, (prediction, person) in enumerate(pairs):
        keys, values = _prediction_table(prediction, f"preds[{position}]", num_keypoints)
        predictions.append((keys, values))
        number = 0
        if target is not None:
            persons.append(_person_table(person, f"target[{position}]", num_keypoints))
            number = len(persons[-1][0])
        image_id = _image_id(prediction, person, position)
        images.append((0 if image_id is None else image_id, image_id is not None, len(keys), number))
    none = (np.zeros((0, 3), np.int64), np.zeros((0, NUM_PREDICTION_VALUES + 3 * num_keypoints)))
    nobody = (np.zeros((0, 5), np.int64), np.zeros((0, NUM_PERSON_VALUES + 3 * num_keypoints)))
    return Rows(
        np.array(images, dtype=np.int64).reshape(-1, 4),
        *(np.concatenate(parts) for parts in zip(none, *predictions, strict=True)),
        *(np.concatenate(parts) for parts in zip(nobody, *persons, strict=True)),
    )


def _image_pairs(
    preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]] | None
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for name, value in (("preds", preds), ("target", preds if target is None else target)):
        if not isinstance(value, Sequence) or not all(isinstance(item, Mapping) for item in value):
            raise ValueError(
                f"Expected argument `{name}` to be a sequence of dicts, one for each image, but got {type(value).__name__}."
            )
    if target is not None and len(preds) != len(target):
        raise ValueError(
            f"Expected argument `preds` and `target` to have the same length, but got {len(preds)} and {len(target)}."
        )
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


def _person_table(item: Mapping[str, Any], where: str, num_keypoints: int) -> tuple[Indices, Floats]:
    _check_names(item, where, _PERSON_NAMES, required=("keypoints", "area"))
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
        raise ValueError(
            f"Expected {where} to have `boxes`, because it holds a person without labelled keypoints, whose region is taken "
            "from its box, but got none. Add boxes (M, 4), or leave that person out."
        )
    iscrowd = _column(item["iscrowd"], where, "iscrowd", number) if "iscrowd" in item else np.zeros(number)
    values = np.concatenate([area[:, None], boxes, keypoints.reshape(number, 3 * num_keypoints)], axis=1)
    if "num_keypoints" in item:
        stated = _integers(item["num_keypoints"], where, "num_keypoints", number)
    else:
        stated = np.count_nonzero(~unlabelled, axis=1)
    return np.column_stack([_keys(item, where, number), iscrowd != 0, stated]).astype(np.int64), values


def _keys(item: Mapping[str, Any], where: str, number: int) -> Indices:
    """Category (0 if not given), id (row if not given), whether the id was given."""
    labels = _integers(item["labels"], where, "labels", number) if "labels" in item else np.zeros(number, np.int64)
    ids = _integers(item["ids"], where, "ids", number) if "ids" in item else np.arange(number)
    if len(np.unique(ids)) != number:
        values, counts = np.unique(ids, return_counts=True)
        raise ValueError(f"Expected {where}['ids'] to be unique, but got {values[counts > 1].tolist()} more than once.")
    return np.column_stack([labels, ids, np.full(number, "ids" in item)]).astype(np.int64)


def _image_id(prediction: Mapping[str, Any], person: Mapping[str, Any], position: int) -> int | None:
    given = {
        int(exact_int64(_array(item["image_id"], where, "image_id"), f"{where}['image_id']").reshape(()))
        for item, where in ((prediction, f"preds[{position}]"), (person, f"target[{position}]"))
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
            f"Expected {where} to have {', '.join(names)} ({' and '.join(required)} always), but got no {missing}."
        )
    unread = [name for name in item if name not in names]
    if unread:
        raise ValueError(f"Expected {where} to have nothing but {', '.join(names)}, but got {unread} too.")


def _check_finite(values: Floats, where: str, what: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"Expected {where} to hold finite {what}, but got NaN or infinity in it.")


def _array(value: Any, where: str, name: str) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unlike lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected {where}['{name}'] to be a tensor or an array of numbers, but got {type(value).__name__}."
        )
    return array


def _keypoints(value: Any, where: str, num_keypoints: int, widths: Sequence[int]) -> Floats:
    keypoints: Floats = np.array(_array(value, where, "keypoints"), dtype=np.float64)
    if not keypoints.size and keypoints.ndim < 3:
        return np.zeros((0, num_keypoints, widths[-1]))
    if keypoints.ndim != 3 or keypoints.shape[1] != num_keypoints or keypoints.shape[2] not in widths:
        wanted = " or ".join(f"(N, {num_keypoints}, {width})" for width in widths)
        raise ValueError(
            f"Expected {where}['keypoints'] to be {wanted}, one keypoint for each sigma, but got {keypoints.shape}."
        )
    return keypoints


def _column(value: Any, where: str, name: str, number: int) -> Floats:
    column: Floats = np.array(_array(value, where, name), dtype=np.float64)
    if column.shape != (number,):
        raise ValueError(
            f"Expected {where}['{name}'] to be ({number},), one for each row of keypoints, but got {column.shape}."
        )
    return column


def _integers(value: Any, where: str, name: str, number: int) -> Indices:
    given = _array(value, where, name)
    _column(value, where, name, number)
    return exact_int64(given, f"{where}['{name}']")


def _boxes(item: Mapping[str, Any], where: str, number: int) -> Floats:
    """The boxes xywh, NaN where none were given."""
    if "boxes" not in item:
        return np.full((number, 4), np.nan)
    boxes: Floats = np.array(_array(item["boxes"], where, "boxes"), dtype=np.float64)
    boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
    if boxes.shape != (number, 4):
        raise ValueError(
            f"Expected {where}['boxes'] to be ({number}, 4) xywh, one for each row of keypoints, but got {boxes.shape}."
        )
    _check_finite(boxes, f"{where}['boxes']", "numbers")
    return boxes


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of all processes, each once, ordered by image id and instance id.

    Attributes:
        detections: N predictions as they are evaluated.
        instance_ids: (N,) int64.
        boxes: (N, 4) xywh, NaN where none were given.
        center: (N, 2) of the crop, NaN where it is not known.
        scale: (N, 2) of the crop, NaN where it is not known.
        keypoint_scores: (N, K).
    """

    detections: Detections
    instance_ids: Indices
    boxes: Floats
    center: Floats
    scale: Floats
    keypoint_scores: Floats

    @property
    def crop_areas(self) -> Floats:
        """(N,) what OKS between two predictions is measured by: the padded crop, or the pose's own area without one."""
        crops: Floats = self.scale.prod(axis=1)
        return np.where(np.isnan(crops), self.detections.areas, crops)

    def __getitem__(self, rows: Indices) -> Predictions:
        """Select rows by indices."""
        d = self.detections
        return Predictions(
            Detections(d.image_ids[rows], d.category_ids[rows], d.keypoints[rows], d.scores[rows], d.areas[rows]),
            self.instance_ids[rows],
            self.boxes[rows],
            self.center[rows],
            self.scale[rows],
            self.keypoint_scores[rows],
        )

    def to_coco(self, category_id: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of a COCO keypoint result file; `category_id` replaces the category of each prediction."""
        d = self.detections
        categories = d.category_ids if category_id is None else np.full(len(d), category_id)
        rows = result_rows(d.image_ids, categories, d.keypoints, self.keypoint_scores, d.scores)
        for name, values in (("center", self.center), ("scale", self.scale), ("bbox", self._boxes())):
            for row in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
                rows[row][name] = values[row].tolist()
        return rows

    def _boxes(self) -> Floats:
        """The boxes to write. A reader that finds one looks for one in every row, so those not given enclose the keypoints."""
        missing = np.asarray(np.isnan(self.boxes).any(axis=1))
        if missing.all():
            return self.boxes
        low = self.detections.keypoints.min(axis=1)
        enclosing = np.concatenate([low, self.detections.keypoints.max(axis=1) - low], axis=1)
        return np.where(missing[:, None], enclosing, self.boxes)


def collect_predictions(rows: Rows, num_keypoints: int, *, area_keypoints: int | None = None) -> Predictions:
    """Unpack the predictions of all processes; the extent of the first `area_keypoints` is the area of one without area.

    Raises:
        ValueError: if a photo came twice with different predictions that have no ids.
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
    """Unpack the annotated persons of all processes.

    Raises:
        ValueError: if a photo came twice with different persons that have no ids.
    """
    numbers = _number_images(rows.images)
    image_ids = np.repeat(numbers, rows.images[:, 3])
    kept = _once(image_ids, rows.person_keys[:, 1:3], rows.person_rows, rows.images[:, [0, 1, 3]], "target")
    values, keys = rows.person_rows[kept], rows.person_keys[kept]
    triplets = values[:, NUM_PERSON_VALUES:].reshape(-1, num_keypoints, 3)
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
    """Refuse a ground truth of K keypoints that cannot be evaluated against.

    Raises:
        ValueError: naming the annotation ids at fault: another number of keypoints, an id given twice, a missing or
            negative area, a coordinate that is not finite, a photo that is not listed.
    """
    if truth.keypoints.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected argument `ground_truth` to have {num_keypoints} keypoints, one for each sigma, "
            f"but got keypoints of shape {truth.keypoints.shape}."
        )
    labelled = (truth.visibility > 0)[..., None]
    unique, position = np.unique(truth.instance_ids, return_index=True)
    repeated = np.ones(len(truth), dtype=bool)
    repeated[position] = False
    faults = {
        "annotation ids that are unique": repeated & (len(unique) < len(truth)),
        "an area of zero or more for every annotation": ~(np.isfinite(truth.area) & (truth.area >= 0)),
        "finite coordinates": (labelled & ~np.isfinite(truth.keypoints)).any(axis=(1, 2)),
        "a finite bbox for every person without keypoints": ~labelled.any(axis=(1, 2))
        & ~np.isfinite(truth.bbox).all(axis=1),
        "annotations of listed images": ~np.isin(truth.object_image_ids, truth.image_ids),
    }
    for wanted, wrong in faults.items():
        if wrong.any():
            ids = truth.instance_ids[wrong]
            raise ValueError(
                f"Expected argument `ground_truth` to have {wanted}, but {len(ids)} of {len(truth)} annotations are "
                f"otherwise: ids {ids[:5].tolist()}{' ...' if len(ids) > 5 else ''}."
            )


def _number_images(images: Indices) -> Indices:
    """The id of each photo; its place among all photos where none has an id."""
    given = images[:, 1] != 0
    if given.any() and not given.all():
        raise ValueError(
            f"Expected `image_id` with all images or with none, but got it with {given.sum()} of {len(given)}."
        )
    return images[:, 0] if given.any() else np.arange(len(images))


def _once(image_ids: Indices, keys: Indices, values: Floats, images: Indices, name: str) -> Indices:
    """Choose each (image id, id) once, ordered by both.

    `image_ids` are (N,), `keys` (N, 2): id, and whether it was given; `values` (N, V); `images` (I, 3): image id, whether it was
    given, number of rows; `name` is the argument that the rows came in.
    """
    order = np.lexsort((keys[:, 0], keys[:, 1], image_ids))
    columns = np.column_stack([image_ids, keys])[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (columns[1:] != columns[:-1]).any(axis=1)
    kept = order[first]
    unnamed = columns[:, 2] == 0
    original = kept[np.cumsum(first) - 1]
    differs = np.zeros(len(order), dtype=bool)
    differs[unnamed] = ~_same(values[order[unnamed]], values[original[unnamed]])
    uneven = np.isin(columns[:, 0], _uneven_images(images)) & unnamed
    if (differs | uneven).any():
        image_id = columns[differs | uneven, 0][0]
        raise ValueError(
            f"Expected the `{name}` of an image that comes twice to be the same or to have `ids`, but image_id {image_id} came "
            "with different ones. Give `ids`, so that every instance counts once."
        )
    return kept


def _uneven_images(images: Indices) -> Indices:
    """Ids of photos that came several times with unlike numbers of rows."""
    order = np.lexsort((images[:, 2], images[:, 0]))
    ids, counts = images[order, 0], images[order, 2]
    uneven: Indices = ids[1:][(images[order, 1][1:] != 0) & (ids[1:] == ids[:-1]) & (counts[1:] != counts[:-1])]
    return uneven


def _same(one: Floats, other: Floats) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    return equal
