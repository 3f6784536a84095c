"""Compare the keypoints of an exported file with those of its network.

A file in fp32 must agree on every keypoint except ties: keypoints that depend on two heatmap cells that are equal up to rounding.
Ties are counted and reported. A file of lower precision moves every keypoint a little; the share that moves far is limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrpose.codecs import Codec

TOLERANCE = 0.01
"""Largest difference in pixels of a keypoint that is not a tie in fp32."""
_MAX_TIES = 0.02  # share of keypoints
_SCORE_TOLERANCE = 0.001  # rounding changes scores by a few millionths
MAX_SHIFT = 0.03
"""Share of the longer side of a crop that keypoints may move by: two heatmap cells of 256 x 192 crops."""
MAX_SHIFTED = {"fp16": 0.02, "bf16": 0.02, "int8": 0.1}
"""Share of confident keypoints that may move by more, by the precision of the file."""
_MAX_MEDIAN_SHIFT = 0.01
_ROUNDING = 1e-5  # of the highest value of a heatmap: the rounding error of a hundred layers in fp32
_DRAWS = 8


@dataclass(frozen=True)
class Comparison:
    """The differences between an exported file and the network."""

    num_crops: int  # number of crops
    num_keypoints: int  # number of keypoints
    largest: float  # the largest difference of a keypoint that is not a tie, in image pixels
    median: float  # the median difference of all keypoints, in image pixels
    moved: float  # share of all keypoints that differ by more than 0.01 pixels
    undecided: float  # share of all keypoints that differ by more than 0.01 pixels and are ties
    largest_score: float  # the largest difference of a score
    not_finite: float  # share of keypoints with a NaN or infinite position or score in the file
    num_confident: int  # number of keypoints with a confident score of the network
    shifted: float  # share of these that move by more than `MAX_SHIFT` of the longer side of their crop
    median_shift: float  # the median shift of these, as a share of the longer side of their crop

    def exact_faults(self) -> list[str]:
        """Return why a file in fp32 differs from the network; an empty list if it does not."""
        ties = f"more than {_MAX_TIES:.0%} of the keypoints are ties, as in flat heatmaps of a network that is hardly trained"
        return _above(
            (self.largest, TOLERANCE, f"keypoints differ by more than {TOLERANCE:g} px"),
            (self.largest_score, _SCORE_TOLERANCE, f"scores differ by more than {_SCORE_TOLERANCE:g}"),
            (self.undecided, _MAX_TIES, ties),
        )

    def bounded_faults(self, max_shifted: float) -> list[str]:
        """Return why a file of lower precision than fp32 differs too much from the network; an empty list if it does not.

        Args:
            max_shifted: share of confident keypoints that may move by more than `MAX_SHIFT`.
        """
        if not self.num_confident:
            return [
                "no keypoint of the crops has a confident score, so nothing can be compared: set photos=<folder> with images "
                "similar to the training images"
            ]
        who, side = "of the confident keypoints", "of the longer side of their crop"
        many = f"{self.shifted:.1%} {who} move by more than {MAX_SHIFT:.0%} {side} (allowed {max_shifted:.0%})"
        far = f"the median shift {who} is {self.median_shift:.2%} {side} (allowed {_MAX_MEDIAN_SHIFT:.0%})"
        return _above((self.shifted, max_shifted, many), (self.median_shift, _MAX_MEDIAN_SHIFT, far))

    def describe_bounds(self, max_shifted: float) -> str:
        """Return the numbers of `bounded_faults` and their limits in one line."""
        return (
            f"of {self.num_confident} confident keypoints {self.shifted:.1%} move by more than {MAX_SHIFT:.0%} of the longer "
            f"side of their crop (allowed {max_shifted:.0%}), the median shift is {self.median_shift:.2%} (allowed "
            f"{_MAX_MEDIAN_SHIFT:.0%})"
        )

    def __str__(self) -> str:
        """Return the differences in one line."""
        return (
            f"largest difference {self.largest:.2g} px, median {self.median:.2g} px on {self.num_keypoints} keypoints of "
            f"{self.num_crops} crops; {self.undecided:.2%} are ties and differ; scores within {self.largest_score:.2g}"
        )


def _above(*limits: tuple[float, float, str]) -> list[str]:
    """Return the faults of values (value, limit, fault) that are above their limit or NaN."""
    return [fault for value, limit, fault in limits if not value <= limit]


class Comparer:
    """Collects the keypoints of a file and of the network by batch, and compares them."""

    def __init__(self) -> None:
        self._batches: list[tuple[NDArray[Any], ...]] = []

    def update(
        self,
        found: tuple[NDArray[np.float64], NDArray[np.float32]],
        expected: tuple[NDArray[np.float64], NDArray[np.float32]],
        tied: NDArray[np.bool_],
        *,
        sides: NDArray[np.float64],
        confidence: float,
    ) -> None:
        """Add a batch.

        Args:
            found: keypoints (B, K, 2) in image pixels and scores (B, K) of the file.
            expected: those of the network.
            tied: (B, K) which keypoints are ties, see `find_ties`.
            sides: (B,) the longer sides of the crops in image pixels.
            confidence: keypoints with a score of the network above it are confident.
        """
        off = distances(found[0], expected[0])
        shifts = np.where(np.isfinite(off), off / sides[:, None], np.inf)[expected[1] > confidence]
        not_finite = ~(np.isfinite(found[0]).all(axis=-1) & np.isfinite(found[1]))
        self._batches.append((off, tied, shifts, not_finite, np.abs(found[1] - expected[1])))

    def compare(self) -> Comparison:
        """Compare all batches; raise ValueError if there were no crops."""
        if not any(len(batch[0]) for batch in self._batches):
            raise ValueError("Expected crops to compare, found none. Set photos=<folder with images>.")
        off, tied, shifts, not_finite, score_differences = map(np.concatenate, zip(*self._batches, strict=True))
        moved = ~(off <= TOLERANCE)  # includes NaN
        return Comparison(
            num_crops=len(off),
            num_keypoints=off.size,
            largest=_largest(off[~(moved & tied)]),
            median=float(np.median(off)),
            moved=float(moved.mean()),
            undecided=float((moved & tied).mean()),
            largest_score=_largest(score_differences),
            not_finite=float(not_finite.mean()),
            num_confident=len(shifts),
            shifted=float((~(shifts <= MAX_SHIFT)).mean()) if len(shifts) else 0.0,
            median_shift=float(np.median(shifts)) if len(shifts) else 0.0,
        )


def _largest(differences: NDArray[Any]) -> float:
    return float(differences.max(initial=0.0)) if np.isfinite(differences).all() else float("inf")


def distances(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances (B, K) between keypoints (B, K, 2)."""
    apart: NDArray[np.float64] = np.linalg.norm(found - expected, axis=-1)
    return apart


def find_ties(codec: Codec, heatmaps: Tensor, image_from_input: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find keypoints (B, K) that move by more than 0.01 image pixels when heatmaps (B, C, ...) change by rounding errors.

    Engines sum in different orders. Each heatmap is changed eight times by random numbers up to 1e-5 of its highest value. A
    keypoint that then moves in torch is a tie.
    """
    generator = torch.Generator().manual_seed(0)
    heatmaps = heatmaps.detach().float().cpu()
    steps = _ROUNDING * heatmaps.abs().amax(tuple(range(1, heatmaps.ndim)), keepdim=True).clamp(min=1e-30)
    zoom = np.abs(image_from_input[..., :2]).sum(axis=-1).max(axis=-1)
    keypoints = codec.decode(heatmaps)[0]
    tied = torch.zeros(keypoints.shape[:2], dtype=torch.bool)
    for _ in range(_DRAWS):
        noise = torch.rand(heatmaps.shape, generator=generator) * 2 - 1
        apart = (codec.decode(heatmaps + steps * noise)[0] - keypoints).norm(dim=-1)
        tied |= ~(apart * torch.from_numpy(zoom).float()[:, None] <= TOLERANCE / 2)
    result: NDArray[np.bool_] = tied.numpy()
    return result
