"""A checkpoint of a very small, randomly initialised network, in the form that `hrpose fit` writes."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from hrpose.config import build, compose
from hrpose.models import HigherHRNet
from hrpose.skeletons import COCO

SMALL = [
    "codec=heatmap",
    "size=128x96",
    "model.width=4",
    "model.stem_width=8",
    "model.stage1_width=4",
    "trainer.precision=32-true",
]


def write_checkpoint(file: Path) -> Path:
    """Write a checkpoint; its head is far from 0, so that keypoints have scores."""
    cfg = compose("fit", SMALL)
    torch.manual_seed(0)
    net = build(cfg.model, num_keypoints=COCO.num_keypoints)
    torch.nn.init.normal_(net.final_layer.weight, std=0.5)
    whole = OmegaConf.to_container(cfg, resolve=True)
    config = {name: whole[name] for name in ("model", "codec", "flip_test")}
    return _write(file, net, config)


def write_bottom_up_checkpoint(file: Path) -> Path:
    """Write a checkpoint of a HigherHRNet; its heads vary by a fifth, so that it finds instances."""
    shape = {"width": 4, "stem_width": 8, "stage1_width": 4, "stage1_blocks": 1, "num_blocks": 1, "num_modules": [1, 1, 1]}
    torch.manual_seed(0)
    net = HigherHRNet(num_keypoints=COCO.num_keypoints, **shape)
    with torch.no_grad():
        for place, head in enumerate(net.final_layers):  # each finer output depends on those before
            torch.nn.init.normal_(head.weight)
            head.weight /= 5 * net.eval()(torch.randn(1, 3, 64, 64))[place].std()
    config = {
        "model": {"_target_": "hrpose.models.HigherHRNet", **shape},
        "codec": {"_target_": "hrpose.codecs.AssociativeEmbedding", "input_size": [64, 64]},
        "flip_test": True,
    }
    return _write(file, net, config)


def _write(file: Path, net: torch.nn.Module, config: dict[str, Any]) -> Path:
    content = {
        "state_dict": {f"net.{name}": tensor for name, tensor in net.state_dict().items()},
        "hyper_parameters": {"config": config, "skeleton": COCO.to_dict()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)
    return file
