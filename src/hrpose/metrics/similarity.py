"""Mean object keypoint similarity (OKS) of matched instances."""

from __future__ import annotations

import torch
from torch import Tensor

from hrpose.metrics.base import KeypointMetric
from hrpose.metrics.functional.matching import pair_instances
from hrpose.metrics.functional.oks import keypoint_variances, oks_pairs


class ObjectKeypointSimilarity(KeypointMetric):
    """Compute the mean OKS of matched instances.

    In each image and category, predictions in the order of their scores take the free instance of highest OKS, without lower
    limit. Unmatched predictions and instances, crowds and instances without labelled keypoints do not count. The metric measures
    the accuracy of poses, not how many instances are found; AP measures both.

    `forward` and `update` take the input of `hrpose.metrics.KeypointAveragePrecision`. `forward` and `compute` return one float64
    scalar from 0 to 1; -1 without matched instances.

    Args:
        sigmas: (K,) per-keypoint constants of the skeleton.
        ground_truth: the annotations, if they are known at construction.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` gathers the state of all processes.

    Raises:
        ValueError: if the sigmas are not positive, or the ground truth is invalid.

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
