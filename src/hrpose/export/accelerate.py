"""One network, computed by different engines: each a module from images to heatmaps that can take the network's place.

All are for the CPU and for inference. The network they are made of stays as it is.
"""

from __future__ import annotations

import copy
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from hrpose.export.capture import to_openvino, trace, write_onnx
from hrpose.export.onnx import OnnxRuntime
from hrpose.export.open import ExportedNetwork
from hrpose.export.openvino import compile_model

EXACT = ("channels_last", "frozen", "compiled", "onnxruntime", "openvino")
"""Backends that compute in fp32, beside "torch", the network as it is."""
HALF = ("bf16", "openvino_bf16")
"""Backends whose convolutions compute in bf16."""


def accelerate(net: nn.Module, input_size: tuple[int, int], backend: str) -> nn.Module:
    """Give a network to another engine.

    Args:
        net: images (B, 3, H, W) to heatmaps, on the CPU.
        input_size: width and height of the images in pixels; their number stays free.
        backend: "torch" (the network itself), "channels_last", "frozen" (TorchScript with batch norms folded into the
            convolutions), "compiled" (torch.compile), "onnxruntime", "openvino"; "bf16" (torch) and "openvino_bf16".

    Returns:
        images (B, 3, H, W) float32 to heatmaps float32, in eval mode.

    Raises:
        ValueError: if there is no such backend.
        ModuleNotFoundError: if it is not installed.
    """
    if backend == "torch":
        return net
    if backend not in _MAKERS:
        raise ValueError(f"Expected `backend` to be one of torch, {', '.join(_MAKERS)}, but got {backend!r}.")
    own = copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    width, height = input_size
    return _MAKERS[backend](own, torch.zeros(2, 3, height, width)).eval()


def installed_backends() -> tuple[str, ...]:
    """List the backends that this machine has, "torch" first."""
    needs = {
        "compiled": shutil.which("g++") or shutil.which("clang++"),
        "onnxruntime": all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
        "openvino": find_spec("openvino"),
        "bf16": has_bf16(),
        "openvino_bf16": find_spec("openvino") and has_bf16(),
    }
    return ("torch", *(name for name in (*EXACT, *HALF) if needs.get(name, True)))


def has_bf16() -> bool:
    """Tell whether the processor multiplies in bf16 itself; others imitate it, more slowly than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine() == "arm64"  # of Apple
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


class _Call(nn.Module):
    """A module of a function of images."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._function = function

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        heatmaps: Tensor = self._function(images)
        return heatmaps.float()


def _channels_last(net: nn.Module, example: Tensor) -> nn.Module:
    own = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Call(lambda images: own(images.contiguous(memory_format=torch.channels_last)))


def _bf16(net: nn.Module, example: Tensor) -> nn.Module:
    own = net.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Call(lambda images: own(images.to(torch.bfloat16, memory_format=torch.channels_last)))


def _frozen(net: nn.Module, example: Tensor) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript's own
        return _Call(torch.jit.optimize_for_inference(trace(net, (example,))))


def _compiled(net: nn.Module, example: Tensor) -> nn.Module:
    own = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    function = torch.compile(own, dynamic=False)  # one compilation takes minutes; those of a batch size are kept
    return _Call(lambda images: function(images.contiguous(memory_format=torch.channels_last)))  # type: ignore[no-untyped-call]


def _onnxruntime(net: nn.Module, example: Tensor) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        write_onnx(net, (example,), ({0: "batch"},), file, names=(("images",), ("heatmaps",)))
        return ExportedNetwork(OnnxRuntime(file))


class _OpenVino:
    """An OpenVINO model of any number of images, compiled once more for a single one, which is faster so."""

    def __init__(self, model: Any, precision: str) -> None:
        self._model, self._precision = model, precision
        self._compiled: dict[int, Any] = {}

    def __call__(self, images: Tensor) -> Tensor:
        batch = 1 if len(images) == 1 else -1
        if batch not in self._compiled:
            model = self._model.clone()
            model.reshape([batch, *images.shape[1:]])
            self._compiled[batch] = compile_model(model, precision=self._precision)
        return torch.from_numpy(self._compiled[batch]([images.contiguous().numpy()])[0].copy())


def _openvino(net: nn.Module, example: Tensor, precision: str = "f32") -> nn.Module:
    model = to_openvino(trace(net, (example,)), (example,), ({0: "batch"},), (("images",), ("heatmaps",)))
    return _Call(_OpenVino(model, precision))


def _openvino_bf16(net: nn.Module, example: Tensor) -> nn.Module:
    return _openvino(net, example, "bf16")


_MAKERS: Mapping[str, Callable[[nn.Module, Tensor], nn.Module]] = MappingProxyType(
    {
        "channels_last": _channels_last,
        "frozen": _frozen,
        "compiled": _compiled,
        "onnxruntime": _onnxruntime,
        "openvino": _openvino,
        "bf16": _bf16,
        "openvino_bf16": _openvino_bf16,
    }
)
