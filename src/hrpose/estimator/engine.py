"""What turns crops into poses: the network in torch here; an exported file can stand in its place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor, nn

from hrpose.codecs import Codec
from hrpose.data.normalization import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder, Normalization
from hrpose.geometry import Grid
from hrpose.inference import estimate_poses
from hrpose.skeletons import Skeleton
from hrpose.structures import CropBatch, Poses

logger = logging.getLogger(__name__)

Precision: TypeAlias = Literal["32", "bf16", "16"]
_HALVES = {"bf16": torch.bfloat16, "16": torch.float16}


class Engine(Protocol):
    """Estimates the poses of a batch of crops, and says how it wants the crops."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the crops in pixels."""
        ...

    @property
    def grid(self) -> Grid:
        """How the pixels of a crop lie in its box."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
        ...

    def __call__(self, batch: CropBatch) -> Poses:
        """Estimate the poses of a batch, in its order, in pixels of the photos."""
        ...


class TorchEngine:
    """A network of torch: normalise on the device, then `inference.estimate_poses`, as validation does.

    Args:
        net: images (B, 3, H, W) -> heatmaps; it is moved to the device and put into eval mode.
        codec: reads the heatmaps.
        skeleton: the keypoints.
        flip_test: average with the heatmaps of the mirrored crop.
        channel_order: of the network's input, "rgb" or "bgr".
        mean: of the input's channels, with 1 for full brightness.
        std: of the input's channels, with 1 for full brightness.
        device: where to compute; "auto" takes the first there is of CUDA, MPS and the CPU.
        precision: "32"; "bf16" or "16" calculate the convolutions in half precision, as mixed-precision training does.
        keypoint_score_threshold: keypoints that score above it count for the instance score.
        channels_last: keep activations in NHWC order, as training does by default.

    Raises:
        ValueError: if there is no such device or precision, or the device lacks the precision.
    """

    def __init__(
        self,
        net: nn.Module,
        codec: Codec,
        skeleton: Skeleton,
        *,
        flip_test: bool = True,
        channel_order: ChannelOrder = "rgb",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        device: str | torch.device = "auto",
        precision: Precision = "32",
        keypoint_score_threshold: float = 0.2,
        channels_last: bool = True,
    ) -> None:
        self.device = choose_device(device)
        self.precision = _checked_precision(precision, self.device)
        self.net = net.to(self.device).eval()
        if channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codec, self._skeleton = codec, skeleton
        self.flip_test = flip_test
        if flip_test and skeleton.lacks_flip_pairs:
            logger.warning(
                "The flip test averages with mirrored crops, but no mirror pair is found in the names of the %d keypoints of "
                "skeleton '%s', so left and right are averaged too. Set flip_test=false, or use a skeleton with flip_pairs.",
                skeleton.num_keypoints,
                skeleton.name,
            )
        self.normalization = Normalization(channel_order, mean, std)
        self.keypoint_score_threshold = keypoint_score_threshold

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the crops in pixels."""
        return self.codec.input_size

    @property
    def grid(self) -> Grid:
        """How the pixels of a crop lie in its box."""
        return self.codec.grid

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
        return self._skeleton

    @torch.inference_mode()
    def __call__(self, batch: CropBatch) -> Poses:
        """Estimate the poses of a batch: bytes go to the device, three numbers a keypoint come back."""
        images = self.normalization(self._on_device(batch["images"]))
        with self._autocast():
            return estimate_poses(
                self.net,
                self.codec,
                {**batch, "images": images},
                flip_test=self.flip_test,
                flip_permutation=self.skeleton.flip_permutation,
                score_threshold=self.keypoint_score_threshold,
            )

    def _on_device(self, images: Tensor) -> Tensor:
        if self.device.type == "cuda" and images.device.type == "cpu":
            return images.pin_memory().to(self.device, non_blocking=True)
        return images.to(self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision not in _HALVES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_HALVES[self.precision])


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Resolve a device; "auto" takes the first there is of CUDA, MPS and the CPU.

    Raises:
        ValueError: if torch knows no such device, or this machine has none.
    """
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f'Expected `device` to be "auto", "cpu", "cuda", "cuda:1" or the like, but got {device!r}.'
        ) from error
    missing = (chosen.type == "cuda" and not torch.cuda.is_available()) or (
        chosen.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise ValueError(
            f'Expected `device` to be one of this machine, but torch finds no {chosen} here. Set device="auto".'
        )
    return chosen


def _checked_precision(precision: str, device: torch.device) -> Precision:
    for known in get_args(Precision):
        if str(precision) == known:  # 32 is how Lightning lets one say it too
            if known == "16" and device.type == "cpu":
                raise ValueError('Expected `precision` to be "32" or "bf16" on the CPU, but got "16".')
            return known  # type: ignore[no-any-return]
    raise ValueError(f'Expected `precision` to be "32", "bf16" or "16", but got {precision!r}.')
