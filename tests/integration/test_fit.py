"""Whole runs of a very small network: from drawn images to AP."""

import csv
import hashlib
import json
import re
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from short_run import NO_PICTURES, SMALL

from hrpose.config import compose, validate
from hrpose.errors import DataWarning
from hrpose.tasks import run

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning"),
]


def read_numbers(run: Path) -> dict[str, list[float]]:
    """The columns of metrics.csv without their gaps."""
    columns: dict[str, list[float]] = {}
    with (run / "metrics" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value:
                    columns.setdefault(name, []).append(float(value))
    return columns


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def coco_ap(annotations: Path, results: Path) -> float:
    truth = COCO(str(annotations))
    evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.trains
# a fault must not depend on the course of one training
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_ap_rises_and_loss_falls(fit, people, tmp_path, seed) -> None:
    fit(
        f"data.val_annotations={people}/annotations/person_keypoints_train2017.json",
        f"data.val_images={people}/train2017",
        *("augment=none", "codec.sigma=2", f"seed={seed}"),
        *("model.width=16", "model.stem_width=16", "model.stage1_width=8"),
        # rate and schedule of the recipe: a constant rate leaves batch norms behind the weights, and AP to chance
        *("schedule=onecycle", "trainer.max_epochs=24", "trainer.check_val_every_n_epoch=12"),
        # over the three seeds AP is at least .34 at the end and at most .05 half way, and the loss falls to .15
        *("codec.input_size=[64,64]", "codec.heatmap_size=[16,16]", "flip_test=false"),
        "trainer.precision=32-true",  # many processors only emulate bf16
    )
    numbers = read_numbers(tmp_path / "run")
    ap, losses = numbers["val/AP"], numbers["train/loss"]
    assert ap[0] < ap[-1]
    assert ap[-1] > 0.1
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


@dataclass(frozen=True)
class Run:
    """A run that several tests look at: its folder, what `fit` returned and what it printed."""

    folder: Path
    ap: float
    printed: str


@pytest.fixture(scope="module")
def finished(people, tmp_path_factory) -> Run:
    """A run of three epochs, validated after the second and the last, with both kinds of boxes and two loggers."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = ["data.val_boxes=[gt,det]", "flip_test=false", "model.width=8", "optim.lr=3e-3", "schedule=multistep"]
    overrides += ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "logger=[csv,tensorboard]", "threads=1"]
    small = [word for word in SMALL if word != NO_PICTURES]
    cfg = compose("fit", [*small, f"paths.data={people}", f"paths.runs={folder}", f"paths.run={folder}/a", *overrides])
    validate(cfg)
    with redirect_stdout(StringIO()) as printed:
        ap = run("fit", cfg).score
    return Run(folder / "a", ap, printed.getvalue())


def test_a_run_leaves_checkpoints_config_metrics_results_and_pictures(finished, people) -> None:
    left = {str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*") if path.is_file()}
    assert left >= {
        "config.yaml",
        "metrics/metrics.csv",
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
        *("results/keypoints_gt.json", "results/keypoints_det.json"),
        *("results/report_gt.json", "results/report_gt.html", "results/report_det.json", "results/report_det.html"),
        *("pictures/train_crops.png", "pictures/val_poses.png", "pictures/curves.png"),
    }
    truth = people / "annotations" / "person_keypoints_val2017.json"
    results = finished.folder / "results"
    assert coco_ap(truth, results / "keypoints_gt.json") == pytest.approx(finished.ap, abs=1e-6)
    numbers = read_numbers(finished.folder)
    assert {"val/AP", "val/AP_gt", "val/AP_det", "val/ARL_det"} <= set(numbers)
    assert numbers["val/AP"] == numbers["val/AP_gt"]
    assert json.loads((results / "keypoints_det.json").read_text())[0].keys() >= {"image_id", "keypoints", "score"}


def test_a_run_that_is_too_short_ends_with_its_steps_and_no_invented_cause(finished) -> None:
    found = json.loads((finished.folder / "results" / "diagnosis.json").read_text())
    assert finished.ap < 0.05
    assert found["name"] == ""
    assert found["score"] == pytest.approx(finished.ap)
    assert "in 15 steps on 20 instances" in found["evidence"]
    assert "Train longer" in found["fix"]
    assert finished.printed.rstrip().endswith(found["fix"])


def test_every_ap_carries_its_protocol(finished, people) -> None:
    results = finished.folder / "results"
    stamps = {kind: json.loads((results / f"report_{kind}.json").read_text())["protocol"] for kind in ("gt", "det")}
    assert stamps["gt"]["boxes"] == "ground truth"
    assert stamps["det"]["boxes"]["name"] == "COCO_val2017_detections_AP_H_56_person.json"
    annotations = people / "annotations" / "person_keypoints_val2017.json"
    for stamp in stamps.values():
        assert stamp["annotations"]["sha256"] == hashlib.sha256(annotations.read_bytes()).hexdigest()
        assert (stamp["num_images"], stamp["flip_test"], stamp["codec"]) == (4, False, "HeatmapCodec")
        assert (stamp["input_size"], stamp["oks_nms"], stamp["sigmas"]) == ([96, 128], "0.9", "coco")
        assert "not stated" not in stamp.values()
    hyperparameters = torch.load(finished.folder / "checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]
    assert hyperparameters["protocols"] == stamps
    assert "num_images: 4" in (finished.folder / "metrics" / "hparams.yaml").read_text()
    lines = {line.split(":")[0]: line for line in finished.printed.splitlines() if "boxes" in line}
    assert "flip test off, HeatmapCodec 96x128, OKS-NMS 0.9" in lines["gt"]
    assert f"{stamps['det']['boxes']['name']} (sha256 {stamps['det']['boxes']['sha256'][:8]})" in lines["det"]


def test_tensorboard_gets_the_pictures(finished) -> None:
    content = b"".join(file.read_bytes() for file in (finished.folder / "tensorboard").glob("events*"))
    assert b"pictures/train_crops" in content
    assert b"hp_metric" not in content


def test_a_checkpoint_holds_the_number_of_threads(finished) -> None:
    callbacks = torch.load(finished.folder / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert callbacks["TorchThreads"] == {"num_threads": 1}


def validated_epochs(run: Path) -> list[int]:
    with (run / "metrics" / "metrics.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row.get("val/AP")]


def last_epoch(run: Path) -> int:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]


def test_the_last_epoch_is_validated_and_kept(finished) -> None:
    assert validated_epochs(finished.folder)[:2] == [1, 2]
    assert last_epoch(finished.folder) == 2


def test_an_epoch_shorter_than_both_intervals_is_validated_and_leaves_its_loss(fit, tmp_path, capsys) -> None:
    limits = ["trainer.limit_val_batches=1", "data.val_batch_size=2"]
    fit("trainer.max_epochs=1", "trainer.check_val_every_n_epoch=7", "trainer.log_every_n_steps=50", *limits)
    run = tmp_path / "run"
    assert len(read_numbers(run)["train/loss"]) == 1
    assert (validated_epochs(run)[:1], last_epoch(run)) == ([0], 0)
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert "trainer.limit_val_batches=1" in capsys.readouterr().out


@pytest.mark.trains
def test_weights_depend_on_the_seed_and_not_on_the_number_of_workers(fit, tmp_path) -> None:
    brief = ["trainer.max_epochs=1", "trainer.limit_val_batches=0", "callbacks.best=null"]
    for name, switch in {"alone": "data.num_workers=0", "two": "data.num_workers=2", "other": "seed=1"}.items():
        fit(*brief, switch, run=name)
    alone, two, other = (weights_of(tmp_path / run / "checkpoints/last.ckpt") for run in ("alone", "two", "other"))
    assert alone.keys() == two.keys()
    assert [name for name in alone if not torch.equal(alone[name], two[name])] == []
    assert [name for name in alone if not torch.equal(alone[name], other[name])] != []


@pytest.mark.trains
@pytest.mark.parametrize(
    "switches",
    [
        ("trainer.precision=bf16-mixed", "callbacks/ema=default", "trainer.gradient_clip_val=1.0"),
        ("trainer.accumulate_grad_batches=2", "callbacks/early_stopping=default", "data.val_boxes=[det]"),
        ("codec=dark", "size=128x96", "loss=ohkm", "optim=sgd", "optim.lr=1e-3", "channels_last=false", "flip_test=false"),
        ("schedule=cosine", "augment=hrnet", "pixels=color_dropout"),
    ],
    ids=lambda switches: switches[0],
)
def test_every_switch_is_one_line(fit, tmp_path, switches) -> None:
    ap = fit("trainer.max_epochs=1", "+trainer.limit_train_batches=3", *switches)
    assert 0 <= ap <= 1
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # within torch.compile
def test_the_network_can_be_compiled(fit) -> None:
    assert 0 <= fit("trainer.max_epochs=1", "+trainer.limit_train_batches=2", "compile=true") <= 1


def test_the_learning_rate_is_logged_as_often_as_it_changes(fit, finished, tmp_path) -> None:
    fit("schedule=onecycle", "trainer.limit_train_batches=2", "trainer.limit_val_batches=0", "callbacks.best=null")
    rates = read_numbers(tmp_path / "run")["lr-Adam"]  # of each of two steps in two epochs
    assert len(rates) == len(set(rates)) == 4
    rates = read_numbers(finished.folder)["lr-Adam"]  # of each of three epochs, before the first milestone
    assert (len(rates), len(set(rates))) == (3, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_works_offline_without_a_key(hrpose, tmp_path) -> None:
    done = hrpose(
        "fit",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=1",
        "logger=[csv,wandb]",
        "logger.wandb.offline=true",
        pictures=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("runs/tiny/*/wandb/offline-run-*/files/media/images/pictures/train_crops*.png"))


def test_test_measures_what_fit_has_measured(finished, hrpose, tmp_path) -> None:
    shutil.copytree(finished.folder, tmp_path / "runs/tiny/a")
    done = hrpose("test", "model.width=8", "ckpt_path=last", "data.val_boxes=[gt,det]", "flip_test=false")
    assert done.returncode == 0, done.stderr[-2000:]
    printed = dict(re.findall(r"^ (gt|det) +(\d\.\d{3})", done.stdout, re.MULTILINE))
    assert printed.keys() == {"gt", "det"}
    (results,) = tmp_path.glob("runs/tiny/test_*/results")
    numbers = json.loads((results / "report_gt.json").read_text())["numbers"]
    assert numbers["AP"] == pytest.approx(finished.ap, abs=1e-6)
    assert f"{numbers['AP']:.3f}" == printed["gt"]


def test_a_checkpoint_measured_with_other_overrides_says_which_were_its_own(finished, hrpose) -> None:
    checkpoint = finished.folder / "checkpoints/last.ckpt"
    done = hrpose("test", "model.width=4", "codec.sigma=3", f"ckpt_path={checkpoint}", "data.val_boxes=[gt]")
    assert done.returncode == 1
    assert "codec.sigma: " in done.stdout
    assert re.search(r"HRNet has width 8, the network 4", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_codec_with_more_channels_than_keypoints_is_trained(fit, tmp_path) -> None:
    codec = ["codec=udp_offset", "size=256x192", "loss=offset", "codec.heatmap_size=[24,32]", "codec.input_size=[96,128]"]
    fit(*codec, "trainer.max_epochs=1", pictures=True)
    assert (tmp_path / "run" / "pictures" / "train_crops.png").exists()
    assert len(weights_of(tmp_path / "run" / "checkpoints" / "last.ckpt")["net.final_layer.weight"]) == 17 * 3


@pytest.mark.slow  # tests/callbacks/test_freeze.py holds the same for a network without data
@pytest.mark.parametrize(("words", "tolerance"), [([], 0), (["callbacks/ema=default"], 1e-5)])  # an average is rounded
def test_a_frozen_backbone_is_that_of_the_weights(fit, tmp_path, words, tolerance) -> None:
    short = ["trainer.max_epochs=1", "trainer.limit_val_batches=0", "callbacks.best=null"]
    fit(*short, run="first")
    before = tmp_path / "first" / "checkpoints" / "last.ckpt"
    fit(*short, *words, f"weights={before}", "callbacks/freeze=backbone", run="second")
    one, other = weights_of(before), weights_of(tmp_path / "second" / "checkpoints" / "last.ckpt")
    head = {name for name in one if name.startswith("net.final_layer")}
    assert any(not torch.equal(one[name], other[name]) for name in head)
    for name in one.keys() - head:
        torch.testing.assert_close(other[name], one[name], rtol=tolerance, atol=tolerance)
