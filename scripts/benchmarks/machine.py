"""Describe the machine of a benchmark, which every figure depends on."""

import os
import platform
from pathlib import Path

import torch


def describe_machine(device: str | torch.device = "cpu") -> str:
    """Return one line: processor, cores, threads of torch, version of torch and device."""
    device = torch.device(device)
    used = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, {torch.get_num_threads()} threads of torch {torch.__version__}, device: {used}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
