"""MPII down the whole river: from a few drawn persons to the table of PCKh."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from tiny_mpii import person, truth_of, write_dataset

from hrpose.annotations.mpii import read_mpii_truth
from hrpose.config import compose, validate
from hrpose.metrics.functional import head_sizes, normalized_errors, pckh_table

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
]

SMALL = [
    *("experiment=mpii_w32_256x256", "codec.input_size=[64,64]", "codec.heatmap_size=[16,16]"),
    *("model=hrnet_tiny", "model.width=8", "model.stem_width=8", "model.stage1_width=4"),
    *("data.batch_size=3", "data.num_workers=0", "trainer.accumulate_grad_batches=1", "trainer.accelerator=cpu"),
    *("trainer.log_every_n_steps=1", "callbacks.progress=null", "+trainer.enable_progress_bar=false"),
]


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of MPII, its ground truth in a MATLAB file."""
    folder = write_dataset(tmp_path_factory.mktemp("mpii"))
    savemat(folder / "annot/gt_valid.mat", truth_of([person(number) for number in range(6)]))
    return folder


def pckh_of(run: Path, persons: Path) -> dict[str, float]:
    """The table, computed anew of the result file and the ground truth."""
    rows = json.loads((run / "results/keypoints_gt.json").read_text())
    keypoints = np.array([row["keypoints"] for row in rows]).reshape(-1, 16, 3)
    truth = read_mpii_truth(persons / "annot/gt_valid.mat")
    assert [row["entry"] for row in rows] == list(range(len(truth)))
    errors = normalized_errors(keypoints[..., :2] + 1, truth.keypoints, head_sizes(truth.head_boxes))
    return pckh_table(errors, truth.labelled)


@pytest.mark.trains
def test_fit_and_test_measure_pckh(persons, tmp_path, capsys) -> None:
    # not before hydra is known to be needed: the tasks bring Lightning in
    from hrpose.tasks.fit import fit
    from hrpose.tasks.test import test

    words = [*SMALL, f"paths.data={persons}", f"paths.runs={tmp_path}/runs"]
    learning = ["augment=none", "schedule=none", "optim.lr=1e-2", "trainer.max_epochs=2"]
    learning += ["trainer.check_val_every_n_epoch=1", "callbacks/early_stopping=default", "flip_test=false"]
    cfg = compose("fit", [*words, *learning, f"paths.run={tmp_path}/fit"])
    validate(cfg)
    mean = fit(cfg).score

    table = pckh_of(tmp_path / "fit", persons)
    assert mean == pytest.approx(table["Mean"], abs=1e-4)
    assert 0 < mean < 100
    content = json.loads((tmp_path / "fit/results/pckh_gt.json").read_text())
    assert content["numbers"] == pytest.approx(table, abs=1e-4)
    assert (content["protocol"]["num_images"], content["protocol"]["num_instances"]) == (3, 6)
    assert content["protocol"]["ground_truth"]["name"] == "gt_valid.mat"
    left = {str(path.relative_to(tmp_path / "fit")) for path in (tmp_path / "fit").rglob("*") if path.is_file()}
    assert left >= {"checkpoints/best.ckpt", "pictures/train_crops.png", "pictures/val_poses.png", "pictures/curves.png"}
    assert not any("report" in name for name in left)  # OKS has nothing to say here
    with (tmp_path / "fit/metrics/metrics.csv").open() as file:
        logged = [float(row["val/PCKh"]) for row in csv.DictReader(file) if row["val/PCKh"]]
    assert len(logged) >= 2
    checkpoint = torch.load(tmp_path / "fit/checkpoints/best.ckpt", weights_only=True)
    (best,) = (state for state in checkpoint["callbacks"].values() if state.get("monitor") == "val/PCKh")
    assert float(best["best_model_score"]) == pytest.approx(max(logged))
    assert checkpoint["hyper_parameters"]["protocols"]["gt"] == content["protocol"]
    history = next(state["history"] for state in checkpoint["callbacks"].values() if "history" in state)
    assert [value for _, value in history["val/PCKh_gt"]] == pytest.approx(logged[: len(history["val/PCKh_gt"])])
    printed = capsys.readouterr().out
    assert re.search(r"Head +Shoulder +Elbow +Wrist +Hip +Knee +Ankle +Mean +Mean@0\.11 +Mean@0\.10", printed)
    assert f"{table['Mean']:.1f}" in printed

    cfg = compose("test", [*words, f"ckpt_path={tmp_path}/fit/checkpoints/best.ckpt", f"paths.run={tmp_path}/test"])
    validate(cfg)
    assert test(cfg).score == pytest.approx(pckh_of(tmp_path / "test", persons)["Mean"], abs=1e-4)


def test_compare_says_that_pckh_is_not_compared(tmp_path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/pckh_gt.json").write_text("{}")
    # the task brings rich in
    from hrpose.tasks.compare import compare

    with pytest.raises(ValueError, match=r"results/pckh_gt\.json"):
        compare(compose("compare", [f"a={tmp_path}", f"b={tmp_path}"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [(["metric=oks"], r"protocol.*mpii.*metric=pckh"), (["data.val_ground_truth=null"], "data.val_ground_truth=<gt_valid.mat>")],
)
def test_what_does_not_go_together_is_said_before_training(persons, tmp_path, words, message) -> None:
    # the tasks bring Lightning in
    from hrpose.tasks.assemble import assemble

    with pytest.raises(ValueError, match=message):
        assemble(compose("fit", [*SMALL, f"paths.data={persons}", f"paths.run={tmp_path}", *words]))
