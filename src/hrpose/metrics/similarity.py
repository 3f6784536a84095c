"""Mean object keypoint similarity: how good the poses of the found persons are, whatever their scores."""

from __future__ import annotations

import torch
from torch import Tensor

from hrpose.metrics.base import KeypointMetric
from hrpose.metrics.functional.matching import pair_persons
from hrpose.metrics.functional.oks import keypoint_variances, oks_pairs


class ObjectKeypointSimilarity(KeypointMetric):
    """Compute the mean OKS of matched persons.

    In each photo and category the predictions, the highest score first, each take the free person they resemble most, however
    little that is. Persons that no prediction is left for, predictions that no person is left for, crowds and persons without
    labelled keypoints do not count. So it tells how well poses fit, not how many were found; AP tells both.

    As input to `forward` and `update` the metric takes what `hrpose.metrics.KeypointAveragePrecision` takes. As output of
    `forward` and `compute` it gives one float64 scalar from 0 to 1; -1 where nobody was matched.

    Args:
        sigmas: (K,) per-keypoint constants of the skeleton.
        ground_truth: what to compare with if it is known beforehand.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` does.

    Raises:
        ValueError: if the sigmas are not positive, or the ground truth does not suit them or is faulty.

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
        """Average over everything taken in by all processes."""
        predictions, truth = self._gathered()
        detections = predictions.detections
        pairs = pair_persons(detections, truth, self.sigmas, lowest=0.0, max_detections=max(1, len(detections)))
        variances = keypoint_variances(self.sigmas)
        similarity = oks_pairs(detections.keypoints, truth, variances, pairs.rows, pairs.persons)
        mean = similarity.mean() if len(similarity) else -1.0
        return torch.tensor(mean, dtype=torch.float64, device=self.device)
