"""The whole river, from drawn photos to AP, on a very small network."""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrpose.errors import DataWarning

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


def assert_same_weights(one: Path, other: Path) -> None:
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def coco_ap(annotations: Path, results: Path) -> float:
    truth = COCO(str(annotations))
    evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.trains
@pytest.mark.parametrize("seed", range(3))
def test_ap_rises_and_loss_falls(fit, people, tmp_path, seed) -> None:
    fit(
        f"data.val_annotations={people}/annotations/person_keypoints_train2017.json",
        f"data.val_images={people}/train2017",
        *("augment=none", "data.val_boxes=[gt]", "codec.sigma=2", f"seed={seed}"),
        *("model.width=16", "model.stem_width=16", "model.stage1_width=8"),
        # rate and schedule of the recipe: a constant rate leaves batch norms behind the weights, and AP to chance
        *("schedule=onecycle", "trainer.max_epochs=30", "trainer.check_val_every_n_epoch=10"),
        "trainer.precision=32-true",  # many processors only emulate bf16
    )
    numbers = read_numbers(tmp_path / "run")
    ap, losses = numbers["val/AP"], numbers["train/loss"]
    assert ap[0] < ap[-1]
    assert ap[-1] > 0.1
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


@pytest.mark.trains
def test_a_run_leaves_checkpoint_config_numbers_results_and_pictures(fit, people, tmp_path) -> None:
    ap = fit("data.val_boxes=[gt,det]", "model.width=8", "optim.lr=3e-3", "trainer.max_epochs=3")
    run = tmp_path / "run"
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left >= {
        "config.yaml",
        "metrics/metrics.csv",
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
        *("results/keypoints_gt.json", "results/keypoints_det.json"),
        *("results/report_gt.json", "results/report_gt.html", "results/report_det.json", "results/report_det.html"),
        *("pictures/train_crops.png", "pictures/val_poses.png", "pictures/curves.png"),
    }
    truth = people / "annotations" / "person_keypoints_val2017.json"
    assert coco_ap(truth, run / "results" / "keypoints_gt.json") == pytest.approx(ap, abs=1e-6)
    numbers = read_numbers(run)
    assert {"val/AP", "val/AP_gt", "val/AP_det", "val/ARL_det"} <= set(numbers)
    assert numbers["val/AP"] == numbers["val/AP_gt"]
    assert json.loads((run / "results" / "keypoints_det.json").read_text())[0].keys() >= {
        "image_id",
        "keypoints",
        "score",
    }


@pytest.mark.parametrize(("num_epochs", "interval", "validated"), [(1, 7, [0]), (3, 2, [1, 2])])
def test_the_last_epoch_is_validated_and_kept(fit, tmp_path, num_epochs, interval, validated) -> None:
    fit(f"trainer.max_epochs={num_epochs}", f"trainer.check_val_every_n_epoch={interval}")
    with (tmp_path / "run" / "metrics" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows if row.get("val/AP")][: len(validated)] == validated
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == num_epochs - 1
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_an_epoch_shorter_than_the_interval_leaves_its_loss(fit, tmp_path, capsys) -> None:
    fit("trainer.max_epochs=1", "trainer.log_every_n_steps=50", "trainer.limit_val_batches=1", "data.val_batch_size=2")
    assert len(read_numbers(tmp_path / "run")["train/loss"]) == 1
    assert (
        "trainer.limit_val_batches=1: persons beyond were not looked at and count as missed." in capsys.readouterr().out
    )


def test_every_ap_carries_its_protocol(fit, people, tmp_path, capsys) -> None:
    fit("data.val_boxes=[gt,det]", "trainer.max_epochs=1", "flip_test=false")
    results = tmp_path / "run" / "results"
    stamps = {kind: json.loads((results / f"report_{kind}.json").read_text())["protocol"] for kind in ("gt", "det")}
    assert stamps["gt"]["boxes"] == "ground truth"
    assert stamps["det"]["boxes"]["name"] == "COCO_val2017_detections_AP_H_56_person.json"
    annotations = people / "annotations" / "person_keypoints_val2017.json"
    for stamp in stamps.values():
        assert stamp["annotations"]["sha256"] == hashlib.sha256(annotations.read_bytes()).hexdigest()
        assert (stamp["num_images"], stamp["flip_test"], stamp["codec"]) == (4, False, "HeatmapCodec")
        assert (stamp["input_size"], stamp["oks_nms"], stamp["sigmas"]) == ([96, 128], "0.9", "coco")
        assert "not stated" not in stamp.values()
    hyperparameters = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]
    assert hyperparameters["protocols"] == stamps
    assert "num_images: 4" in (tmp_path / "run" / "metrics" / "hparams.yaml").read_text()
    printed = capsys.readouterr().out
    assert "gt: ground truth boxes, 4 photos and " in printed
    assert f"det: boxes of {stamps['det']['boxes']['name']} (sha256 {stamps['det']['boxes']['sha256'][:8]})" in printed
    assert "flip test off, HeatmapCodec 96x128, OKS-NMS 0.9" in printed


