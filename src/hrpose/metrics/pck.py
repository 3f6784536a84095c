"""Percentage of correct keypoints (PCK) and its MPII form (PCKh) as torchmetrics metrics."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrpose.metrics.base import TableMetric
from hrpose.metrics.functional.oks import Floats
from hrpose.metrics.functional.pck import (
    NUM_MPII_KEYPOINTS,
    PCKH_COLUMNS,
    head_sizes,
    mean_pck,
    normalized_errors,
    pck,
    pckh_table,
)
from hrpose.structures import MpiiTruth, Poses, exact_int64

_Array: TypeAlias = Tensor | NDArray[Any]
PCKH_LOG_NAMES = {name: name.replace("Mean", "PCKh") if "Mean" in name else f"PCKh_{name}" for name in PCKH_COLUMNS}
"""Names of the numbers in logs: PCKh (Mean), PCKh@0.11, PCKh@0.10, PCKh_Head, ..."""


class PercentageOfCorrectKeypoints(TableMetric):
    """Compute the share of keypoints with an error of at most a share of the instance's size.

    `forward` and `compute` return a dict: `PCK`, the share of all labelled keypoints, and `per_keypoint` (K,), both float64; NaN
    without labelled keypoints.

    Args:
        num_keypoints: K.
        threshold: the largest correct error, in units of the size.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` gathers the state of all processes.

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

    def __init__(
        self, num_keypoints: int, *, threshold: float = 0.2, dist_sync_on_step: bool = False, sync_on_compute: bool = True
    ) -> None:
        if num_keypoints < 1 or not threshold > 0:
            raise ValueError(
                f"Expected arguments `num_keypoints` and `threshold` to be positive, but got {num_keypoints} and {threshold}."
            )
        super().__init__(_columns(num_keypoints), dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self.num_keypoints = num_keypoints
        self.threshold = threshold

    def update(
        self, preds: Tensor, target: Tensor, sizes: Tensor, labelled: Tensor | None = None, ids: Tensor | None = None
    ) -> None:
        """Add instances.

        Args:
            preds: (N, K, 2) in image pixels; a third column, the score, is ignored.
            target: (N, K, 2) in image pixels.
            sizes: (N,) in pixels, such as the size of the head or torso, or the longer side of the box.
            labelled: (N, K) whether a keypoint is annotated; all by default.
            ids: (N,) integers, so that duplicates count once.

        Raises:
            ValueError: if the shapes do not match, a size is not positive, or a number is not finite.
        """
        self._append(_rows(preds, target, _numpy(sizes), labelled, ids, self.num_keypoints))

    def compute(self) -> dict[str, Tensor]:
        """Compute PCK over all processes."""
        errors, labelled = _unpack(self._tables())
        return {
            "PCK": torch.tensor(mean_pck(errors, labelled, self.threshold), dtype=torch.float64, device=self.device),
            "per_keypoint": torch.as_tensor(pck(errors, labelled, self.threshold), device=self.device),
        }


class PCKh(TableMetric):
    """Compute the table of the MPII single-person benchmark, in percent.

    `update` takes keypoints with targets and head boxes; `update_poses` takes estimated `Poses` if `ground_truth` was given. All
    keypoints of persons without pose count as wrong.

    `forward` and `compute` return a dict of float64 scalars: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle, Mean (all at 0.5
    head sizes), Mean@0.11 and Mean@0.10; see `hrpose.metrics.functional.pckh_table`.

    Args:
        ground_truth: the annotations, if they are known at construction.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` gathers the state of all processes.
    """

    higher_is_better: bool = True
    leading = "PCKh"

    def __init__(
        self, ground_truth: MpiiTruth | None = None, *, dist_sync_on_step: bool = False, sync_on_compute: bool = True
    ) -> None:
        poses = {} if ground_truth is None else {"poses": (3 * NUM_MPII_KEYPOINTS, torch.float64)}
        super().__init__(
            {**_columns(NUM_MPII_KEYPOINTS), **poses}, dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute
        )
        self.ground_truth = ground_truth

    def update(
        self,
        preds: Tensor | Poses,
        target: Tensor | None = None,
        head_boxes: Tensor | None = None,
        labelled: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Add persons with keypoints in MPII's order.

        Args:
            preds: (N, 16, 2) in image pixels; a third column, the score, is ignored. Or poses, see `update_poses`.
            target: (N, 16, 2) in the same pixels.
            head_boxes: (N, 2, 2) two opposite corners x y in pixels.
            labelled: (N, 16) whether a keypoint is annotated; all by default.
            ids: (N,) integers, so that duplicates count once.

        Raises:
            ValueError: if the shapes do not match, a head box is empty, a number is not finite, or targets are given both here
                and at construction, or not at all.
        """
        if isinstance(preds, Poses):
            self._append(_rows_of_poses(preds, self.ground_truth))
            return
        if target is None or head_boxes is None or self.ground_truth is not None:
            raise ValueError(
                "Expected arguments `target` and `head_boxes`, or poses if a `ground_truth` was given at construction, "
                f"but got keypoints {'without them' if self.ground_truth is None else 'and a ground truth'}."
            )
        sizes = head_sizes(_numpy(head_boxes))
        self._append(_rows(preds, target, sizes, labelled, ids, NUM_MPII_KEYPOINTS))

    def update_poses(self, poses: Poses) -> None:
        """Add estimated poses; the ground truth must have been given at construction.

        Convention:
            Poses count pixels from 0, MPII's ground truth counts from 1: 1 is added to the poses, as in the official code.

        Args:
            poses: N poses; the instance id is the index in the ground truth. Duplicates count once.

        Raises:
            ValueError: if no ground truth was given, the number of keypoints is wrong, an instance id is not an index of the
                ground truth, or a coordinate is not finite.
        """
        self.update(poses)

    def compute(self) -> dict[str, Tensor]:
        """Compute the table over all processes."""
        tables = self._tables()
        errors, labelled = _unpack(tables)
        if self.ground_truth is not None:
            labelled = self.ground_truth.labelled
            found, errors = errors, np.full(labelled.shape, np.inf)
            errors[tables["keys"][_once(tables["keys"]), 0]] = found
        table = pckh_table(errors, labelled)
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in table.items()}

    def logged(self) -> dict[str, Tensor]:
        """Return the result of `compute` with the names for logs; `leading` is the Mean."""
        return {PCKH_LOG_NAMES[name]: value for name, value in self.compute().items()}

    def results(self) -> list[dict[str, Any]]:
        """Return the poses of all processes without duplicates; every process must call it.

        Returns:
            One dict per pose, in the order of the ground truth: `entry`, the index in it, and `keypoints` [x, y, score] * 16 in
            image pixels, counted from 0.
        """
        if self.ground_truth is None:
            raise ValueError("Expected `ground_truth` at construction to return poses, but got none.")
        tables = self._everywhere(self._tables)
        kept = _once(tables["keys"])
        ids, poses = tables["keys"][kept, 0], tables["poses"][kept]
        return [{"entry": int(ids[row]), "keypoints": poses[row].tolist()} for row in np.argsort(ids)]


