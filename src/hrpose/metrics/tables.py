"""A torchmetrics metric whose state is tables of rows: gathered by concatenation, never cast, never missing on a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric


class TableMetric(Metric):
    """Keep rows of numbers until they are evaluated.

    Each table is a list state of (rows, columns) tensors. Every process holds at least a tensor of no rows, so one that saw
    nothing takes part in the gathering like any other. Tables keep their type when the metric is moved or cast.

    Args:
        columns: for each table its number of columns and its type.
        kwargs: as of torchmetrics.Metric.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(self, columns: Mapping[str, tuple[int, torch.dtype]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
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
