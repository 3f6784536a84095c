"""From gathered rows to one evaluation: number the photos, drop what a sampler handed out twice, fix the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.matching import Detections
from hrpose.metrics.functional.oks import Floats, Indices, enclosed_areas
from hrpose.metrics.rows import NUM_PERSON_VALUES, NUM_PREDICTION_VALUES, Rows
from hrpose.structures import GroundTruth, result_rows


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
        """Give the rows of a COCO keypoint result file.

        Args:
            category_id: the category to write, None for each prediction's own.
        """
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
    """Unpack the predictions.

    Args:
        rows: of all processes.
        num_keypoints: K.
        area_keypoints: number of the first keypoints whose extent is the area of a prediction without one; None takes all.

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
    """Unpack the annotated persons.

    Args:
        rows: of all processes.
        num_keypoints: K.

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
    """Refuse a ground truth that cannot be evaluated against.

    Args:
        truth: M annotated persons, and all photos.
        num_keypoints: K.

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

    Args:
        image_ids: (N,) of each row.
        keys: (N, 2) id, and whether it was given or is just the row's place in its photo.
        values: (N, V) the rows.
        images: (I, 3) image id, whether it was given, number of rows.
        name: the argument that the rows came in.
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
