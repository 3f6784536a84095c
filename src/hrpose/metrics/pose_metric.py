"""What a metric offers to whoever trains and tests: one that measures estimated poses against a ground truth it knows."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from hrpose.structures import Poses


class PoseMetric(Protocol):
    """A torchmetrics metric of poses that knows its ground truth.

    Attributes:
        leading: the logged number that tells which of two checkpoints is better, "AP" or "PCKh".
    """

    leading: str

    def update_poses(self, poses: Poses) -> None:
        """Take in estimated poses, in any number of batches and processes."""

    def logged(self) -> dict[str, Tensor]:
        """Evaluate everything taken in by all processes: scalars by the names that logs give them."""

    def results(self) -> list[dict[str, Any]]:
        """Give the poses of all processes as rows of a result file; every process must call it."""

    def reset(self) -> None:
        """Forget everything taken in."""
