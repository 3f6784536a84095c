"""Faults are found before anything is drawn; custom data needs no drawing."""

import json
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
import torch

from hrpose.config import ConfigError, compose, needs_drawing, validate
from hrpose.synthetic import write_dataset
from hrpose.tasks import run
from hrpose.tasks.assemble import assemble

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*")

FAULTS = {
    "data.batch_size=0": "data: .*`batch_size` to be at least 1",
    "data.val_batch_size=0": "data: .*`val_batch_size` to be at least 1",
    "data.num_workers=-1": "data: .*`num_workers` to be at least 0",
    "data.bbox_padding=0": "data.bbox_padding: expected a number above 0, but got 0",
    "threads=0": "threads: expected at least 1, but got 0",
    "seed=-1": "seed: expected a number from 0 to 4294967295, but got -1",
    "optim.lr=-1": "optim.lr: expected at least 0, but got -1",
    "optim.weight_decay=-1": "optim: Invalid weight_decay value: -1",
    "schedule.pct_start=2": "schedule: .*pct_start",
    "schedule.max_lr=-1": "schedule.max_lr: expected at least 0, but got -1",
    "trainer.max_epochs=-5": "max_epochs",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches: expected at least 1, but got 0",
    "trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch: expected at least 1, but got 0",
    "trainer.accelerator=tpu": "trainer: expected settings that this machine supports, but got accelerator=tpu",
    "trainer.devices=0": "trainer: .*devices=0",
    "model.width=0": "model: .*`width` to be a whole number of at least 1",
    "codec.sigma=0": "codec: .*`sigma` to be a positive number",
    "augment.flip.probability=2": "augment.flip: .*`probability`",
    "loss=ohkm loss.top_k=18": "loss: .*top_k",
    "metric.max_detections=0": "metric.max_detections: expected at least 1, but got 0",
    "metric.oks_nms_threshold=3": "metric.oks_nms_threshold: expected a number from 0 to 1, but got 3",
    "callbacks/ema=default callbacks.ema.decay=5": "callbacks.ema: Expected argument `decay`.*got 5",
    "optim.backbone_factor=0": "optim.backbone_factor: expected a number above 0, but got 0",
    "optim.backbone_factor=tenth": "optim.backbone_factor: expected float, but got 'tenth'",
    "callbacks/freeze=backbone callbacks.freeze.epochs=0": "callbacks.freeze.epochs: expected at least 1, but got 0",
    "prepare.num_train=0": "prepare: .*num_train",
}


@pytest.fixture
def base(tmp_path) -> list[str]:
    return [f"paths.data={tmp_path}/drawn", f"paths.run={tmp_path}/run", "prepare.num_train=6", "prepare.num_val=3"]


@pytest.mark.parametrize("overrides", FAULTS)
def test_a_value_out_of_range_is_refused_before_anything_is_drawn(base, tmp_path, overrides):
    with pytest.raises(ConfigError, match=FAULTS[overrides]) as caught:
        run("fit", compose("fit", [*base, *overrides.split()]))
    assert len(caught.value.faults) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("overrides", ["trainer.accelerator=gpu", "trainer.accelerator=cuda", "trainer.accelerator=mps"])
def test_a_missing_accelerator_is_refused_before_anything_is_drawn(base, tmp_path, overrides):
    with pytest.raises(ConfigError, match="trainer: expected settings that this machine supports"):
        run("fit", compose("fit", [*base, overrides]))
    assert list(tmp_path.iterdir()) == []


