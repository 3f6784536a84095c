"""Hold an exported file against the network it was made of, keypoint by keypoint.

A keypoint may hang on a tie: two cells of a heatmap so nearly equal that the order in which an engine adds up numbers decides
between them. Such keypoints are told apart by asking torch itself: those that move too when its heatmaps change by no more
than rounding does are undecided. They are counted and reported, and all others have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrpose.codecs import Codec

TOLERANCE = 0.01
"""Pixels of the photo that a decided keypoint may be off in fp32."""
_ROUNDING = 1e-5  # of the highest value of a heatmap: what fp32 may change it by, over a hundred layers
_DRAWS = 8
_MOST_UNDECIDED = 0.02  # share of keypoints; more is no tie but a fault


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
    """

    num_crops: int
    num_keypoints: int
    largest: float
    median: float
    moved: float
    undecided: float
    largest_score: float

    @property
    def agrees(self) -> bool:
        """Whether every decided keypoint is within 0.01 pixels, and the undecided ones are few."""
        return self.largest <= TOLERANCE and self.undecided <= _MOST_UNDECIDED

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
        self._tied: list[NDArray[np.bool_]] = []
        self._scores = [0.0]

    def update(
        self,
        found: tuple[NDArray[np.float64], NDArray[np.float32]],
        expected: tuple[NDArray[np.float64], NDArray[np.float32]],
        tied: NDArray[np.bool_],
    ) -> None:
        """Compare a batch.

        Args:
            found: keypoints (B, K, 2) in photo pixels and scores (B, K) of the file.
            expected: the same of the network.
            tied: (B, K) which keypoints are undecided, see `find_ties`.
        """
        self._distances.append(distances(found[0], expected[0]))
        self._tied.append(tied)
        self._scores.append(float(np.abs(found[1] - expected[1]).max(initial=0.0)))

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
        largest = float(decided.max(initial=0.0)) if np.isfinite(decided).all() else float("inf")
        return Comparison(
            num_crops=len(off),
            num_keypoints=off.size,
            largest=largest,
            median=float(np.median(off)),
            moved=float(moved.mean()),
            undecided=float((moved & tied).mean()),
            largest_score=max(self._scores),
        )


def distances(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far keypoints (B, K, 2) are apart, (B, K)."""
    apart: NDArray[np.float64] = np.linalg.norm(found - expected, axis=-1)
    return apart


def find_ties(codec: Codec, heatmaps: Tensor, image_from_input: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find keypoints that move by more than 0.01 photo pixels when rounding changes the heatmaps.

    Each heatmap is changed by up to 1e-5 of its highest value, at random, eight times over.

    Args:
        codec: reads the heatmaps.
        heatmaps: (B, C, ...) that the network put out.
        image_from_input: (B, 2, 3).

    Returns:
        (B, K).
    """
    generator = torch.Generator().manual_seed(0)
    heatmaps = heatmaps.detach().float().cpu()
    steps = _ROUNDING * heatmaps.flatten(1).abs().amax(1).clamp(min=1e-30)
    steps = steps.reshape(-1, *[1] * (heatmaps.ndim - 1))
    zoom = np.abs(image_from_input[..., :2]).sum(axis=-1).max(axis=-1)
    keypoints = codec.decode(heatmaps)[0]
    tied = torch.zeros(keypoints.shape[:2], dtype=torch.bool)
    for _ in range(_DRAWS):
        noise = torch.rand(heatmaps.shape, generator=generator) * 2 - 1
        apart = (codec.decode(heatmaps + steps * noise)[0] - keypoints).norm(dim=-1)
        tied |= ~(apart * torch.from_numpy(zoom).float()[:, None] <= TOLERANCE / 2)
    result: NDArray[np.bool_] = tied.numpy()
    return result
