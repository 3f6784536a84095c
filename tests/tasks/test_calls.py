"""The verbs as Python functions: their results, and the restored state of the process."""

import logging
import math
import os
import signal
import sys
import warnings
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import yaml

import hrpose
from hrpose.config import ConfigError
from hrpose.errors import DataWarning
from hrpose.synthetic import write_dataset
from hrpose.tasks import calls
from hrpose.tasks.evaluate import evaluate as evaluate_task

SMALL = {
    **{"prepare": None, "codec": "heatmap", "size": "128x96", "schedule": "none"},
    **{"model.width": 4, "model.stem_width": 8, "model.stage1_width": 4},
    **{"data.batch_size": 4, "data.val_batch_size": 8, "data.num_workers": 0, "data.val_boxes": ["gt"]},
    **{"trainer.max_epochs": 1, "trainer.accelerator": "cpu", "trainer.precision": "32-true"},
    **{"callbacks.progress": None, "callbacks.pictures": None, "+trainer.enable_progress_bar": False},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning"),
]


def state_of_the_process():
    """Return the state that a call must restore."""
    root = logging.root
    return {
        "folder": Path.cwd(),
        "argv": list(sys.argv),
        "signals": (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)),
        "root": (root.level, list(root.handlers), [list(handler.filters) for handler in root.handlers]),
        "lightning": list(logging.getLogger("lightning").handlers),
        "environment": dict(os.environ),
        "showwarning": warnings.showwarning,
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with drawn people; its name has special characters of Hydra."""
    folder = tmp_path_factory.mktemp("calls") / "five, (people)"
    write_dataset(folder / "data", num_train=8, num_val=4, image_size=(320, 240))
    return folder


@pytest.fixture(scope="module")
def trained(home):
    hrpose.tasks.find_task("fit")  # imports libraries, which set things of their own
    before = state_of_the_process()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = {**SMALL, "paths.data": home / "data", "paths.runs": home / "runs"}
        result = hrpose.fit("experiment=tiny", **values)
        assert not any("logging interval" in str(entry[1]) for entry in warnings.filters)  # ignored within a run
    return result, before, state_of_the_process()


def test_fit_returns_numbers_checkpoints_and_folder(trained, home):
    result = trained[0]
    assert result.run_dir.parent == home / "runs" / "tiny"
    assert result.best_checkpoint == result.run_dir / "checkpoints" / "best.ckpt"
    assert result.last_checkpoint == result.run_dir / "checkpoints" / "last.ckpt"
    assert result.score == result.numbers["AP"] == result.numbers["AP_gt"]
    assert 0 <= result.score <= 1
    assert all(path.is_file() for path in (result.best_checkpoint, result.last_checkpoint, *result.reports))


def test_fit_restores_the_state_of_the_process(trained):
    _, before, after = trained
    assert after == before


def test_the_overrides_are_saved_as_those_of_a_command(trained):
    saved = yaml.safe_load((trained[0].run_dir / ".hydra" / "overrides.yaml").read_text())
    assert {"experiment=tiny", "trainer.max_epochs=1", "data.val_boxes=[gt]"} <= set(saved)


def test_test_measures_the_numbers_of_fit(trained, home):
    result = trained[0]
    values = {**SMALL, "paths.data": home / "data", "paths.runs": home / "runs"}
    measured = hrpose.test("experiment=tiny", **values, ckpt_path=result.best_checkpoint)
    assert measured.numbers["AP"] == result.numbers["AP"]
    assert measured.measured == result.best_checkpoint
    assert measured.run_dir != result.run_dir


def test_predict_returns_the_poses_of_each_image_and_evaluate_measures_them(trained, home):
    annotations = home / "data" / "annotations" / "person_keypoints_val2017.json"
    common = {"paths.runs": home / "runs"}
    found = hrpose.predict(
        source=home / "data" / "val2017",
        boxes=annotations,
        annotations=annotations,
        ckpt_path=trained[0].best_checkpoint,
        device="cpu",
        draw="none",
        oks_nms_threshold=None,
        **common,
    )
    poses = found.read_poses()
    assert sorted(poses) == sorted(file.name for file in (home / "data" / "val2017").iterdir())
    assert sum(map(len, poses.values())) == found.num_instances > 4
    some = poses[min(poses)]
    assert some.keypoints.shape == (len(some), 17, 2)
    assert some.skeleton.keypoint_names[0] == "nose"
    measured = hrpose.evaluate(annotations=annotations, results=found.poses_file, num_samples=10, **common)
    assert measured.score == measured.numbers["AP"] >= 0
    assert measured.reports == (measured.run_dir / "report.html",)


def test_export_is_a_function_and_a_package(trained, home):
    pytest.importorskip("onnxruntime")
    written = hrpose.export(
        ckpt_path=trained[0].best_checkpoint,
        format="onnx",
        flip_test=False,
        measure_ap=False,
        num_crops=4,
        **{"paths.runs": home / "runs", "paths.data": home / "data"},
    )
    assert written.file == written.run_dir / "best.onnx"
    assert written.report.is_file()
    assert written.ap_after is None
    assert hrpose.export.open_exported(written.file).record.skeleton.num_keypoints == 17


def test_all_faults_are_listed_and_no_folder_is_made(tmp_path):
    with pytest.raises(ConfigError) as caught:
        hrpose.fit("experiment=tny", **{"optim.lrr": 1, "paths.runs": tmp_path / "runs"})
    assert {fault.partition(":")[0] for fault in caught.value.faults} == {"experiment", "optim.lrr"}
    assert not (tmp_path / "runs").exists()


def test_faults_of_parts_are_found_before_a_folder_is_made(home, tmp_path):
    values = {**SMALL, "codec.sigma": -1.0, "paths.data": home / "data", "paths.runs": tmp_path / "runs"}
    with pytest.raises(ConfigError, match=r"^codec"):
        hrpose.fit("experiment=tiny", **values)
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_a_refused_run_is_removed(home, tmp_path):
    annotations = home / "data" / "annotations" / "person_keypoints_val2017.json"
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match=r"results\.json"):
        hrpose.evaluate(annotations=annotations, results=tmp_path / "results.json", **{"paths.runs": tmp_path / "runs"})
    assert list((tmp_path / "runs").rglob("*")) == [tmp_path / "runs" / "evaluate"]


def test_two_calls_in_one_second_get_different_folders(home, tmp_path, monkeypatch):
    def leave_a_file(cfg):
        Path(cfg.paths.run, "file").touch()
        return Path(cfg.paths.run)

    monkeypatch.setattr("hrpose.config.paths.time.strftime", lambda form: "now")
    monkeypatch.setattr("hrpose.tasks.find_task", lambda verb: leave_a_file)
    values = {**SMALL, "paths.data": home / "data", "paths.runs": tmp_path}
    assert [calls.call("fit", (), values).name for _ in range(2)] == ["now", "now_2"]


@pytest.mark.parametrize("several", [{"trainer.devices": 2}, {"trainer.num_nodes": 2}])
def test_several_processes_need_a_common_folder(home, tmp_path, several, monkeypatch):
    values = {**SMALL, "paths.data": home / "data", "paths.runs": tmp_path, **several}
    with pytest.raises(ConfigError, match=r"^paths\.run:"):
        hrpose.fit(**values)
    monkeypatch.setattr("hrpose.tasks.find_task", lambda verb: lambda cfg: Path(cfg.paths.run))
    assert calls.call("fit", (), {**values, "paths.run": tmp_path / "run"}) == tmp_path / "run"


def test_an_interrupt_is_raised_as_such_and_the_handlers_are_restored(home, tmp_path, monkeypatch):
    def end_as_lightning_does(cfg):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.exit(1)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("hrpose.tasks.find_task", lambda verb: end_as_lightning_does)
    with pytest.raises(KeyboardInterrupt):
        hrpose.fit(**{**SMALL, "paths.data": home / "data", "paths.runs": tmp_path})
    assert signal.getsignal(signal.SIGINT) is before


def test_a_script_without_a_guard_is_explained(home, tmp_path, monkeypatch):
    def break_down(cfg):
        raise BrokenProcessPool

    monkeypatch.setattr("hrpose.tasks.find_task", lambda verb: break_down)
    with pytest.raises(RuntimeError, match="__main__"):
        hrpose.fit(**{**SMALL, "paths.data": home / "data", "paths.runs": tmp_path})


def test_convert_returns_the_files_and_leaves_no_run_folder(home, tmp_path):
    source = home / "data" / "annotations" / "person_keypoints_val2017.json"
    values = {"images": home / "data" / "val2017", "out": tmp_path / "out", "split": 0.25, "paths.runs": tmp_path / "runs"}
    found = hrpose.convert(source=source, **values)
    assert set(found.files) == {"train", "val"}
    assert all(file.is_file() and file.parent == tmp_path / "out" for file in found.files.values())
    assert list((tmp_path / "runs").rglob("*")) == [tmp_path / "runs" / "convert"]


def test_the_command_line_calls_the_same_task():
    assert hrpose.tasks.find_task("evaluate") is evaluate_task


def test_a_result_cannot_be_changed(trained):
    with pytest.raises(AttributeError):
        trained[0].score = math.inf
