"""Hold an exported file against the network it was made of, keypoint by keypoint.

A file in fp32 has to agree on every keypoint, except those that hang on ties (see `hrpose.export.ties`), which are counted and
reported. A file of less precision moves every keypoint a little: there the shares of those that move far are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.export.ties import TOLERANCE

_MOST_UNDECIDED = 0.02  # share of keypoints; more is no tie but a fault
_SCORE_TOLERANCE = 0.001  # rounding changes scores by a few millionths
MAX_SHIFT = 0.03
"""Share of the longer side of a crop that a keypoint may move by: two cells of a heatmap of 256 x 192 crops."""
MAX_SHIFTED = {"fp16": 0.02, "bf16": 0.02, "int8": 0.1}
"""Share of confident keypoints that may move further, by the precision of the file."""
_MAX_MEDIAN_SHIFT = 0.01


@dataclass(frozen=True)
class Comparison:
    """How far an exported file and the network are apart.

    Attributes:
        num_crops: crops that both have looked at.
        num_keypoints: keypoints in them.
        largest: the largest difference of a decided keypoint, in photo pixels.
        median: the median difference of all keypoints.
        moved: share of all keypoints that are more than 0.01 pixels off.
        undecided: share of all keypoints that are off, and hang on a tie.
        largest_score: the largest difference of a score.
        not_finite: share of keypoints whose place or score is NaN or infinite in the file.
        num_confident: keypoints that the network is confident of.
        shifted: share of these that move by more than `MAX_SHIFT` of the longer side of their crop.
        median_shift: the median by which these move, as a share of the longer side of their crop.
    """

    num_crops: int
    num_keypoints: int
    largest: float
    median: float
    moved: float
    undecided: float
    largest_score: float
    not_finite: float
    num_confident: int
    shifted: float
    median_shift: float

    @property
    def agrees(self) -> bool:
        """Whether every decided keypoint is within 0.01 pixels, every score within 0.001, and the undecided ones are few."""
        near = self.largest <= TOLERANCE and self.largest_score <= _SCORE_TOLERANCE
        return near and self.undecided <= _MOST_UNDECIDED

    @property
    def reason(self) -> str:
        """What is too much, if they do not agree."""
        faults = {
            f"keypoints are more than {TOLERANCE:g} px off": not self.largest <= TOLERANCE,
            f"scores are more than {_SCORE_TOLERANCE:g} off": not self.largest_score <= _SCORE_TOLERANCE,
            f"more than {_MOST_UNDECIDED:.0%} of the keypoints hang on ties, as in the flat heatmaps of a network that has "
            "hardly been trained": not self.undecided <= _MOST_UNDECIDED,
        }
        return " and ".join(fault for fault, is_so in faults.items() if is_so)

    def faults_beside(self, max_shifted: float) -> list[str]:
        """Return why a file of less precision than fp32 is not the network; an empty list if it is within the bounds.

        Args:
            max_shifted: share of confident keypoints that may move by more than `MAX_SHIFT`.
        """
        if not self.num_confident:
            return [
                "the network is confident of no keypoint of the crops, so nothing can be judged: give photos=<folder> with "
                "images like those that it was trained on"
            ]
        faults = []
        if not self.shifted <= max_shifted:
            faults.append(
                f"{self.shifted:.1%} of the confident keypoints move by more than {MAX_SHIFT:.0%} of the longer side of their "
                f"crop; allowed are {max_shifted:.0%}"
            )
        if not self.median_shift <= _MAX_MEDIAN_SHIFT:
            faults.append(
                f"the confident keypoints move by {self.median_shift:.2%} of the longer side of their crop in the median; "
                f"allowed is {_MAX_MEDIAN_SHIFT:.0%}"
            )
        return faults

    def describe_bounds(self, max_shifted: float) -> str:
        """Return what `faults_beside` compares, in one line."""
        return (
            f"of {self.num_confident} confident keypoints {self.shifted:.1%} move by more than {MAX_SHIFT:.0%} of the longer "
            f"side of their crop (allowed {max_shifted:.0%}), the median by {self.median_shift:.2%} (allowed "
            f"{_MAX_MEDIAN_SHIFT:.0%})"
        )

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"largest difference {self.largest:.2g} px, median {self.median:.2g} px on {self.num_keypoints} keypoints of "
            f"{self.num_crops} crops; {self.undecided:.2%} hang on ties and went the other way; scores within "
            f"{self.largest_score:.2g}"
        )


class Comparer:
    """Take in batch after batch of what a file and the network have found, and compare in the end."""

    def __init__(self) -> None:
        self._distances: list[NDArray[np.float64]] = []
        self._shifts: list[NDArray[np.float64]] = []
        self._not_finite: list[NDArray[np.bool_]] = []
        self._tied: list[NDArray[np.bool_]] = []
        self._scores = [0.0]

    def update(
        self,
        found: tuple[NDArray[np.float64], NDArray[np.float32]],
        expected: tuple[NDArray[np.float64], NDArray[np.float32]],
        tied: NDArray[np.bool_],
        *,
        sides: NDArray[np.float64],
        confidence: float,
    ) -> None:
        """Compare a batch.

        Args:
            found: keypoints (B, K, 2) in photo pixels and scores (B, K) of the file.
            expected: the same of the network.
            tied: (B, K) which keypoints are undecided, see `hrpose.export.ties.find_ties`.
            sides: (B,) the longer sides of the crops in photo pixels.
            confidence: the network is confident of keypoints that score above it.
        """
        off = distances(found[0], expected[0])
        self._distances.append(off)
        shifts = np.where(np.isfinite(off), off / sides[:, None], np.inf)
        self._shifts.append(shifts[expected[1] > confidence])
        self._not_finite.append(~(np.isfinite(found[0]).all(axis=-1) & np.isfinite(found[1])))
        self._tied.append(tied)
        apart = np.abs(found[1] - expected[1])
        self._scores.append(float(apart.max(initial=0.0)) if np.isfinite(apart).all() else float("inf"))

    def compare(self) -> Comparison:
        """Sum up.

        Raises:
            ValueError: if there were no crops.
        """
        if not sum(map(len, self._distances)):
            raise ValueError("Expected crops to compare on, but there are none. Give photos=<folder with photos>.")
        off, tied = np.concatenate(self._distances), np.concatenate(self._tied)
        moved = ~(off <= TOLERANCE)  # NaN has moved
        decided = off[~(moved & tied)]
        shifts = np.concatenate(self._shifts)
        largest = float(decided.max(initial=0.0)) if np.isfinite(decided).all() else float("inf")
        return Comparison(
            num_crops=len(off),
            num_keypoints=off.size,
            largest=largest,
            median=float(np.median(off)),
            moved=float(moved.mean()),
            undecided=float((moved & tied).mean()),
            largest_score=max(self._scores),
            not_finite=float(np.concatenate(self._not_finite).mean()),
            num_confident=len(shifts),
            shifted=float((~(shifts <= MAX_SHIFT)).mean()) if len(shifts) else 0.0,
            median_shift=float(np.median(shifts)) if len(shifts) else 0.0,
        )


def distances(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far keypoints (B, K, 2) are apart, (B, K)."""
    apart: NDArray[np.float64] = np.linalg.norm(found - expected, axis=-1)
    return apart
