"""Keypoints that hang on a tie: two cells of a heatmap so nearly equal that rounding decides between them.

Engines add up numbers in different orders. Where that changes a keypoint, torch itself is asked: a keypoint that moves too when
torch's heatmaps change by no more than rounding does is undecided, and no engine is right or wrong about it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrpose.codecs import Codec

TOLERANCE = 0.01
"""Pixels that a decided keypoint may be off in fp32."""
_ROUNDING = 1e-5  # of the highest value of a heatmap: what fp32 may change it by, over a hundred layers
_DRAWS = 8


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
