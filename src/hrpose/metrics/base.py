"""What the keypoint metrics share: the state, its checks, and its way through several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics import Metric

from hrpose.metrics.collect import Predictions, check_truth, collect_predictions, collect_truth
from hrpose.metrics.functional.oks import keypoint_variances
from hrpose.metrics.rows import NUM_PERSON_VALUES, NUM_PREDICTION_VALUES, Rows, rows_from_images, rows_from_poses
from hrpose.structures import GroundTruth, Poses


class KeypointMetric(Metric):
    """Hold predicted and annotated poses until they are evaluated.

    The state is five lists of tensors (`hrpose.metrics.rows` tells their columns), gathered by concatenation. Every process
    holds at least a tensor of no rows, so one that saw no photo takes part in the gathering like any other. Floating-point
    state is float64 and stays so when the metric is moved or cast: AP is told to the last bit.

    Args:
        sigmas: (K,) per-keypoint constants of the skeleton.
        ground_truth: what to evaluate against if it is known beforehand; `update` then takes predictions only.
        kwargs: as of torchmetrics.Metric.

    Raises:
        ValueError: if the sigmas are not positive, or the ground truth does not suit them or is faulty.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(self, sigmas: ArrayLike, ground_truth: GroundTruth | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sigmas = tuple(float(sigma) for sigma in torch.as_tensor(sigmas, dtype=torch.float64).reshape(-1))
        keypoint_variances(self.sigmas)
        if ground_truth is not None:
            check_truth(ground_truth, self.num_keypoints)
        self.ground_truth = ground_truth
        for name in self._widths():
            self.add_state(name, [], dist_reduce_fx="cat")
        self._prime()

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.sigmas)

    @property
    def update_called(self) -> bool:
        """Whether there is something to compute; a process whose share of the photos is empty has been given its all."""
        return self._update_count > 0 or bool(self.distributed_available_fn())

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
        for field in fields(Rows):
            getattr(self, field.name).append(torch.from_numpy(getattr(rows, field.name)).to(self.device))

    def update_poses(self, poses: Poses) -> None:
        """Take in estimated poses whose ground truth was given at construction.

        The poses of a photo may come in any number of updates and processes; one that comes twice counts once.

        Args:
            poses: N poses, told apart by image id and instance id.

        Raises:
            ValueError: if no ground truth was given, the number of keypoints is wrong, or a number is not finite.
        """
        self.update(poses)

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
        rows = Rows(**{name: _joined(getattr(self, name)).cpu().numpy() for name in self._widths()})
        truth = collect_truth(rows, self.num_keypoints) if self.ground_truth is None else self.ground_truth
        if self.ground_truth is not None and not (rows.images[:, 1] != 0).all():
            raise ValueError(
                "Expected every dict in `preds` to have an `image_id` of the ground truth, but got none in some."
            )
        return collect_predictions(rows, self.num_keypoints), truth

    def _gathered_everywhere(self) -> tuple[Predictions, GroundTruth]:
        """Unpack the state of all processes; every process must call it."""
        if self._is_synced:
            return self._gathered()
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._gathered()

    def _widths(self) -> dict[str, tuple[int, torch.dtype]]:
        """The columns of each state table."""
        return {
            "images": (4, torch.int64),
            "prediction_keys": (3, torch.int64),
            "prediction_rows": (NUM_PREDICTION_VALUES + 3 * self.num_keypoints, torch.float64),
            "person_keys": (4, torch.int64),
            "person_rows": (NUM_PERSON_VALUES + 3 * self.num_keypoints, torch.float64),
        }

    def _prime(self) -> None:
        for name, (width, dtype) in self._widths().items():
            getattr(self, name).append(torch.zeros((0, width), dtype=dtype, device=self.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> KeypointMetric:
        """Move the state with the module, but never cast it."""
        self._computed = None
        super()._apply(fn, exclude_state=tuple(self._defaults))
        for name in self._defaults:
            state = getattr(self, name)
            moved = state.to(self.device) if isinstance(state, Tensor) else [part.to(self.device) for part in state]
            setattr(self, name, moved)
        return self


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    """Give a state as one tensor: a list before it was synced, a tensor after."""
    return state if isinstance(state, Tensor) else torch.cat(state)
