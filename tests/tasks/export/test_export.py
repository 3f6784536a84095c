"""hrpose export: the file, its check, its use in hrpose test and PoseEstimator, and failed checks."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from small_network import write_checkpoint

import hrpose
from hrpose import PoseEstimator
from hrpose.config import ConfigError, check, compose
from hrpose.export import open_exported
from hrpose.synthetic import write_dataset
from hrpose.tasks import export as export_room
from hrpose.tasks import run
from hrpose.tasks.export import ExportCheckError, read_network
from hrpose.tasks.export.check import find_crops
from hrpose.weights import WeightsError

ONNX = ("format=onnx", "opset=17")  # the tests share one file


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "small.ckpt")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=1, num_val=6, image_size=(320, 240))
    return folder


@pytest.fixture(scope="module")
def export(weights, tmp_path_factory):
    """Run the verb in this process and return the file and its report, once for equal overrides."""
    done = {}

    def call(*overrides):
        if overrides not in done:
            folder = tmp_path_factory.mktemp("export")
            file = run("export", compose("export", [f"weights={weights}", f"paths.run={folder}", *overrides])).file
            done[overrides] = file, json.loads(file.with_name(f"{file.stem}.export.json").read_text())
        return done[overrides]

    return call


def measure(weights, people, folder, *overrides) -> float:
    """Return the AP of `hrpose test`."""
    given = [f"weights={weights}", f"paths.data={people}", f"paths.runs={folder}", f"paths.run={folder}", "prepare=null"]
    small = ["codec=heatmap", "size=128x96", "model.width=4", "model.stem_width=8", "model.stage1_width=4"]
    quiet = ["data.num_workers=0", "trainer.accelerator=cpu", "trainer.precision=32-true", "callbacks.progress=null"]
    quiet += ["callbacks.pictures=null"]
    with warnings.catch_warnings():  # of so small a run there is a lot to say
        warnings.simplefilter("ignore")
        overrides = [*given, *small, *quiet, "+trainer.enable_progress_bar=false", "data.val_boxes=[gt]", *overrides]
        return run("test", compose("test", overrides)).score


@pytest.mark.parametrize("format", [pytest.param("openvino", marks=pytest.mark.slow), "onnx"])
def test_a_file_has_the_ap_of_its_weights(export, people, weights, tmp_path, format):
    file, report = export(*(ONNX if format == "onnx" else ["format=openvino"]), f"paths.data={people}")
    assert report["faults"] == []
    assert report["comparison"]["largest"] < 0.01
    assert report["comparison"]["num_crops"] == report["protocols"]["gt"]["num_instances"]
    assert report["ap_after"] == pytest.approx(report["ap_before"], abs=0.001)
    exported = measure(file, people, tmp_path / "exported")
    assert exported == pytest.approx(measure(weights, people, tmp_path / "torch"), abs=0.001)
    assert exported == pytest.approx(report["ap_after"], abs=1e-9)


def test_a_file_describes_itself(export, people, weights):
    record = open_exported(export(*ONNX, f"paths.data={people}")[0]).record
    assert record.source == weights.name
    assert record.skeleton.name == "coco"
    assert record.input_size == (96, 128)
    assert record.protocols["gt"]["flip_test"] is record.flip_test is True


def test_an_estimator_opens_a_file_like_a_checkpoint(export, people, weights):
    file, _ = export(*ONNX, f"paths.data={people}")
    image = sorted((people / "val2017").iterdir())[0]
    boxes = [[20.0, 30.0, 60.0, 90.0], [100.0, 40.0, 80.0, 120.0]]
    found = PoseEstimator.from_checkpoint(file)(image, bbox=boxes)
    expected = PoseEstimator.from_checkpoint(weights, device="cpu")(image, bbox=boxes)
    apart = np.abs(found.keypoints - expected.keypoints).max(axis=-1)
    assert (apart < 0.01).mean() > 0.95  # an untrained network has ties
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_the_check_uses_images_of_a_folder_or_drawn_people_without_data(weights, people, tmp_path):
    for overrides, name, count in (([f"photos={people}/val2017"], f"images in {people}/val2017", 6), ([], "drawn people", 10)):
        cfg = compose("export", [f"weights={weights}", f"paths.data={tmp_path}", *overrides])
        _, record = export_room.read_network(cfg, weights)
        source = find_crops(cfg, record, weights, tmp_path)
        assert source.name == name
        assert source.datamodule is None
        assert sum(len(batch["images"]) for batch in source.batches(10)) == count


@pytest.mark.slow
def test_half_precision_is_reported_with_the_ap_before_and_after(export, people):
    _, report = export("format=openvino", "precision=bf16", "flip_test=false", f"paths.data={people}", "max_ap_loss=0.5")
    assert not report["exact"]
    assert report["comparison"]["largest"] > 0.01
    assert 0 <= report["ap_before"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_is_calibrated_on_images(export, people, format):
    overrides = ("precision=int8", f"paths.data={people}", f"photos={people}/val2017", "max_ap_loss=0.5", "flip_test=false")
    file, report = export(f"format={format}", *overrides)
    assert open_exported(file).record.precision == "int8"
    assert report["comparison"]["median"] < 20
    marks = {"onnx": b"QuantizeLinear", "openvino": b"FakeQuantize"}
    assert file.read_bytes().count(marks[format]) > 50


def write_images(folder, pictures):
    folder.mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


@pytest.mark.parametrize("colours", [(0, 0, 0, 0), (0, 90, 255, 40)])
def test_int8_is_not_calibrated_on_single_colours(weights, tmp_path, colours):
    images = write_images(tmp_path / "photos", [np.full((80, 60, 3), colour, np.uint8) for colour in colours])
    overrides = [f"weights={weights}", "precision=int8", f"paths.data={tmp_path}", f"photos={images}", f"paths.run={tmp_path}"]
    with pytest.raises(ConfigError, match="4 of 4 calibration"):
        run("export", compose("export", overrides))
    assert not list(tmp_path.glob("*.onnx"))


def changed(weights, file, name, change):
    """Write a checkpoint with one changed tensor."""
    content = torch.load(weights, weights_only=True)
    content["state_dict"][name] = change(content["state_dict"][name])
    torch.save(content, file)
    return file


@pytest.mark.slow
def test_int8_that_moves_keypoints_fails_without_an_ap(weights, people, tmp_path, caplog):
    """With calibration images at a sixteenth of their brightness, activations of bright images are clipped."""
    dark = [cv2.imread(str(file)) // 16 for file in sorted((people / "val2017").iterdir())]
    images = write_images(tmp_path / "photos", dark)
    confident = changed(weights, tmp_path / "confident.ckpt", "net.final_layer.weight", lambda weight: weight * 1e10)
    overrides = [f"weights={confident}", "precision=int8", f"paths.data={people}", "flip_test=false", "measure_ap=false"]
    with pytest.raises(ExportCheckError, match="confident keypoints move by more than 3%"):
        run("export", compose("export", [*overrides, f"photos={images}", f"output={tmp_path}/dark.onnx"]))
    assert "calibration crops have a single colour, 6 have little contrast" in caplog.text
    assert json.loads((tmp_path / "dark.export.json").read_text())["comparison"]["shifted"] > 0.1


def test_weights_with_nan_are_refused_before_anything_is_written(weights, people, tmp_path):
    broken = changed(weights, tmp_path / "nan.ckpt", "net.final_layer.bias", lambda bias: bias * torch.nan)
    overrides = [f"weights={broken}", "format=openvino", f"paths.data={people}", f"output={tmp_path}/a.xml"]
    with pytest.raises(WeightsError, match=r"nan\.ckpt.*1 tensors.*\(final_layer\.bias\)"):
        run("export", compose("export", overrides))
    assert [file.name for file in tmp_path.iterdir()] == ["nan.ckpt"]


@pytest.mark.slow
def test_half_precision_that_overflows_is_an_error(weights, people, tmp_path):
    large = changed(weights, tmp_path / "large.ckpt", "net.final_layer.weight", lambda weight: weight * 1e6)
    overrides = [f"weights={large}", "format=onnx", "precision=fp16", f"paths.data={people}"]
    with pytest.raises(ExportCheckError, match="precision=fp32"):
        run("export", compose("export", [*overrides, f"output={tmp_path}/a.onnx", "flip_test=false"]))
    report = json.loads((tmp_path / "a.export.json").read_text(), parse_constant=pytest.fail)
    assert report["comparison"]["not_finite"] > 0
    assert report["ap_after"] is None


def test_int8_needs_images(weights, tmp_path):
    overrides = [f"weights={weights}", "precision=int8", f"paths.data={tmp_path}", f"paths.run={tmp_path}"]
    with pytest.raises(ConfigError, match=r"photos=<folder>"):
        run("export", compose("export", overrides))


def test_a_file_that_differs_is_kept_and_is_an_error(export, weights, people, tmp_path, monkeypatch):
    """The file is correct; the network in the comparison is changed."""
    right, _ = export(*ONNX, f"paths.data={people}")

    def write_then_spoil(net, record, file, format, **options):
        shutil.copy(right, file)
        torch.nn.init.normal_(net.final_layer.weight, std=0.5)

    monkeypatch.setattr(export_room, "write_export", write_then_spoil)
    overrides = [f"weights={weights}", "format=onnx", f"paths.data={people}", f"output={tmp_path}/a.onnx"]
    with pytest.raises(ExportCheckError, match="keypoints differ"):
        run("export", compose("export", overrides))
    assert (tmp_path / "a.onnx").is_file()
    assert json.loads((tmp_path / "a.export.json").read_text())["faults"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(["precision=bf16"], "no bf16 convolutions"), (["format=openvino", "output=a.onnx"], r"end in \.xml")],
)
def test_unsupported_options_of_a_format_are_refused_first(weights, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run("export", compose("export", [f"weights={weights}", f"paths.run={tmp_path}", *overrides]))
    assert not list(tmp_path.iterdir())


def test_an_exported_file_is_not_exported_again(export, people, tmp_path):
    file, _ = export(*ONNX, f"paths.data={people}")
    with pytest.raises(ConfigError, match="is an exported file"):
        run("export", compose("export", [f"weights={file}", f"paths.run={tmp_path}"]))


def test_an_exported_file_is_not_trained(export, people, tmp_path):
    file, _ = export(*ONNX, f"paths.data={people}")
    with pytest.raises(ConfigError, match="cannot be trained"):
        run("fit", compose("fit", [f"weights={file}", f"paths.data={people}", "prepare=null", f"paths.run={tmp_path}"]))


def test_missing_weights_are_refused():
    with pytest.raises(ConfigError, match="ckpt_path: expected a network to export"):
        check("export", [])


def test_experiments_compose_for_export(weights):
    for experiment in ("w32_256x192", "tiny", "simcc_res50_256x192", "res50_256x192", "aic_w32_256x192"):
        check("export", [f"experiment={experiment}", f"weights={weights}"])


def test_a_network_of_a_custom_class_is_exported(people, tmp_path, monkeypatch):
    weights = write_checkpoint(tmp_path / "own.ckpt")
    stored = torch.load(weights, weights_only=True)
    stored["hyper_parameters"]["config"]["model"]["_target_"] = "my_module.MyNet"
    torch.save(stored, weights)
    stored = stored["hyper_parameters"]["config"]["model"]
    with pytest.raises(WeightsError, match=r"my_module\.MyNet"):
        read_network(compose("export", [f"weights={weights}"]), weights)
    module = ModuleType("my_module")

    class MyNet(hrpose.HRNet):
        def __init__(self, num_keypoints: int, width: int) -> None:
            small = {"stem_width": 8, "stage1_width": 4, **{name: stored[name] for name in ("num_modules", "num_blocks")}}
            super().__init__(width, num_keypoints, **small, stage1_blocks=stored["stage1_blocks"], final_kernel=3)

    module.MyNet = MyNet
    monkeypatch.setitem(sys.modules, "my_module", module)
    net, _ = read_network(compose("export", [f"weights={weights}", "model={_target_:my_module.MyNet,width:4}"]), weights)
    assert isinstance(net, hrpose.HRNet)


def test_the_opset_is_that_of_the_key(export, people):
    onnx = pytest.importorskip("onnx")
    file, _ = export(*ONNX, f"paths.data={people}")
    assert {entry.domain: entry.version for entry in onnx.load(file).opset_import}[""] == 17
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".part"] == []
