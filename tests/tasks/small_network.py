"""A checkpoint of a very small network that nobody has trained, in the form that `hrpose fit` leaves."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from hrpose.config import build, compose
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
    """Write it; its head is far from 0, so that keypoints have scores."""
    cfg = compose("fit", SMALL)
    torch.manual_seed(0)
    net = build(cfg.model, num_keypoints=COCO.num_keypoints)
    torch.nn.init.normal_(net.final_layer.weight, std=0.5)
    whole = OmegaConf.to_container(cfg, resolve=True)
    config = {name: whole[name] for name in ("model", "codec", "flip_test")}
    content = {
        "state_dict": {f"net.{name}": tensor for name, tensor in net.state_dict().items()},
        "hyper_parameters": {"config": config, "skeleton": COCO.to_dict()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)
    return file