class Missing(MetaPathFinder):
    """Hide packages as if they were not installed."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@pytest.mark.parametrize(
    ("verb", "overrides", "package", "fault"),
    [
        ("fit", ["logger=[csv,tensorboard]"], "tensorboard", "logger.tensorboard: .*pip install 'hrpose[tensorboard]'"),
        ("fit", ["logger=wandb"], "wandb", "logger.wandb: .*pip install 'wandb'"),
        ("test", ["weights=a.onnx"], "onnxruntime", "weights: .*pip install 'hrpose[onnx]'"),
        ("test", ["weights=a.xml"], "openvino", "weights: .*pip install 'hrpose[openvino]'"),
        ("export", ["weights=a.pth"], "onnxscript", "format: .*onnxscript.*pip install 'hrpose[onnx]'"),
        ("export", ["weights=a.pth", "format=openvino"], "openvino", "format: .*pip install 'hrpose[openvino]'"),
        ("predict", ["source=a.jpg", "weights=a.pth", "backend=openvino"], "openvino", "backend: .*'hrpose[openvino]'"),
        ("predict", ["source=a.jpg", "weights=a.pth", "detector=rtdetr"], "transformers", "detector: .*'hrpose[detect]'"),
        (
            "predict",
            ["source=a.jpg", "weights=a.pth", "detector=onnx", "detector.file=a.onnx"],
            "onnxruntime",
            "detector: .*'hrpose[detect]'",
        ),
    ],
)
def test_a_missing_library_is_a_fault_with_the_command_that_installs_it(tmp_path, monkeypatch, verb, overrides, package, fault):
    monkeypatch.chdir(tmp_path)
    for name in ("a.onnx", "a.xml", "a.pth", "a.jpg", "a.mat"):
        Path(name).touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    validate(compose(verb, overrides))
    monkeypatch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
    with pytest.raises(ConfigError, match=fault.replace("[", r"\[").replace("]", r"\]")) as caught:
        validate(compose(verb, overrides))
    assert len(caught.value.faults) == 1
    assert "\n" not in str(caught.value)


def test_a_library_that_cannot_be_imported_is_one_message(base, tmp_path, monkeypatch):
    """The package is installed, so the configuration is valid, but its import fails."""
    monkeypatch.setattr("hrpose.config.settings._is_installed", lambda package: True)
    monkeypatch.setattr("lightning.pytorch.loggers.tensorboard.TensorBoardLogger.__init__", _fail)
    with pytest.raises(ConfigError, match=r"^logger.tensorboard: .*broken"):
        run("fit", compose("fit", [*base, "logger=tensorboard"]))
    assert list(tmp_path.iterdir()) == []


def _fail(self, *arguments, **named):
    raise ImportError("a broken installation")


@pytest.fixture
def own(tmp_path) -> list[str]:
    """Overrides that select custom data."""
    write_dataset(tmp_path / "own", num_train=2, num_val=2)
    return [
        *(f"data.{part}_annotations={tmp_path}/own/annotations/person_keypoints_{part}2017.json" for part in ("train", "val")),
        *(f"data.{part}_images={tmp_path}/own/{part}2017" for part in ("train", "val")),
    ]


def test_nothing_is_drawn_for_custom_data(base, own, tmp_path):
    cfg = compose("fit", [*base, *own, "data.val_boxes=[gt]", "model.width=4"])
    validate(cfg)
    assert not needs_drawing(cfg)
    assembly = assemble(cfg)
    assert str(assembly.datamodule.train_annotations).startswith(f"{tmp_path}/own")
    assert not (tmp_path / "drawn").exists()


def test_a_test_checks_the_validation_data_only(base, own):
    overrides = [*base, *[word for word in own if word.startswith("data.val")], "data.val_boxes=[gt]"]
    assert not needs_drawing(compose("test", [*overrides, "weights=a.pth"]))
    assert needs_drawing(compose("fit", overrides))


def test_custom_annotations_with_drawn_images_are_refused(base, own):
    with pytest.raises(ConfigError) as caught:
        validate(compose("fit", [*base, own[0], own[1]]))
    keys = [fault.partition(":")[0] for fault in caught.value.faults]
    assert keys == ["data.train_images", "data.val_images", "data.val_detections"]
    assert "or set data.val_boxes=[gt]" in caught.value.faults[2]


def test_missing_custom_data_is_refused_before_anything_is_drawn(base, tmp_path):
    overrides = ["data.train_annotations=no.json", "data.train_images=nowhere"]
    with pytest.raises(ConfigError, match=r"(?s)data.train_annotations.*no.json.*data.train_images.*nowhere"):
        run("fit", compose("fit", [*base, *overrides]))
    assert list(tmp_path.iterdir()) == []


def test_a_network_for_other_keypoints_is_tested_on_custom_data(base, own, tmp_path):
    """The keypoints of the drawn people matter only where they are used."""
    file = tmp_path / "own/annotations/person_keypoints_val2017.json"
    content = json.loads(file.read_text())
    assert len(content["categories"][0]["keypoints"]) == 17
    assert not needs_drawing(compose("test", [*base, own[1], own[3], "data.val_boxes=[gt]", "weights=a.pth"]))