@pytest.mark.trains
def test_the_number_of_workers_does_not_change_the_weights(fit, tmp_path) -> None:
    fit("data.num_workers=0", "trainer.max_epochs=1", run="alone")
    fit("data.num_workers=2", "trainer.max_epochs=1", run="two")
    assert_same_weights(tmp_path / "alone/checkpoints/last.ckpt", tmp_path / "two/checkpoints/last.ckpt")


@pytest.mark.trains
def test_another_seed_gives_other_weights(fit, tmp_path) -> None:
    fit("trainer.max_epochs=1", run="seed0")
    fit("trainer.max_epochs=1", "seed=1", run="seed1")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "seed0/checkpoints/last.ckpt", tmp_path / "seed1/checkpoints/last.ckpt")


@pytest.mark.trains
@pytest.mark.parametrize(
    "switch",
    [
        ("trainer.precision=bf16-mixed",),
        ("callbacks/ema=default",),
        ("trainer.accumulate_grad_batches=2",),
        ("trainer.gradient_clip_val=1.0",),
        ("callbacks/early_stopping=default",),
        ("channels_last=false", "flip_test=false"),
        ("loss=ohkm", "optim=sgd", "optim.lr=1e-3"),
        ("schedule=onecycle", "augment=hrnet", "pixels=color_dropout"),
        ("schedule=cosine", "data.val_boxes=[det]"),
        ("logger=[csv,tensorboard]",),
    ],
    ids=lambda switch: switch[0],
)
def test_every_switch_is_one_line(fit, tmp_path, switch) -> None:
    ap = fit("trainer.max_epochs=1", "+trainer.limit_train_batches=3", *switch)
    assert 0 <= ap <= 1
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


@pytest.mark.slow
def test_the_network_can_be_compiled(fit) -> None:
    assert 0 <= fit("trainer.max_epochs=1", "+trainer.limit_train_batches=2", "compile=true") <= 1


def test_tensorboard_gets_the_pictures(fit, tmp_path) -> None:
    fit("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "logger=tensorboard")
    events = (tmp_path / "run/tensorboard").glob("events*")
    content = b"".join(file.read_bytes() for file in events)
    assert b"pictures/train_crops" in content
    assert b"hp_metric" not in content


@pytest.mark.parametrize(("schedule", "logged"), [("onecycle", 4), ("multistep", 2)])
def test_the_learning_rate_is_logged_as_often_as_it_changes(fit, tmp_path, schedule, logged) -> None:
    fit(f"schedule={schedule}", "trainer.limit_train_batches=2")
    rates = read_numbers(tmp_path / "run")["lr-Adam"]
    assert len(rates) == logged
    assert len(set(rates)) == (logged if schedule == "onecycle" else 1)


def test_a_checkpoint_holds_the_number_of_threads(fit, tmp_path) -> None:
    fit("trainer.max_epochs=1", "trainer.limit_train_batches=1", "threads=1")
    callbacks = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert callbacks["TorchThreads"] == {"num_threads": 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_works_offline_without_a_key(hrpose, tmp_path) -> None:
    done = hrpose(
        "fit",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=1",
        "logger=[csv,wandb]",
        "logger.wandb.offline=true",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("runs/tiny/*/wandb/offline-run-*/files/media/images/pictures/train_crops*.png"))


def test_test_measures_what_fit_has_measured(fit, hrpose, tmp_path) -> None:
    ap = fit("model.width=8", "optim.lr=3e-3", "trainer.max_epochs=3", "data.val_boxes=[gt]", run="runs/tiny/a")
    done = hrpose("test", "model.width=8", "ckpt_path=last", "data.val_boxes=[gt,det]")
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^ gt +\d\.\d{3}", done.stdout, re.MULTILINE)
    assert re.search(r"^ det +\d\.\d{3}", done.stdout, re.MULTILINE)
    (results,) = tmp_path.glob("runs/tiny/test_*/results/keypoints_gt.json")
    assert results.is_file()
    assert 0 <= ap <= 1


def test_a_checkpoint_measured_with_other_words_says_which_were_its_own(fit, hrpose, tmp_path) -> None:
    fit("trainer.max_epochs=1", "data.val_boxes=[gt]", run="runs/tiny/a")
    done = hrpose("test", "model.width=8", "codec.sigma=3", "ckpt_path=last")
    assert done.returncode == 1
    assert "last.ckpt was trained with another codec (there | here): codec.sigma: " in done.stdout
    assert re.search(
        r"The file's HRNet has width 4, the network 8.* It is of the run 'tiny': give the words", done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "choice",
    [["codec=dark", "size=128x96"], ["codec=udp_offset", "size=256x192", "loss=offset", "codec.heatmap_size=[24,32]"]],
)
def test_every_codec_goes_down_the_river(fit, choice, tmp_path) -> None:
    fit(*choice, "codec.input_size=[96,128]", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
    assert (tmp_path / "run" / "pictures" / "train_crops.png").exists()
    channels = 3 if "loss=offset" in choice else 1
    head = weights_of(tmp_path / "run" / "checkpoints" / "last.ckpt")["net.final_layer.weight"]
    assert len(head) == 17 * channels
