"""Measure the engines that are installed, and take the fastest that finds what torch finds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hrpose.codecs import Codec
from hrpose.export.accelerate import accelerate, installed_backends
from hrpose.export.ties import TOLERANCE, find_ties

logger = logging.getLogger(__name__)

_EXACT = ("torch", "channels_last", "frozen", "openvino", "onnxruntime")
_HALF = ("torch", "bf16", "openvino_bf16")
_NUM_CROPS = 4
_NUM_CALLS = 5  # of an engine in its turn
_WARMING = 2  # of these


@dataclass(frozen=True)
class Difference:
    """How far an engine is from torch in fp32, on the same images.

    Attributes:
        heatmaps: largest difference of a heatmap's value, as a share of the highest value.
        keypoints: largest difference of a keypoint that hangs on no tie, in pixels of the input.
        median: median difference of all keypoints, in pixels of the input.
    """

    heatmaps: float
    keypoints: float
    median: float

    @property
    def is_exact(self) -> bool:
        """Whether keypoints are the same but for rounding."""
        return self.keypoints <= TOLERANCE


def choose_backend(net: nn.Module, codec: Codec, *, half: bool = False, repeats: int = 2) -> nn.Module:
    """Take the fastest engine for a network, one image at a time, and say by logging which it is.

    Of the engines that have to be written a file for, onnxruntime is tried only where OpenVINO is not installed: writing ONNX
    takes half a minute for a large network.

    Args:
        net: images (B, 3, H, W) to heatmaps, on the CPU, in eval mode.
        codec: reads the heatmaps.
        half: whether convolutions may compute in bf16; then nothing is asked of the keypoints but to be finite.
        repeats: measurements of each engine, of which the fastest counts.

    Returns:
        What takes the network's place; the network itself where nothing is faster.
    """
    installed = installed_backends()
    names = [name for name in (_HALF if half else _EXACT) if name in installed]
    if "openvino" in names and "onnxruntime" in names:
        names.remove("onnxruntime")
    images = draw_images(codec.input_size, _NUM_CROPS)
    engines: dict[str, nn.Module] = {}
    for name in names:
        engine = accelerate(net, codec.input_size, name)
        difference = compare_engines(engine, net, codec, images)
        if difference.is_exact or (half and np.isfinite(difference.median)):
            engines[name] = engine
        else:
            logger.warning("backend %s is left out: keypoints differ by up to %.3g px", name, difference.keypoints)
    seconds = time_engines(engines, images[:1], repeats=repeats)
    fastest = min(seconds, key=lambda name: seconds[name])
    told = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
    logger.info("backend: %s is taken, the fastest of %s for one image", fastest, told)
    return engines[fastest]


@torch.inference_mode()
def compare_engines(
    engine: nn.Module, net: nn.Module, codec: Codec, images: Tensor, *, batch_size: int | None = None
) -> Difference:
    """Compare what an engine and the network find in normalised images (B, 3, H, W), given so many at once."""
    expected = net(images).float()
    found = torch.cat([engine(part).float() for part in torch.split(images, batch_size or len(images))])
    identity = np.tile(np.eye(2, 3), (len(images), 1, 1))
    tied = torch.from_numpy(find_ties(codec, expected, identity))
    apart = (codec.decode(found)[0] - codec.decode(expected)[0]).norm(dim=-1)
    decided = apart[~tied].nan_to_num(nan=float("inf"))
    top = float(expected.abs().max().clamp(min=1e-30))
    return Difference(
        heatmaps=float((found - expected).abs().max()) / top,
        keypoints=float(decided.max()) if decided.numel() else 0.0,
        median=float(apart.median()),
    )


@torch.inference_mode()
def time_engines(
    engines: Mapping[str, nn.Module],
    images: Tensor,
    *,
    repeats: int,
    on_turn: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Time engines on images (B, 3, H, W), turn and turn about, so that a busy machine disturbs all alike.

    A turn is five calls, of which the first two do not count: the threads of the engine before are still awake then, and its
    weights in the caches.

    Args:
        engines: by name.
        images: what each gets.
        repeats: turns; of each engine the fastest call counts.
        on_turn: told the name of each engine before its turn.

    Returns:
        Seconds for the images, by name.
    """
    best = dict.fromkeys(engines, float("inf"))
    for _ in range(repeats):
        for name, engine in engines.items():
            if on_turn is not None:
                on_turn(name)
            for call in range(_NUM_CALLS):
                start = time.perf_counter()
                engine(images)
                if call >= _WARMING:
                    best[name] = min(best[name], time.perf_counter() - start)
    return best


def draw_images(input_size: Sequence[int], count: int, *, seed: int = 0) -> Tensor:
    """Draw normalised images (count, 3, H, W) of soft blots of all sizes, as photos have them."""
    width, height = input_size
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, height, width)
    for cells in (2, 4, 8, 16, 32):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        total += nn.functional.interpolate(noise, size=(height, width), mode="bilinear") / 2
    return total
