"""Percentage of correct keypoints (PCK) and its MPII form (PCKh) as torchmetrics metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrpose.metrics.functional.oks import Floats
from hrpose.metrics.functional.pck import NUM_MPII_KEYPOINTS, head_sizes, mean_pck, normalized_errors, pck, pckh_table
from hrpose.metrics.tables import TableMetric


class PercentageOfCorrectKeypoints(TableMetric):
    """Compute the share of keypoints that lie within a share of the person's size of where they belong.

    As output of `forward` and `compute` the metric gives a dict: `PCK`, the share of all labelled keypoints, and `per_keypoint`
    (K,), both float64; NaN where nothing is labelled.

    Args:
        num_keypoints: K.
        threshold: the largest error that is correct, in units of the size, included.
        kwargs: as of torchmetrics.Metric.

    Raises:
        ValueError: if an argument is not positive.

    Example:
        >>> from hrpose.metrics import PercentageOfCorrectKeypoints
        >>> metric = PercentageOfCorrectKeypoints(num_keypoints=2)
        >>> preds = torch.tensor([[[10.0, 10.0], [20.0, 20.0]]])
        >>> metric.update(preds, preds + torch.tensor([0.0, 15.0]), sizes=torch.tensor([100.0]))
        >>> metric.compute()["PCK"]
        tensor(1., dtype=torch.float64)
    """

    higher_is_better: bool = True

    def __init__(self, num_keypoints: int, *, threshold: float = 0.2, **kwargs: Any) -> None:
        if num_keypoints < 1 or not threshold > 0:
            raise ValueError(
                "Expected arguments `num_keypoints` and `threshold` to be positive, "
                f"but got {num_keypoints} and {threshold}."
            )
        super().__init__(_columns(num_keypoints), **kwargs)
        self.num_keypoints = num_keypoints
        self.threshold = threshold

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        sizes: Tensor,
        labelled: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Take in persons.

        Args:
            preds: (N, K, 2) in image pixels; a third column, the score, is not looked at.
            target: (N, K, 2) in image pixels.
            sizes: (N,) yardsticks in pixels: the head, the torso, the longer side of the box.
            labelled: (N, K) whether a keypoint is annotated, all if left out.
            ids: (N,) integers, by which a person that comes twice counts once.

        Raises:
            ValueError: if the shapes disagree, a size is not positive, or a number is not finite.
        """
        self._append(_rows(preds, target, _numpy(sizes), labelled, ids, self.num_keypoints))

    def compute(self) -> dict[str, Tensor]:
        """Evaluate everything taken in by all processes."""
        errors, labelled = _unpack(self._tables())
        return {
            "PCK": torch.tensor(mean_pck(errors, labelled, self.threshold), dtype=torch.float64, device=self.device),
            "per_keypoint": torch.as_tensor(pck(errors, labelled, self.threshold), device=self.device),
        }


class PCKh(TableMetric):
    """Compute the table of the MPII single-person benchmark, in percent.

    As output of `forward` and `compute` the metric gives a dict of float64 scalars: Head, Shoulder, Elbow, Wrist, Hip, Knee,
    Ankle, Mean (all at 0.5 head sizes), Mean@0.11 and Mean@0.10; `hrpose.metrics.functional.pckh_table` tells which is which.

    Args:
        kwargs: as of torchmetrics.Metric.
    """

    higher_is_better: bool = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_columns(NUM_MPII_KEYPOINTS), **kwargs)

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        head_boxes: Tensor,
        labelled: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Take in persons, their keypoints in MPII's order.

        Args:
            preds: (N, 16, 2) in image pixels; a third column, the score, is not looked at.
            target: (N, 16, 2) in image pixels, counted from the same origin.
            head_boxes: (N, 2, 2) two opposite corners x y in pixels.
            labelled: (N, 16) whether a keypoint is annotated, all if left out.
            ids: (N,) integers, by which a person that comes twice counts once.

        Raises:
            ValueError: if the shapes disagree, a head box is empty, or a number is not finite.
        """
        sizes = head_sizes(_numpy(head_boxes))
        self._append(_rows(preds, target, sizes, labelled, ids, NUM_MPII_KEYPOINTS))

    def compute(self) -> dict[str, Tensor]:
        """Evaluate everything taken in by all processes."""
        table = pckh_table(*_unpack(self._tables()))
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in table.items()}


def _columns(num_keypoints: int) -> dict[str, tuple[int, torch.dtype]]:
    """Rows of errors and flags (labelled or not); keys: id, whether it was given."""
    return {"rows": (2 * num_keypoints, torch.float64), "keys": (2, torch.int64)}


def _rows(
    preds: Tensor, target: Tensor, sizes: Floats, labelled: Tensor | None, ids: Tensor | None, num_keypoints: int
) -> dict[str, NDArray[Any]]:
    given, wanted = _numpy(preds), _numpy(target)
    if given.ndim != 3 or given.shape[1] != num_keypoints or given.shape[2] not in (2, 3):
        raise ValueError(
            f"Expected argument `preds` to be (N, {num_keypoints}, 2) or (N, {num_keypoints}, 3), but got {given.shape}."
        )
    mask = np.ones(given.shape[:2], dtype=bool) if labelled is None else _numpy(labelled) > 0
    if mask.shape != given.shape[:2]:
        raise ValueError(f"Expected argument `labelled` to be {given.shape[:2]}, but got {mask.shape}.")
    if ids is not None and tuple(ids.shape) != (len(given),):
        raise ValueError(f"Expected argument `ids` to be ({len(given)},), but got {tuple(ids.shape)}.")
    errors = np.where(mask, normalized_errors(given[..., :2], wanted, sizes), 0.0)
    if not np.isfinite(errors).all():
        raise ValueError(
            "Expected arguments `preds` and `target` to be finite where labelled, but got NaN or infinity."
        )
    keys = np.zeros((len(given), 2), dtype=np.int64)
    if ids is not None:
        keys[:, 0], keys[:, 1] = ids.cpu().numpy(), 1
    return {"rows": np.concatenate([errors, mask], axis=1), "keys": keys}


def _unpack(tables: dict[str, NDArray[Any]]) -> tuple[Floats, NDArray[np.bool_]]:
    """Give errors and flags (N, K), each id once."""
    rows, (ids, given) = tables["rows"], tables["keys"].T
    named = np.flatnonzero(given)
    _, first = np.unique(ids[named], return_index=True)
    kept = rows[np.sort(np.concatenate([np.flatnonzero(given == 0), named[first]]))]
    errors, labelled = np.split(kept, 2, axis=1)
    return errors, labelled > 0


def _numpy(value: Tensor) -> Floats:
    """Widen to float64, exactly."""
    array: Floats = torch.as_tensor(value).detach().to("cpu", torch.float64).numpy()
    return array
