"""A run that dies in the midst of an epoch goes on to the bits of one that did not."""

import itertools
import json
import re
import signal
from pathlib import Path

import pytest
import torch

from hrpose.config import ConfigError
from hrpose.weights import WeightsError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning"),
]

WORDS = [
    *("trainer.max_epochs=3", "callbacks.last_in_epoch.every_n_train_steps=2", "data.num_workers=1", "callbacks/ema=default"),
    *("data.batch_size=4", "augment=hrnet"),
]


SCHEDULES = {
    "multistep": ["schedule=multistep", "schedule.milestones=[1,2]"],
    "cosine": ["schedule=cosine"],
    "onecycle": ["schedule=onecycle"],
    "none": ["schedule=none"],
    "warmup_multistep": ["schedule=warmup_multistep", "schedule.warmup_steps=4", "schedule.milestones=[1,2]"],
}


def everything_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Weights, averaged weights, the optimizer's moments and its settings by name."""
    content = torch.load(checkpoint, weights_only=True)
    (optimizer,) = content["optimizer_states"]
    (group,) = optimizer["param_groups"]
    rates = [rate for state in content["lr_schedulers"] for rate in (*state["_last_lr"], state["last_epoch"])]
    return {
        **content["state_dict"],
        **{f"current.{name}": value for name, value in content.get("current_model_state", {}).items()},
        **{f"optimizer.{i}.{name}": value for i, part in optimizer["state"].items() for name, value in part.items()},
        "settings": torch.tensor([group["lr"], *group["betas"], *rates]),
    }


def differing(one: Path, other: Path) -> list[str]:
    """Names of what is not equal to the bit."""
    left, right = everything_of(one), everything_of(other)
    assert left.keys() == right.keys()
    return [name for name in left if not torch.equal(left[name], right[name])]


def resume_from_each(fit, tmp_path: Path, words: list[str], *, pattern: str) -> list[str]:
    """Resume a run from each of its checkpoints that match the pattern, and name what differs at the end."""
    keep = [
        *("callbacks.last_in_epoch.every_n_train_steps=1", "callbacks.last_in_epoch.filename='step_{step}'"),
        *("+callbacks.last_in_epoch.save_top_k=-1", "trainer.precision=32-true", *words),
    ]
    fit(*keep, run="whole")
    folder = tmp_path / "whole" / "checkpoints"
    found = sorted(file for file in folder.glob(pattern) if differing(file, folder / "last.ckpt"))
    assert found
    faults = []
    for file in found:
        fit(*keep, f"ckpt_path='{file}'", run=file.stem)
        names = differing(folder / "last.ckpt", tmp_path / file.stem / "checkpoints" / "last.ckpt")
        faults += [f"{file.stem}: {name}" for name in names]
    return faults


@pytest.mark.slow  # two whole runs and a killed one; the grid below resumes within one process
@pytest.mark.trains
def test_a_killed_run_resumes_to_the_bits_of_an_undisturbed_one(hrpose, tmp_path) -> None:
    assert hrpose("fit", *WORDS, "name=whole").returncode == 0
    bomb = ["+callbacks.bomb._target_=bomb.KillAtStep", "+callbacks.bomb.step=7"]
    assert hrpose("fit", *WORDS, "name=killed", *bomb, path=[Path(__file__).parent]).returncode == -signal.SIGKILL
    (last,) = tmp_path.glob("runs/killed/*/checkpoints/last.ckpt")
    steps = torch.load(last, weights_only=True)["global_step"]
    assert steps == 6
    resumed = hrpose("fit", *WORDS, "name=killed", "ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    newest = max(tmp_path.glob("runs/killed/*/checkpoints/last.ckpt"), key=lambda file: file.stat().st_mtime)
    assert newest != last
    assert differing(next(tmp_path.glob("runs/whole/*/checkpoints/last.ckpt")), newest) == []


@pytest.mark.parametrize(
    ("schedule", "accumulate", "workers", "ema"),
    [("onecycle", 2, 2, True), pytest.param("warmup_multistep", 1, 0, False, marks=pytest.mark.slow)],
)
def test_a_run_resumed_within_an_epoch_ends_with_the_same_bits(fit, tmp_path, schedule, accumulate, workers, ema) -> None:
    words = [*SCHEDULES[schedule], f"trainer.accumulate_grad_batches={accumulate}", f"data.num_workers={workers}"]
    words += ["callbacks/ema=default"] if ema else []
    words += ["trainer.limit_val_batches=0", "callbacks.best=null"]  # a validation takes longer than the training
    assert resume_from_each(fit, tmp_path, words, pattern="step_step=2.ckpt") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "accumulate", "workers", "ema"), list(itertools.product(SCHEDULES, (1, 2), (0, 2), (False, True)))
)
def test_a_run_resumed_within_any_epoch_ends_with_the_same_bits(fit, tmp_path, schedule, accumulate, workers, ema) -> None:
    words = [*SCHEDULES[schedule], f"trainer.accumulate_grad_batches={accumulate}", f"data.num_workers={workers}"]
    words += ["callbacks/ema=default"] if ema else []
    assert resume_from_each(fit, tmp_path, words, pattern="step_step=[247].ckpt") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        ["+trainer.val_check_interval=3", "trainer.accumulate_grad_batches=2", "callbacks/ema=default"],
        ["trainer.check_val_every_n_epoch=2"],
        ["+trainer.max_steps=8", "trainer.max_epochs=-1"],
        ["+trainer.max_steps=8"],
        ["+trainer.overfit_batches=4"],
        ["trainer.limit_train_batches=0.7", "trainer.accumulate_grad_batches=2"],
    ],
    ids=lambda limits: limits[0],
)
@pytest.mark.filterwarnings("ignore:You requested to overfit.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key.*:UserWarning")  # max_steps ends within an epoch
def test_a_run_resumed_from_each_of_its_checkpoints_ends_with_the_same_bits(fit, tmp_path, limits) -> None:
    best = ["callbacks.best.filename='best_{step}'", "+callbacks.best.save_top_k=-1"]
    words = ["schedule=onecycle", *best, *limits]
    assert resume_from_each(fit, tmp_path, words, pattern="*_*.ckpt") == []