def _columns(num_keypoints: int) -> dict[str, tuple[int, torch.dtype]]:
    """Return the tables: rows of errors and flags (labelled or not); keys: id, whether it was given."""
    return {"rows": (2 * num_keypoints, torch.float64), "keys": (2, torch.int64)}


def _rows(
    preds: _Array, target: _Array, sizes: Floats, labelled: _Array | None, ids: _Array | None, num_keypoints: int
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
        raise ValueError("Expected arguments `preds` and `target` to be finite where labelled, but got NaN or infinity.")
    keys = np.zeros((len(given), 2), dtype=np.int64)
    if ids is not None:
        keys[:, 0], keys[:, 1] = exact_int64(torch.as_tensor(ids).cpu().numpy(), "argument `ids`"), 1
    return {"rows": np.concatenate([errors, mask], axis=1), "keys": keys}


def _rows_of_poses(poses: Poses, truth: MpiiTruth | None) -> dict[str, NDArray[Any]]:
    if truth is None:
        raise ValueError(
            "Expected `ground_truth` at construction to evaluate Poses, but got none. Set it, or pass keypoints with targets and "
            "head boxes."
        )
    ids = poses.instance_ids
    unknown = ids[(ids < 0) | (ids >= len(truth))]
    if len(unknown):
        raise ValueError(
            f"Expected instance ids of poses to be indices of the ground truth, 0 to {len(truth) - 1}, but found "
            f"{unknown[:5].tolist()}."
        )
    sizes = head_sizes(truth.head_boxes[ids])
    rows = _rows(poses.keypoints + 1, truth.keypoints[ids], sizes, truth.labelled[ids], ids, NUM_MPII_KEYPOINTS)
    triplets = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    return {**rows, "poses": triplets.reshape(len(ids), -1)}


def _once(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that count, in their order: the first of each id, and all without id."""
    ids, given = keys.T
    named = np.flatnonzero(given)
    _, first = np.unique(ids[named], return_index=True)
    kept: NDArray[np.int64] = np.sort(np.concatenate([np.flatnonzero(given == 0), named[first]]))
    return kept


def _unpack(tables: dict[str, NDArray[Any]]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return errors and flags (N, K) without duplicates."""
    errors, labelled = np.split(tables["rows"][_once(tables["keys"])], 2, axis=1)
    return errors, labelled > 0


def _numpy(value: _Array) -> Floats:
    """Convert to a float64 array."""
    array: Floats = torch.as_tensor(value).detach().to("cpu", torch.float64).numpy()
    return array
