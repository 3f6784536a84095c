"""A run that dies in the midst of an epoch goes on to the bits of one that did not."""

import json
import re
import signal
from pathlib import Path

import pytest
import torch

from hrpose.models import WeightsError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::hrpose.data.errors.DataWarning"),
]

WORDS = [
    *(
        "trainer.max_epochs=3",
        "callbacks.last_in_epoch.every_n_train_steps=2",
        "data.num_workers=1",
        "callbacks/ema=default",
    ),
    *("data.batch_size=4", "augment=hrnet"),
]


def everything_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Weights, averaged weights and the optimizer's moments by name."""
    content = torch.load(checkpoint, weights_only=True)
    moments = content["optimizer_states"][0]["state"]
    return {
        **content["state_dict"],
        **{f"current.{name}": value for name, value in content["current_model_state"].items()},
        **{f"optimizer.{i}.{name}": value for i, part in moments.items() for name, value in part.items()},
    }


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
    whole = everything_of(next(tmp_path.glob("runs/whole/*/checkpoints/last.ckpt")))
    newest = max(tmp_path.glob("runs/killed/*/checkpoints/last.ckpt"), key=lambda file: file.stat().st_mtime)
    again = everything_of(newest)
    assert newest != last
    assert whole.keys() == again.keys()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


@pytest.mark.trains
@pytest.mark.parametrize(
    "schedule",
    [["schedule=none"], ["schedule=warmup_multistep", "schedule.warmup_steps=3", "schedule.milestones=[1]"]],
    ids=["constant", "warmup_multistep"],
)
def test_a_finished_run_goes_on_for_more_epochs(fit, tmp_path, schedule) -> None:
    words = ["augment=mmpose", *schedule]
    fit(*words, "trainer.max_epochs=2", run="whole")
    fit(*words, "trainer.max_epochs=1", run="first")
    fit(*words, "trainer.max_epochs=2", f"ckpt_path={tmp_path}/first/checkpoints/last.ckpt", run="second")
    whole, again = (
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "second")
    )
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


@pytest.mark.trains
def test_a_resumed_run_that_never_gets_better_keeps_its_best(fit, tmp_path) -> None:
    fit("trainer.max_epochs=1", run="first")
    best = tmp_path / "first/checkpoints/best.ckpt"
    content = torch.load(best, weights_only=True)
    last = torch.load(tmp_path / "first/checkpoints/last.ckpt", weights_only=True)
    (state,) = (state for state in last["callbacks"].values() if state.get("monitor") == "val/AP")
    state["best_model_score"] = torch.tensor(1.0)
    torch.save(last, tmp_path / "first/checkpoints/last.ckpt")
    fit("trainer.max_epochs=2", f"ckpt_path={tmp_path}/first/checkpoints/last.ckpt", run="second")
    kept = torch.load(tmp_path / "second/checkpoints/best.ckpt", weights_only=True)
    assert kept["epoch"] == content["epoch"] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.write_bytes(b""), "bad.ckpt"),
        (lambda file: file.write_bytes(b"PK\x03\x04 not the end"), "bad.ckpt.*cut off after 16 bytes"),
        (lambda file: torch.save({"state_dict": {"net.nothing": torch.zeros(1)}}, file), "bad.ckpt"),
        (lambda file: torch.save({"state_dict": {"net.a": Path("unsafe")}}, file), "bad.ckpt"),
        (lambda file: torch.save({"state_dict": {}}, file), "bad.ckpt"),
    ],
    ids=["empty", "truncated", "other network", "unsafe", "nothing"],
)
def test_a_checkpoint_that_cannot_be_used_is_refused(fit, tmp_path, make, message) -> None:
    make(tmp_path / "bad.ckpt")
    with pytest.raises(WeightsError, match=message):
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