def test_a_run_resumed_between_the_batches_of_an_accumulation_keeps_their_gradients(fit, tmp_path) -> None:
    words = ["trainer.accumulate_grad_batches=2", "+trainer.val_check_interval=3", "schedule=onecycle"]
    words += ["callbacks.best.filename='best_{step}'", "trainer.limit_val_batches=1"]
    assert resume_from_each(fit, tmp_path, words, pattern="best_step=1.ckpt") == []
    assert "gradients" in torch.load(tmp_path / "whole/checkpoints/best_step=1.ckpt", weights_only=True)


def test_a_run_resumed_after_the_last_step_of_an_epoch_has_validated_the_epoch(fit, tmp_path) -> None:
    words = ["callbacks.last_in_epoch.every_n_train_steps=2", "callbacks.last_in_epoch.filename='step_{step}'"]
    words += ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.max_epochs=1"]
    fit(*words, pictures=True)
    content = torch.load(tmp_path / "run/checkpoints/step_step=2.ckpt", weights_only=True)
    (history,) = [state["history"] for name, state in content["callbacks"].items() if name.startswith("PictureSheets")]
    assert [step for step, _ in history["val/AP_gt"]] == [2]


@pytest.mark.slow
@pytest.mark.trains
def test_a_finished_run_goes_on_for_more_epochs(fit, tmp_path) -> None:
    words = ["augment=mmpose", "schedule=warmup_multistep", "schedule.warmup_steps=3", "schedule.milestones=[1]"]
    words += ["trainer.limit_val_batches=1"]
    fit(*words, "trainer.max_epochs=2", run="whole")
    fit(*words, "trainer.max_epochs=1", run="first")
    fit(*words, "trainer.max_epochs=2", f"ckpt_path={tmp_path}/first/checkpoints/last.ckpt", run="second")
    whole, again = (
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in ("whole", "second")
    )
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


@pytest.mark.trains
def test_a_resumed_run_that_never_gets_better_keeps_its_best(fit, tmp_path) -> None:
    limits = ["+trainer.limit_train_batches=1", "trainer.limit_val_batches=1"]
    fit("trainer.max_epochs=1", *limits, run="first")
    best = tmp_path / "first/checkpoints/best.ckpt"
    content = torch.load(best, weights_only=True)
    last = torch.load(tmp_path / "first/checkpoints/last.ckpt", weights_only=True)
    (state,) = (state for state in last["callbacks"].values() if state.get("monitor") == "val/AP")
    state["best_model_score"] = torch.tensor(1.0)
    torch.save(last, tmp_path / "first/checkpoints/last.ckpt")
    fit("trainer.max_epochs=2", *limits, f"ckpt_path={tmp_path}/first/checkpoints/last.ckpt", run="second")
    kept = torch.load(tmp_path / "second/checkpoints/best.ckpt", weights_only=True)
    assert kept["epoch"] == content["epoch"] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.write_bytes(b""), "bad.ckpt"),
        (lambda file: file.write_bytes(b"PK\x03\x04 not the end"), r"bad.ckpt.*16"),
        (lambda file: torch.save({"state_dict": {"net.nothing": torch.zeros(1)}}, file), "bad.ckpt"),
        (lambda file: torch.save({"state_dict": {"net.a": Path("unsafe")}}, file), "bad.ckpt"),
        (lambda file: torch.save({"state_dict": {}}, file), "bad.ckpt"),
    ],
    ids=["empty", "truncated", "other network", "unsafe", "nothing"],
)
def test_a_checkpoint_that_cannot_be_used_is_refused(fit, tmp_path, make, message) -> None:
    make(tmp_path / "bad.ckpt")
    with pytest.raises((ConfigError, WeightsError), match=message):
        fit(f"ckpt_path={tmp_path}/bad.ckpt")


def test_a_checkpoint_for_other_keypoints_is_refused_in_one_line(fit, hrpose, people, tmp_path) -> None:
    fit("trainer.max_epochs=1", "+trainer.limit_train_batches=1", run="seventeen")
    file = tmp_path / "five.json"
    content = json.loads((people / "annotations/person_keypoints_val2017.json").read_text())
    content["categories"][0].update(keypoints=[f"corner_{i}" for i in range(5)], skeleton=[])
    for row in content["annotations"]:
        row["keypoints"] = row["keypoints"][:15]
    file.write_text(json.dumps(content))
    checkpoint = tmp_path / "seventeen/checkpoints/best.ckpt"
    done = hrpose("test", f"ckpt_path={checkpoint}", f"data.val_annotations={file}", "data.val_boxes=[gt]")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"best.ckpt.*17.*5", done.stderr.splitlines()[-1] + done.stderr, re.DOTALL)
