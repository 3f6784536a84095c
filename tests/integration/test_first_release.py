"""A run of the first release, kept as that release wrote it: later versions test, resume, export and compare it.

Made by `hrpose fit` with the overrides below at the last commit before the code was laid out anew; `best.ckpt` is of the end
of the run, `last.ckpt` of step 417 of 420, in the middle of the last epoch. Pictures are left out.
"""

from __future__ import annotations

import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrpose import PoseEstimator
from hrpose.config import compose
from hrpose.synthetic import write_dataset
from hrpose.tasks import run

NETWORK = ("model.width=2", "model.stem_width=4", "model.stage1_width=2", "optim.lr=1e-2")
SETTINGS = (
    "trainer.max_epochs=60",
    "trainer.check_val_every_n_epoch=60",
    "data.num_workers=0",
    "data.batch_size=4",
    "data.val_boxes=[gt,det]",
)
QUIET = ("trainer.accelerator=cpu", "callbacks.progress=null", "+trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run under runs/ and its data under ds/."""
    root = tmp_path_factory.mktemp("first_release")
    with tarfile.open(Path(__file__).with_name("first_release.tar.xz")) as archive:
        archive.extractall(root / "runs" / "first_release", filter="data")
    write_dataset(root / "ds", num_train=12, num_val=6)
    return root


@pytest.fixture(scope="module")
def old_run(folder: Path) -> Path:
    return next((folder / "runs" / "first_release").iterdir())


def call(verb: str, folder: Path, *overrides: str) -> object:
    given = [f"paths.run={folder / verb}", *overrides]
    if verb in ("fit", "test"):
        given = [*NETWORK, *SETTINGS, *QUIET, f"paths.data={folder / 'ds'}", "prepare=null", *given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run(verb, compose(verb, given))


def median_distance(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """Median distance in pixels of the keypoints of result rows, paired by image and place of the box."""
    keypoints = []
    for side in (rows, others):
        ordered = sorted(side, key=lambda row: (row["image_id"], *row["center"]))
        keypoints.append(np.array([row["keypoints"] for row in ordered]).reshape(-1, 17, 3)[..., :2])
    return float(np.median(np.linalg.norm(keypoints[0] - keypoints[1], axis=-1)))


def test_it_is_measured(folder, old_run) -> None:
    call("test", folder, f"ckpt_path={old_run}/checkpoints/best.ckpt")
    found, before = (json.loads((run / "results" / "keypoints_gt.json").read_text()) for run in (folder / "test", old_run))
    assert sorted(row["image_id"] for row in found) == sorted(row["image_id"] for row in before)
    assert median_distance(found, before) < 0.5  # the run computed in bfloat16


def test_it_resumes_in_the_middle_of_an_epoch(folder, old_run) -> None:
    call("fit", folder, f"ckpt_path={old_run}/checkpoints/last.ckpt")
    ends = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (folder / "fit", old_run)]
    assert [end["global_step"] for end in ends] == [420, 417]
    assert all(torch.isfinite(tensor).all() for tensor in ends[0]["state_dict"].values())
    assert ends[0]["state_dict"].keys() == ends[1]["state_dict"].keys()


def test_it_predicts(folder, old_run) -> None:
    source = folder / "ds" / "val2017"
    call("predict", folder, f"weights={old_run}/checkpoints/best.ckpt", f"source={source}", "device=cpu")
    rows = json.loads((folder / "predict" / "poses.json").read_text())
    assert {len(row["keypoints"]) for row in rows} <= {3 * 17}


def test_an_estimator_loads_it(folder, old_run) -> None:
    estimator = PoseEstimator.from_checkpoint(old_run / "checkpoints" / "best.ckpt", device="cpu")
    poses = estimator(np.zeros((120, 160, 3), np.uint8), bbox=[[10, 10, 60, 90]])
    assert poses.keypoints.shape == (1, 17, 2)
    assert estimator.skeleton.name == "person"


@pytest.mark.slow
def test_it_is_exported(folder, old_run) -> None:
    exported = call(
        "export",
        folder,
        f"weights={old_run}/checkpoints/best.ckpt",
        "format=onnx",
        f"paths.data={folder / 'ds'}",
        "measure_ap=false",
    )
    assert exported.file.suffix == ".onnx"


def test_it_is_compared(folder, old_run) -> None:
    assert call("compare", folder, f"a={old_run}", f"b={old_run}") == 0.0
