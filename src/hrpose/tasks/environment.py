"""The environment of a run, for bug reports: versions, machine, GPUs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from hrpose import __version__

_PACKAGES = (
    *(
        "torch",
        "lightning",
        "torchmetrics",
        "hydra-core",
        "omegaconf",
        "numpy",
        "opencv-python-headless",
        "opencv-python",
    ),
    *("simplejpeg", "rich", "albumentations", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "transformers"),
)


def describe_environment() -> dict[str, str]:
    """Return what a bug report needs, by name; packages that are not installed are left out."""
    entries = {"hrpose": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            entries[package] = version(package)
        except PackageNotFoundError:
            continue
    entries["platform"] = platform.platform()
    entries["processor"] = platform.processor() or platform.machine()
    entries["CPU cores"] = f"{_usable_cores()} of {os.cpu_count()}"
    entries["memory"] = _memory()
    entries["CUDA of torch"] = torch.version.cuda or "none"
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        entries["GPU"] = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.1f} GiB)" for gpu in gpus)
    else:
        entries["GPU"] = "Apple MPS" if torch.backends.mps.is_available() else "none"
    return entries


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return "unknown"
