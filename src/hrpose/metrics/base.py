"""Base classes of the metrics: their protocol, their state as tables, and the input of poses and annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from hrpose.metrics.functional.oks import keypoint_variances
from hrpose.metrics.rows import (
    NUM_PREDICTION_VALUES,
    NUM_TARGET_VALUES,
    Predictions,
    Rows,
    check_truth,
    collect_predictions,
    collect_truth,
    rows_from_images,
    rows_from_poses,
)
from hrpose.structures import GroundTruth, Poses

_T = TypeVar("_T")


class PoseMetric(Protocol):
    """A torchmetrics metric of poses with a known ground truth.

    Attributes:
        leading: the logged number that ranks checkpoints, "AP" or "PCKh".
    """

    leading: str

    def update_poses(self, poses: Poses) -> None:
        """Add estimated poses."""

    def logged(self) -> dict[str, Tensor]:
        """Compute the scalars to log, by name, over all processes."""

    def results(self) -> list[dict[str, Any]]:
        """Return the poses of all processes as rows of a result file; every process must call it."""

    def reset(self) -> None:
        """Reset the state."""


class TableMetric(Metric):
    """A metric with tables of numbers as state.

    Each table is a list state of (rows, columns) tensors. Every process has at least a tensor without rows, so processes
    without data take part in gathering. Tables keep their type when the metric is moved or cast. `columns` has the number of
    columns and the type of each table; the other arguments are those of `torchmetrics.Metric`.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(
        self, columns: Mapping[str, tuple[int, torch.dtype]], *, dist_sync_on_step: bool = False, sync_on_compute: bool = True
    ) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self._columns = dict(columns)
        for name in self._columns:
            self.add_state(name, [], dist_reduce_fx="cat")
        self._prime()

    @property
    def update_called(self) -> bool:
        """Return whether there is something to compute; always True in a process group, where one share may be empty."""
        return self._update_count > 0 or bool(self.distributed_available_fn())

    def reset(self) -> None:
        """Reset the state."""
        if self._is_synced and self._cache is not None:
            self.unsync()
        super().reset()
        self._prime()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the state of another metric of this class."""
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += 1

    def _append(self, tables: Mapping[str, NDArray[Any]]) -> None:
        for name, rows in tables.items():
            getattr(self, name).append(torch.from_numpy(np.ascontiguousarray(rows)).to(self.device))

    def _tables(self) -> dict[str, NDArray[Any]]:
        """Return the tables, of all processes if the state is synced."""
        states = {name: getattr(self, name) for name in self._columns}
        return {name: (state if isinstance(state, Tensor) else torch.cat(state)).cpu().numpy() for name, state in states.items()}

    def _everywhere(self, read: Callable[[], _T]) -> _T:
        """Return the result of a function with the state of all processes; every process must call it."""
        if self._is_synced:
            return read()
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return read()

    def _prime(self) -> None:
        for name, (width, dtype) in self._columns.items():
            getattr(self, name).append(torch.zeros((0, width), dtype=dtype, device=self.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> TableMetric:
        """Move the tables with the module without casting them."""
        self._computed = None
        super()._apply(fn, exclude_state=tuple(self._defaults))
        for name in self._defaults:
            state = getattr(self, name)
            moved = state.to(self.device) if isinstance(state, Tensor) else [part.to(self.device) for part in state]
            setattr(self, name, moved)
        return self


class KeypointMetric(TableMetric):
    """A metric with predicted and annotated poses as state; see `hrpose.metrics.rows` for its tables.

    For the arguments see `hrpose.metrics.KeypointAveragePrecision`. With `ground_truth`, `update` takes predictions only.
    """

    def __init__(
        self,
        sigmas: ArrayLike,
        ground_truth: GroundTruth | None = None,
        *,
        dist_sync_on_step: bool = False,
        sync_on_compute: bool = True,
    ) -> None:
        variances = keypoint_variances(sigmas)
        columns = {
            "images": (4, torch.int64),
            "prediction_keys": (3, torch.int64),
            "prediction_rows": (NUM_PREDICTION_VALUES + 3 * len(variances), torch.float64),
            "target_keys": (5, torch.int64),
            "target_rows": (NUM_TARGET_VALUES + 3 * len(variances), torch.float64),
        }
        super().__init__(columns, dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self.sigmas = tuple(np.asarray(sigmas, dtype=np.float64).tolist())
        if ground_truth is not None:
            check_truth(ground_truth, self.num_keypoints)
        self.ground_truth = ground_truth
        self.area_keypoints: int | None = None

    @property
    def num_keypoints(self) -> int:
        """Return K."""
        return len(self.sigmas)

    def update(self, preds: Sequence[Mapping[str, Any]] | Poses, target: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Add predictions and, unless it was given at construction, the ground truth of the same images.

        Args:
            preds: one dict per image, or poses, see `update_poses`. Entries of a dict:

                - `keypoints`: (N, K, 2) x y in image pixels, or (N, K, 3) x y score;
                - `scores`: (N,);
                - `labels`: (N,) integer categories, 0 by default;
                - `boxes`: (N, 4) xywh; `areas`: (N,) in square pixels, by default those of the boxes, or of the boxes around the
                  keypoints; an unmatched prediction outside an area range is ignored in it;
                - `ids`: (N,) instance ids, so that duplicates count once;
                - `image_id`: integer, required if an image is in several updates, or the ground truth is already known.
            target: one dict per image, in the order of `preds`. Entries:

                - `keypoints`: (M, K, 3) x y visibility (0 unlabelled, 1 occluded, 2 visible);
                - `area`: (M,) in square pixels, for OKS;
                - `labels`: (M,) integer categories, 0 by default;
                - `iscrowd`: (M,) 0 or 1, 0 by default;
                - `num_keypoints`: (M,) integers, by default the number of labelled keypoints; instances of 0 are ignored;
                - `boxes`: (M, 4) xywh, required for instances without labelled keypoint;
                - `ids`: (M,) annotation ids; `image_id`: as in `preds`.

        Raises:
            ValueError: if an entry is missing, unknown, of the wrong shape, or has NaN.
        """
        if isinstance(preds, Poses):
            rows = rows_from_poses(preds, self.num_keypoints, self._poses_category())
        else:
            if (target is None) != (self.ground_truth is not None):
                raise ValueError(
                    "Expected either argument `target` or `ground_truth` at construction, but got "
                    f"{'none' if target is None else 'both'}."
                )
            rows = rows_from_images(preds, target, self.num_keypoints)
        self._append(vars(rows))

    def update_poses(self, poses: Poses) -> None:
        """Add estimated poses; the ground truth must have been given at construction.

        The poses of an image may be spread over updates and processes; duplicates of image id and instance id count once.

        Raises:
            ValueError: if no ground truth was given, the number of keypoints is wrong, or a number is not finite.
        """
        self.update(poses)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw a result of `compute` or `forward`, or a list of them (None calls `compute`); return the figure and its axes."""
        return self._plot(val, ax)

    def _poses_category(self) -> int:
        """Return the category of poses: the only one of the ground truth, otherwise 1, person in COCO."""
        if self.ground_truth is None:
            raise ValueError(
                "Expected `ground_truth` at construction to evaluate Poses, but got none. Set it, or pass dicts with targets."
            )
        categories = set(self.ground_truth.category_ids.tolist())
        return int(categories.pop()) if len(categories) == 1 else 1

    def _gathered(self) -> tuple[Predictions, GroundTruth]:
        """Unpack the state, of all processes if it is synced."""
        rows = Rows(**self._tables())
        truth = collect_truth(rows, self.num_keypoints) if self.ground_truth is None else self.ground_truth
        if self.ground_truth is not None and not (rows.images[:, 1] != 0).all():
            raise ValueError("Expected `image_id` in every dict of `preds`, because the ground truth is known, but some lack it.")
        return collect_predictions(rows, self.num_keypoints, area_keypoints=self.area_keypoints), truth
