"""The base classes of the metrics: their protocol, state as tables of rows, and input of poses and annotations for OKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from hrpose.metrics.functional.oks import keypoint_variances
from hrpose.metrics.rows import (
    NUM_PERSON_VALUES,
    NUM_PREDICTION_VALUES,
    Predictions,
    Rows,
    check_truth,
    collect_predictions,
    collect_truth,
    rows_from_images,
    rows_from_poses,
)
from hrpose.structures import GroundTruth, Poses


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


class TableMetric(Metric):
    """Keep rows of numbers until they are evaluated.

    Each table is a list state of (rows, columns) tensors. Every process holds at least a tensor of no rows, so one that saw
    nothing takes part in the gathering like any other. Tables keep their type when the metric is moved or cast.

    Args:
        columns: for each table its number of columns and its type.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` does.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(
        self,
        columns: Mapping[str, tuple[int, torch.dtype]],
        *,
        dist_sync_on_step: bool = False,
        sync_on_compute: bool = True,
    ) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self._columns = dict(columns)
        for name in self._columns:
            self.add_state(name, [], dist_reduce_fx="cat")
        self._prime()

    @property
    def update_called(self) -> bool:
        """Whether there is something to compute; a process whose share is empty has been given its all."""
        return self._update_count > 0 or bool(self.distributed_available_fn())

    def reset(self) -> None:
        """Forget everything taken in."""
        if self._is_synced and self._cache is not None:
            self.unsync()
        super().reset()
        self._prime()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Take in what another metric of this kind has taken in."""
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += 1

    def _append(self, tables: Mapping[str, NDArray[Any]]) -> None:
        for name, rows in tables.items():
            getattr(self, name).append(torch.from_numpy(np.ascontiguousarray(rows)).to(self.device))

    def _tables(self) -> dict[str, NDArray[Any]]:
        """The tables as they stand: of all processes if the state is synced."""
        states = {name: getattr(self, name) for name in self._columns}
        return {
            name: (state if isinstance(state, Tensor) else torch.cat(state)).cpu().numpy()
            for name, state in states.items()
        }

    def _tables_everywhere(self) -> dict[str, NDArray[Any]]:
        """The tables of all processes; every process must call it."""
        if self._is_synced:
            return self._tables()
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._tables()

    def _prime(self) -> None:
        for name, (width, dtype) in self._columns.items():
            getattr(self, name).append(torch.zeros((0, width), dtype=dtype, device=self.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> TableMetric:
        """Move the tables with the module, but never cast them."""
        self._computed = None
        super()._apply(fn, exclude_state=tuple(self._defaults))
        for name in self._defaults:
            state = getattr(self, name)
            moved = state.to(self.device) if isinstance(state, Tensor) else [part.to(self.device) for part in state]
            setattr(self, name, moved)
        return self


class KeypointMetric(TableMetric):
    """Hold predicted and annotated poses until they are evaluated; `hrpose.metrics.rows` tells the tables.

    Args:
        sigmas: (K,) per-keypoint constants of the skeleton.
        ground_truth: what to evaluate against if it is known beforehand; `update` then takes predictions only.
        dist_sync_on_step: whether `forward` gathers the state of all processes.
        sync_on_compute: whether `compute` does.

    Raises:
        ValueError: if the sigmas are not positive, or the ground truth does not suit them or is faulty.
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
            "person_keys": (5, torch.int64),
            "person_rows": (NUM_PERSON_VALUES + 3 * len(variances), torch.float64),
        }
        super().__init__(columns, dist_sync_on_step=dist_sync_on_step, sync_on_compute=sync_on_compute)
        self.sigmas = tuple(np.asarray(sigmas, dtype=np.float64).tolist())
        if ground_truth is not None:
            check_truth(ground_truth, self.num_keypoints)
        self.ground_truth = ground_truth
        self.area_keypoints: int | None = None

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.sigmas)

    def update(
        self, preds: Sequence[Mapping[str, Any]] | Poses, target: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Take in predictions and, unless it was given at construction, the ground truth of the same photos.

        Args:
            preds: one dict for each photo, or poses that know their photo, see `update_poses`. In a dict:

                - `keypoints`: (N, K, 2) x y in image pixels, or (N, K, 3) x y score;
                - `scores`: (N,);
                - `labels`: (N,) integer categories, 0 if left out;
                - `boxes`: (N, 4) xywh; `areas`: (N,) in square pixels, if left out that of the box or else of the keypoints'
                  extent: an unmatched prediction outside of an area range is ignored in it;
                - `ids`: (N,) instance ids, by which a prediction that comes twice counts once;
                - `image_id`: integer, needed if a photo is spread over updates, or the ground truth is already known.
            target: one dict for each photo, in the order of `preds`:

                - `keypoints`: (M, K, 3) x y visibility (0 unlabelled, 1 occluded, 2 visible);
                - `area`: (M,) in square pixels: OKS is measured by it;
                - `labels`: (M,) integer categories, 0 if left out;
                - `iscrowd`: (M,) 0 or 1, 0 if left out;
                - `num_keypoints`: (M,) integers, persons of 0 are ignored; the labelled keypoints are counted if left out;
                - `boxes`: (M, 4) xywh, needed if a person has no labelled keypoint;
                - `ids`: (M,) annotation ids; `image_id`: as in `preds`.

        Raises:
            ValueError: if an entry is missing, unknown, of the wrong shape, or holds NaN.
        """
        if isinstance(preds, Poses):
            rows = rows_from_poses(preds, self.num_keypoints, self._poses_category())
        else:
            if (target is None) != (self.ground_truth is not None):
                raise ValueError(
                    "Expected argument `target` to be given exactly if no `ground_truth` was given at construction, "
                    f"but got {'none' if target is None else 'both'}."
                )
            rows = rows_from_images(preds, target, self.num_keypoints)
        self._append(vars(rows))

    def update_poses(self, poses: Poses) -> None:
        """Take in estimated poses whose ground truth was given at construction.

        The poses of a photo may come in any number of updates and processes; one that comes twice counts once.

        Args:
            poses: N poses, told apart by image id and instance id.

        Raises:
            ValueError: if no ground truth was given, the number of keypoints is wrong, or a number is not finite.
        """
        self.update(poses)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw one result of `compute` or `forward`, or a list of them.

        Args:
            val: the results; None computes one.
            ax: matplotlib axes to draw on; None makes some.

        Returns:
            The figure and its axes.
        """
        return self._plot(val, ax)

    def _poses_category(self) -> int:
        """The category that poses have: the only one of the ground truth, or 1, COCO's person."""
        if self.ground_truth is None:
            raise ValueError(
                "Expected a `ground_truth` at construction to evaluate Poses against, but got none. "
                "Give one, or hand in dicts with their targets."
            )
        categories = set(self.ground_truth.category_ids.tolist())
        return int(categories.pop()) if len(categories) == 1 else 1

    def _gathered(self) -> tuple[Predictions, GroundTruth]:
        """Unpack the state as it stands, of all processes if it is synced."""
        rows = Rows(**self._tables())
        truth = collect_truth(rows, self.num_keypoints) if self.ground_truth is None else self.ground_truth
        if self.ground_truth is not None and not (rows.images[:, 1] != 0).all():
            raise ValueError(
                "Expected every dict in `preds` to have an `image_id` of the ground truth, but got none in some."
            )
        return collect_predictions(rows, self.num_keypoints, area_keypoints=self.area_keypoints), truth

    def _gathered_everywhere(self) -> tuple[Predictions, GroundTruth]:
        """Unpack the state of all processes; every process must call it."""
        if self._is_synced:
            return self._gathered()
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._gathered()
