"""Metrics by OKS: keypoint average precision, the COCO keypoint task, and the mean OKS of matched instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hrpose.errors import check_counts
from hrpose.metrics.base import KeypointMetric
from hrpose.metrics.functional.matching import AREA_RANGES, OKS_THRESHOLDS, average_precision, pair_instances
from hrpose.metrics.functional.oks import keypoint_variances, oks_nms, oks_pairs, soft_oks_nms
from hrpose.metrics.functional.pck import pixel_errors
from hrpose.metrics.rows import Predictions
from hrpose.structures import GroundTruth


class KeypointAveragePrecision(KeypointMetric):
    """Compute AP and AR of poses by OKS, equal to the COCO keypoint evaluation bit for bit.

    `forward` and `update` take one dict of predictions and one dict of annotated instances per image, or, if `ground_truth` was
    given, estimated `Poses`.

    `forward` and `compute` return a dict of float64 scalars: AP (OKS .50:.95), AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; -1
    without annotated instances.

    Each of several processes may have any share of the data, or none. Duplicates of image id and instance id count once. The
    result is equal bit for bit for any number of processes. It depends on the order of updates only for equal scores in images
    without `image_id`; other equal scores are sorted by image id, then instance id.

    Args:
        sigmas: (K,) per-keypoint constants of the skeleton, such as `hrpose.skeletons.COCO.sigmas`.
        ground_truth: the annotations, if they are known at construction.
        oks_nms_threshold: OKS above which the worse of two predictions of an image is removed; None keeps all.
        soft_nms: decay scores instead of removing poses; at most `max_detections` per image remain.
        leave_out_unscored: leave out predictions with keypoint scores that are all 0 or missing, as xtcocotools does.
        area_keypoints: number of first keypoints for the area of predictions without box and area, 17 in COCO-WholeBody; None
            uses all keypoints.
        max_detections: number of predictions per image and category that count, those of highest score.
        oks_thresholds: smallest OKS of a correct prediction; None for 0.50, 0.55, ..., 0.95.
        area_ranges: names with the smallest and largest area in square pixels; None for COCO's all, medium and large. See
            `hrpose.metrics.functional.summarize` for the names of the results.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` gathers the state of all processes.

    Raises:
        ValueError: if an argument is out of range, or the ground truth is invalid.

    Example:
        >>> from hrpose.metrics import KeypointAveragePrecision
        >>> from torch import tensor
        >>> metric = KeypointAveragePrecision(sigmas=[0.05, 0.05])
        >>> preds = [{"keypoints": tensor([[[10.0, 10.0], [20.0, 30.0]], [[50.0, 50.0], [60.0, 60.0]]]),
        ...           "scores": tensor([0.9, 0.8])}]
        >>> target = [{"keypoints": tensor([[[10.0, 10.0, 2.0], [20.0, 30.0, 1.0]], [[50.0, 51.0, 2.0], [0.0, 0.0, 0.0]]]),
        ...            "area": tensor([2000.0, 2000.0])}]
        >>> metric.update(preds, target)
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}["AP"]
        1.0
    """

    higher_is_better: bool = True
    plot_lower_bound: float = 0.0
    plot_upper_bound: float = 1.0
    leading = "AP"

    def __init__(
        self,
        sigmas: ArrayLike,
        *,
        ground_truth: GroundTruth | None = None,
        oks_nms_threshold: float | None = None,
        soft_nms: bool = False,
        leave_out_unscored: bool = False,
        area_keypoints: int | None = None,
        max_detections: int = 20,
        oks_thresholds: Sequence[float] | None = None,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        dist_sync_on_step: bool = False,
        sync_on_compute: bool = True,
    ) -> None:
        super().__init__(sigmas, ground_truth, dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self.oks_nms_threshold = oks_nms_threshold
        self.soft_nms = soft_nms
        self.leave_out_unscored = leave_out_unscored
        self.area_keypoints = area_keypoints
        self.max_detections = max_detections
        self.oks_thresholds = OKS_THRESHOLDS if oks_thresholds is None else tuple(float(t) for t in oks_thresholds)
        ranges = AREA_RANGES if area_ranges is None else area_ranges
        self.area_ranges = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
        self._check_arguments()

    def compute(self) -> dict[str, Tensor]:
        """Compute the ten COCO numbers over all processes."""
        return self._numbers(*self._evaluated(*self._gathered()))

    def logged(self) -> dict[str, Tensor]:
        """Return the result of `compute`, and PCK and pixel errors: PCK@0.1, pixel_error, pixel_error_median, ..."""
        predictions, truth = self.evaluated()
        distances = pixel_errors(predictions.detections, truth, max_detections=self.max_detections).overall
        names = {"mean_error": "pixel_error", "median_error": "pixel_error_median"}
        more = {names.get(name, name): self._scalar(value) for name, value in distances.items()}
        return {**self._numbers(predictions, truth), **more}

    def _numbers(self, predictions: Predictions, truth: GroundTruth) -> dict[str, Tensor]:
        numbers = average_precision(
            predictions.detections,
            truth,
            self.sigmas,
            oks_thresholds=self.oks_thresholds,
            area_ranges=self.area_ranges,
            max_detections=self.max_detections,
        )
        return {name: self._scalar(value) for name, value in numbers.items()}

    def _scalar(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def results(self, category_id: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of a COCO keypoint result file of all processes, without duplicates and after NMS.

        The reference implementation computes the same numbers from these rows as `compute`, bit for bit, except for predictions
        with `areas` but without boxes, because the file cannot store areas. Every process must call it.

        Args:
            category_id: the category to write; None for the categories of the predictions (for `Poses`, of the ground truth).

        Returns:
            One dict per prediction, sorted by image id, then instance id: image_id, category_id, keypoints [x, y, score] * K,
            score, and, if known, center and scale of the crop in image pixels, and bbox.
        """
        return self.evaluated()[0].to_coco(category_id)

    def evaluated(self) -> tuple[Predictions, GroundTruth]:
        """Return the evaluated predictions of all processes and the ground truth; every process must call it."""
        return self._evaluated(*self._everywhere(self._gathered))

    def _evaluated(self, predictions: Predictions, truth: GroundTruth) -> tuple[Predictions, GroundTruth]:
        """Return the predictions after NMS and without unscored ones, and the ground truth."""
        found, threshold = predictions.detections, self.oks_nms_threshold
        if threshold is not None and len(found):
            _, groups = np.unique(np.stack([found.image_ids, found.category_ids]), axis=1, return_inverse=True)
            poses = (found.keypoints, found.scores, predictions.crop_areas, groups.reshape(-1), self.sigmas)
            if self.soft_nms:
                rows = soft_oks_nms(*poses, threshold=threshold, max_detections=self.max_detections)
            else:
                rows = oks_nms(*poses, threshold=threshold)
            predictions = predictions[np.sort(rows)]
        if self.leave_out_unscored:
            predictions = predictions[np.flatnonzero((predictions.keypoint_scores > 0).any(axis=1))]
        return predictions, truth

    def _check_arguments(self) -> None:
        threshold = self.oks_nms_threshold
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"Expected argument `oks_nms_threshold` to be None or in (0, 1], but got {threshold}.")
        if self.soft_nms and threshold is None:
            raise ValueError("Expected argument `oks_nms_threshold` to be given with `soft_nms`, but got None.")
        check_counts(max_detections=self.max_detections)
        if not self.oks_thresholds or not all(0 < value <= 1 for value in self.oks_thresholds):
            raise ValueError(f"Expected argument `oks_thresholds` to be numbers in (0, 1], but got {self.oks_thresholds}.")
        if not self.area_ranges or not all(0 <= low <= high for low, high in self.area_ranges.values()):
            raise ValueError(f"Expected argument `area_ranges` to map names to (smallest, largest), but got {self.area_ranges}.")


class ObjectKeypointSimilarity(KeypointMetric):
    """Compute the mean OKS of matched instances.

    In each image and category, predictions in the order of their scores take the free instance of highest OKS, without lower
    limit. Unmatched predictions and instances, crowds and instances without labelled keypoints do not count. The metric measures
    the accuracy of poses, not how many instances are found; AP measures both.

    Arguments and input are those of `hrpose.metrics.KeypointAveragePrecision`. `forward` and `compute` return one float64 scalar
    from 0 to 1; -1 without matched instances.

    Example:
        >>> from hrpose.metrics import ObjectKeypointSimilarity
        >>> from torch import tensor
        >>> metric = ObjectKeypointSimilarity(sigmas=[0.05])
        >>> metric.update([{"keypoints": tensor([[[10.0, 11.0]]]), "scores": tensor([0.9])}],
        ...               [{"keypoints": tensor([[[10.0, 10.0, 2.0]]]), "area": tensor([100.0])}])
        >>> metric.compute()
        tensor(0.6065, dtype=torch.float64)
    """

    higher_is_better: bool = True
    plot_lower_bound: float = 0.0
    plot_upper_bound: float = 1.0

    def compute(self) -> Tensor:
        """Compute the mean OKS over all processes."""
        predictions, truth = self._gathered()
        detections = predictions.detections
        pairs = pair_instances(detections, truth, self.sigmas, lowest=0.0, max_detections=max(1, len(detections)))
        variances = keypoint_variances(self.sigmas)
        similarity = oks_pairs(detections.keypoints, truth, variances, pairs.rows, pairs.instances)
        mean = similarity.mean() if len(similarity) else -1.0
        return torch.tensor(mean, dtype=torch.float64, device=self.device)
