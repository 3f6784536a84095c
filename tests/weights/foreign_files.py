"""Weight files of other tools, made from a state_dict with the official names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

State = Mapping[str, Tensor]
_HEADS = ("final_layer.", "deconv_layers.")


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def body(state: State) -> dict[str, Tensor]:
    """Return the tensors of a pose network that an ImageNet file has."""
    return {name: value for name, value in state.items() if not name.startswith(_HEADS)}


def head(state: State) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(_HEADS)}


def _training(state: State) -> dict[str, Any]:
    """Return the checkpoint that the official training script writes after every epoch."""
    return {
        "epoch": 210,
        "model": "pose_hrnet",
        "state_dict": prefixed(state, "module."),
        "best_state_dict": state,
        "perf": np.float64(0.744),
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]},
    }


def _lightning(state: State) -> dict[str, Any]:
    return {"state_dict": prefixed(state, "net."), "pytorch-lightning_version": "2.5", "epoch": 1, "global_step": 3}


def _mmpose(state: State, head_name: str, wrapping: str = "") -> dict[str, Tensor]:
    return prefixed({**prefixed(body(state), "backbone."), **prefixed(head(state), f"{head_name}.")}, wrapping)


def _mmpose_1(state: State) -> dict[str, Any]:
    return {"meta": {"mmpose_version": "1.0.0", "seed": 0}, "state_dict": _mmpose(state, "head")}


def _mmpose_1_with_preprocessor(state: State) -> dict[str, Any]:
    mean_and_std = {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    return {"meta": {}, "state_dict": {**mean_and_std, **_mmpose(state, "head")}}


def _mmpose_1_averaged(state: State) -> dict[str, Any]:
    """With ExponentialMovingAverage, `state_dict` has the average and a second entry the trained network."""
    trained = prefixed({name: torch.zeros_like(value) for name, value in _mmpose(state, "head").items()}, "module.")
    return {"meta": {}, "state_dict": _mmpose(state, "head"), "ema_state_dict": {"steps": torch.tensor(9), **trained}}


def _mmpose_0_averaged(state: State) -> dict[str, Any]:
    """Before 1.0 the second copy has other names in the same state_dict."""
    named = _mmpose(state, "keypoint_head")
    copies = {f"ema_{name.replace('.', '_')}": torch.zeros_like(value) for name, value in named.items()}
    return {"meta": {"epoch": 210}, "state_dict": {**named, **copies}}


def _mmpose_0_parted(state: State) -> dict[str, Any]:
    """Return a head that is a sequence of one layer."""
    named = _mmpose(state, "keypoint_head")
    return {"state_dict": {name.replace("final_layer.", "final_layer.0."): value for name, value in named.items()}}


def _mmpose_1_integral(state: State) -> dict[str, Any]:
    """Integral regression has a nested heatmap head, and constants."""
    named = {**prefixed(body(state), "backbone."), **prefixed(head(state), "head.simplebaseline_head.")}
    constants = {"head.linspace_x": torch.zeros(1, 4, 4), "head.linspace_y": torch.zeros(1, 4, 4)}
    return {"meta": {}, "state_dict": named | constants}


class PoseForm(NamedTuple):
    """A form: its name in `load_weights`, a function that writes it, and whether .safetensors files can have it."""

    kind: str
    write: Callable[[State], Any]
    flat: bool  # only names and tensors, as in a .safetensors file


POSE_FORMS = {
    "official": PoseForm("pose checkpoint", dict, True),
    "DataParallel": PoseForm("pose checkpoint", lambda s: prefixed(s, "module."), True),
    "compiled": PoseForm("pose checkpoint", lambda s: prefixed(s, "_orig_mod."), True),
    "training": PoseForm("pose checkpoint", _training, False),
    "DarkPose, UDP-Pose": PoseForm("pose checkpoint", lambda s: {"state_dict": prefixed(s, "module.")}, False),
    "model": PoseForm("pose checkpoint", lambda s: {"model": dict(s), "epoch": 3}, False),
    "hrpose": PoseForm("hrpose checkpoint", _lightning, False),
    "hrpose flat": PoseForm("hrpose checkpoint", lambda s: prefixed(s, "net."), True),
    "hrpose compiled": PoseForm("hrpose checkpoint", lambda s: {"state_dict": prefixed(s, "net._orig_mod.")}, False),
    "MMPose 1.x": PoseForm("MMPose checkpoint", _mmpose_1, False),
    "MMPose 1.x flat": PoseForm("MMPose checkpoint", lambda s: _mmpose(s, "head", "module."), True),
    "MMPose 1.x preprocessor": PoseForm("MMPose checkpoint", _mmpose_1_with_preprocessor, False),
    "MMPose 1.x EMA": PoseForm("MMPose checkpoint", _mmpose_1_averaged, False),
    "MMPose 1.x integral": PoseForm("MMPose checkpoint", _mmpose_1_integral, False),
    "MMPose 0.x": PoseForm("MMPose 0.x checkpoint", lambda s: {"state_dict": _mmpose(s, "keypoint_head")}, False),
    "MMPose 0.x flat": PoseForm("MMPose 0.x checkpoint", lambda s: _mmpose(s, "keypoint_head", "module."), True),
    "MMPose 0.x EMA": PoseForm("MMPose 0.x checkpoint", _mmpose_0_averaged, False),
    "MMPose 0.x parted": PoseForm("MMPose 0.x checkpoint", _mmpose_0_parted, False),
}
FORM_FILES = [
    *((form, ".pth") for form in POSE_FORMS),
    *((form, ".safetensors") for form, (_, _, flat) in POSE_FORMS.items() if flat),
    *(("official", suffix) for suffix in (".pth.tar", ".old.pth")),
]


def write_file(folder: Path, content: Any, suffix: str = ".pth") -> Path:
    """Write a file of a form; `.old.pth` is torch's format before 1.6."""
    file = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=suffix != ".old.pth")
    return file


def imagenet_classifier(width: int) -> dict[str, Tensor]:
    """What the HRNet authors' and timm's ImageNet files hold besides the body, in small; its final_layer is none of heatmaps."""
    return {
        "incre_modules.0.0.conv1.weight": torch.zeros(8, width, 1, 1),
        "incre_modules.0.0.downsample.1.running_mean": torch.zeros(8),
        "downsamp_modules.0.0.bias": torch.zeros(8),
        "final_layer.0.weight": torch.zeros(8, 8, 1, 1),
        "final_layer.1.running_var": torch.zeros(8),
        "classifier.weight": torch.zeros(10, 8),
        "stage4.1.fuse_layers.3.0.0.0.weight": torch.zeros(width, width, 3, 3),  # the pose network has one output there
    }
