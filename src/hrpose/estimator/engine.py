"""Engines, which estimate the poses of a batch of crops. `TorchEngine` uses a network and a codec."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from hrpose.codecs import Codec, is_bottom_up
from hrpose.data.crops import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder, Normalization
from hrpose.export.capture import Program, to_openvino, write_onnx
from hrpose.export.onnx import open_onnx
from hrpose.export.openvino import compile_model
from hrpose.geometry import Grid
from hrpose.inference import estimate_poses
from hrpose.skeletons import Skeleton
from hrpose.structures import CropBatch, Poses, WholeImageBatch

logger = logging.getLogger(__name__)

BACKENDS = ("openvino", "onnxruntime", "torch")
"""Engines for a network on the CPU; `backend="auto"` selects the first that is installed and supports the precision."""
Precision: TypeAlias = Literal["32", "bf16", "16"]
_HALVES = {"bf16": torch.bfloat16, "16": torch.float16}


class Engine(Protocol):
    """Estimates the poses of a batch of crops.

    An engine with an attribute `codec` that is bottom-up takes whole images instead, one `WholeImageBatch` each.

    Attributes:
        input_size: (width, height) of the crops in pixels.
        grid: pixel grid of the crops.
        skeleton: the keypoints.
    """

    input_size: tuple[int, int]
    grid: Grid
    skeleton: Skeleton

    def __call__(self, batch: Any, /) -> Poses:
        """Estimate the poses of a batch, in its order, in image pixels."""
        ...


class TorchEngine:
    """Run a torch network: normalise on the device, then call `inference.estimate_poses`, as in validation.

    Args:
        net: images (B, 3, H, W) -> heatmaps; it is moved to the device and set to eval mode.
        codec: decodes the heatmaps.
        skeleton: the keypoints.
        flip_test: average with the heatmaps of the mirrored crop.
        channel_order: as for `hrpose.data.crops.Normalization`.
        mean: as for `Normalization`.
        std: as for `Normalization`.
        device: of the network; "auto" selects the first available of CUDA, MPS and the CPU.
        precision: "32"; "bf16" or "16" compute the convolutions in half precision, as mixed-precision training does.
        keypoint_score_threshold: the instance score is of keypoints with a higher score.
        channels_last: keep activations in NHWC order, as training does by default.
        backend: engine on the CPU: "torch", "onnxruntime", "openvino", or "auto", the first of `BACKENDS` that is installed and
            supports the precision. On a GPU "auto" is "torch".

    Raises:
        ValueError: if the device, precision or backend is unknown or unavailable, or they cannot be combined.
        ModuleNotFoundError: if the backend is not installed.
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
        backend: str = "torch",
    ) -> None:
        self.device = choose_device(device)
        self.precision = _checked_precision(precision, self.device)
        chosen = _choose_backend(backend, self.device, self.precision, bottom_up=is_bottom_up(codec))
        self.net = net.to(self.device).eval()
        if chosen != "torch":
            self.net = convert_network(net, codec.input_size, chosen, precision=self.precision)
        elif channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.input_size, self.grid = codec.input_size, codec.grid
        self.codec, self.skeleton = codec, skeleton
        self.flip_test = flip_test
        if flip_test and skeleton.lacks_flip_pairs:
            logger.warning(
                "The flip test averages with mirrored crops, but the names of the %d keypoints of skeleton '%s' have no mirror "
                "pairs, so left and right are averaged. Set flip_test=false, or use a skeleton with flip_pairs.",
                skeleton.num_keypoints,
                skeleton.name,
            )
        self.normalization = Normalization(channel_order, mean, std)
        self.keypoint_score_threshold = keypoint_score_threshold

    @torch.inference_mode()
    def __call__(self, batch: CropBatch | WholeImageBatch) -> Poses:
        """Estimate the poses of a batch; uint8 images are copied to the device, three numbers per keypoint to the host."""
        images: dict[str, Any] = {"images": self._normalized(batch["images"])}
        if "rescaled" in batch:
            images["rescaled"] = tuple(map(self._normalized, cast(WholeImageBatch, batch)["rescaled"]))
        half = _HALVES.get(self.precision)
        with nullcontext() if half is None else torch.autocast(self.device.type, dtype=half):
            return estimate_poses(
                self.net,
                self.codec,
                {**batch, **images},
                flip_test=self.flip_test,
                flip_permutation=self.skeleton.flip_permutation,
                score_threshold=self.keypoint_score_threshold,
            )

    def _normalized(self, images: Tensor) -> Tensor:
        if self.device.type == "cuda" and images.device.type == "cpu":
            images = images.pin_memory()
        return self.normalization(images.to(self.device, non_blocking=self.device.type == "cuda"))


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return a torch device; "auto" selects the first available of CUDA, MPS and the CPU.

    Raises:
        ValueError: if the device is unknown to torch, or this machine does not have it.
    """
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'Expected `device` to be "auto", "cpu", "cuda", "cuda:1" or the like, but got {device!r}.') from error
    missing = (chosen.type == "cuda" and not torch.cuda.is_available()) or (
        chosen.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f'Expected `device` to be available, but torch finds no {chosen} on this machine. Set device="auto".')
    return chosen


def _checked_precision(precision: str, device: torch.device) -> Precision:
    for known in get_args(Precision):
        if str(precision) == known:  # Lightning accepts the number 32 too
            if known == "16" and device.type == "cpu":
                raise ValueError('Expected `precision` to be "32" or "bf16" on the CPU, but got "16".')
            return known  # type: ignore[no-any-return]
    raise ValueError(f'Expected `precision` to be "32", "bf16" or "16", but got {precision!r}.')


def installed_backends() -> tuple[str, ...]:
    """Return the names in `BACKENDS` that are installed, in its order."""
    needed = {"openvino": ("openvino",), "onnxruntime": ("onnx", "onnxruntime", "onnxscript")}
    return tuple(name for name in BACKENDS if all(find_spec(package) for package in needed.get(name, ())))


def convert_network(net: nn.Module, input_size: tuple[int, int], backend: str, *, precision: Precision = "32") -> nn.Module:
    """Convert a network to another engine on the CPU.

    Args:
        net: images (B, 3, H, W) to heatmaps, coordinates or bins; it is not changed.
        input_size: (width, height) of the images; the batch size is dynamic.
        backend: "onnxruntime" or "openvino".
        precision: of the convolutions: "32", or "bf16" for OpenVINO.

    Returns:
        A module from images (B, 3, H, W) float32 to the network's outputs, float32.

    Raises:
        ModuleNotFoundError: if the backend is not installed.
    """
    own = copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    program = Program(own, {"images": torch.zeros(2, 3, *input_size[::-1])}, {"images": {0: "batch"}}, ("outputs",))
    if backend == "openvino":
        return _ConvertedNetwork(compile_model(to_openvino(program), precision="bf16" if precision == "bf16" else "f32"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        write_onnx(program, file)
        return _ConvertedNetwork(open_onnx(file).compute)


class _ConvertedNetwork(nn.Module):
    """A network of another engine, which maps [images] to [outputs], as a module from images to outputs."""

    def __init__(self, compute: Callable[[list[Any]], Any]) -> None:
        super().__init__()
        self._compute = compute

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._compute([images.contiguous().numpy()])[0].copy())


def _choose_backend(backend: str, device: torch.device, precision: Precision, *, bottom_up: bool = False) -> str:
    """Return the backend for a network; "auto" does not change the device or the precision."""
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"Expected `backend` to be one of auto, {', '.join(BACKENDS)}, but got {backend!r}.")
    if backend == "torch" or (backend == "auto" and (device.type != "cpu" or bottom_up)):
        return "torch"
    if bottom_up:
        raise ValueError(
            f"Expected `backend` to be torch for a bottom-up network, which takes images of any size, but got {backend!r}. Use "
            "`hrpose export` for a file for onnxruntime."
        )
    if device.type != "cpu":
        raise ValueError(f"Expected `device` to be the CPU for backend={backend!r}, but got {device}. Set backend=torch.")
    if backend == "onnxruntime" and precision != "32":
        raise ValueError(
            f'Expected `precision` to be "32" for backend="onnxruntime", but got {precision!r}: onnxruntime has no bf16 '
            'convolutions on the CPU. Set backend="openvino".'
        )
    if backend == "auto":
        able = [name for name in installed_backends() if precision == "32" or name != "onnxruntime"]
        logger.info("backend: %s computes the network, the first of %s that is installed", able[0], ", ".join(BACKENDS))
        return able[0]
    return backend
