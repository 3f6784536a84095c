"""Reproducible weights and images of the golden outputs, drawn from their names."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

TINY = {"width": 8, "num_keypoints": 5, "num_modules": (1, 2, 2), "num_blocks": 1, "final_kernel": 3}


def draw_weights(net: nn.Module) -> None:
    """Fill a network by the golden rule: each tensor is drawn from a stream seeded by its own name."""
    net.load_state_dict({name: _draw(name, tensor) for name, tensor in net.state_dict().items()})


def draw_images(name: str, shape: tuple[int, int, int, int]) -> Tensor:
    """Draw the images of a golden output."""
    return torch.from_numpy(_stream(f"input:{name}").standard_normal(shape).astype(np.float32))


def _stream(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))  # the legacy stream is frozen, so it is the rule


def _draw(name: str, like: Tensor) -> Tensor:
    stream, shape = _stream(name), tuple(like.shape)
    if name.endswith("num_batches_tracked"):
        values = np.zeros(shape)
    elif name.endswith("running_var"):
        values = stream.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", ".bias")):
        values = 0.1 * stream.standard_normal(shape)
    elif len(shape) == 4:
        values = stream.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = stream.uniform(0.2, 0.6, shape)
    return torch.from_numpy(np.asarray(values)).to(like.dtype)
