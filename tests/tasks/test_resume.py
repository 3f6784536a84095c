"""A run resumed with other settings has the learning rates of a run with these settings, or is refused."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader

from hrpose.codecs import HeatmapCodec
from hrpose.config import ConfigError, build, compose
from hrpose.losses import HeatmapMSELoss
from hrpose.module import PoseModule
from hrpose.skeletons import Skeleton
from hrpose.tasks.provenance import read_provenance
from hrpose.tasks.resume import Resume, resume_callback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable.*:UserWarning"),
]

SKELETON = Skeleton.from_names(["nose", "left_eye", "right_eye"])
CODEC = HeatmapCodec(input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0)
NUM_SAMPLES = 8
BASE = ("optim.lr=0.1", "data.batch_size=2", "trainer.max_epochs=4")


class Samples(torch.utils.data.Dataset):
    """Random images and targets."""

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        image, target = torch.rand(3, 64, 32, generator=generator), torch.rand(3, 16, 8, generator=generator)
        return {"images": image, "target": target, "target_weight": torch.ones(3, 1)}


class Data(L.LightningDataModule):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_train_batches = math.ceil(NUM_SAMPLES / batch_size)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Samples(), batch_size=self.batch_size)


class Net(nn.Sequential):
    """A convolution as the backbone, and one as the head."""

    head_modules = ("1",)

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 3, 1, stride=4), nn.Conv2d(3, 3, 1))


class Recorder(L.Callback):
    """Note the settings of the optimizer at every batch."""

    def __init__(self) -> None:
        self.settings: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        group, *others = trainer.optimizers[0].param_groups
        settings = {name: value for name, value in group.items() if name != "params"}
        settings |= {f"{other['name']}.{name}": other[name] for other in others for name in ("lr", "weight_decay")}
        self.settings.append({**settings, "epoch": trainer.current_epoch})

    @property
    def rates(self) -> list[float]:
        return [settings["lr"] for settings in self.settings]


class Saver(L.Callback):
    """Save a checkpoint after a step of the optimizer, and again if an epoch ends with it."""

    def __init__(self, file: Path, step: int) -> None:
        self.file, self.step = file, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.file)


def train(
    *overrides: str, callbacks: tuple[L.Callback, ...] = (), checkpoint: Path | None = None, max_steps: int = -1
) -> Recorder:
    """Train a convolution as configured."""
    cfg = compose("fit", [*BASE, *overrides])
    resume = [] if checkpoint is None else [resume_callback(cfg, read_provenance(checkpoint))]
    recorder = Recorder()
    module = PoseModule(
        Net(),
        CODEC,
        HeatmapMSELoss(),
        SKELETON,
        optimizer=build(cfg.optim),
        backbone_factor=cfg.optim.backbone_factor,
        schedule=build(cfg.schedule),
        schedule_interval=cfg.schedule_interval,
        config=OmegaConf.to_container(cfg, resolve=True),
    )
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=cfg.trainer.max_epochs,
        max_steps=max_steps,
        accumulate_grad_batches=cfg.trainer.accumulate_grad_batches,
        callbacks=[*resume, *callbacks, recorder],
        **dict.fromkeys(quiet, False),
    )
    trainer.fit(module, datamodule=Data(cfg.data.batch_size), ckpt_path=checkpoint, weights_only=True)
    return recorder


def interrupt(tmp_path: Path, step: int, *overrides: str, **kwargs: Any) -> Path:
    """Train, and return the checkpoint of a step; an epoch has 4 steps."""
    file = tmp_path / "last.ckpt"
    train(*overrides, callbacks=(Saver(file, step),), **kwargs)
    return file


MULTISTEP = ("schedule=multistep", "schedule.milestones=[50]")
WARMUP = ("schedule=warmup_multistep", "schedule.milestones=[3]", "schedule.warmup_steps=9")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (("schedule=none",), ("schedule=none", "optim.lr=0.01")),
        pytest.param(
            *(("schedule=none",), ("schedule=none", "optim.weight_decay=0.1", "+optim.betas=[0.8,0.9]")), marks=pytest.mark.slow
        ),
        (MULTISTEP, ("schedule=multistep", "schedule.milestones=[1,3]")),
        pytest.param(*(MULTISTEP, (*MULTISTEP, "optim.lr=0.01")), marks=pytest.mark.slow),
        (("schedule=cosine",), ("schedule=cosine", "optim.lr=0.01")),
        pytest.param(*(("schedule=cosine",), ("schedule=cosine", "trainer.max_epochs=6")), marks=pytest.mark.slow),
        pytest.param(*(("schedule=cosine", "trainer.max_epochs=6"), ("schedule=cosine",)), marks=pytest.mark.slow),
        (("schedule=onecycle",), ("schedule=onecycle", "optim.lr=0.01", "schedule.pct_start=0.6")),
        (WARMUP, (*WARMUP, "schedule.milestones=[1,2]", "schedule.gamma=0.5")),
        pytest.param(*(WARMUP, (*WARMUP, "trainer.max_epochs=6")), marks=pytest.mark.slow),
        (MULTISTEP, ("schedule=cosine",)),
        pytest.param(*(("schedule=cosine",), ("schedule=none",)), marks=pytest.mark.slow),
        (("schedule=none",), ("schedule=onecycle",)),
        pytest.param(*(("schedule=onecycle",), WARMUP), marks=pytest.mark.slow),
        pytest.param(*(("schedule=onecycle",), ("schedule=none",)), marks=pytest.mark.slow),
        (("schedule=cosine", "optim.backbone_factor=0.1"), ("schedule=cosine", "optim.backbone_factor=0.5")),
        pytest.param(
            *(("schedule=onecycle", "optim.backbone_factor=0.1"), (*MULTISTEP, "optim.backbone_factor=0.1")),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_changed_settings_give_the_rates_of_a_run_with_these_settings(tmp_path, before, now) -> None:
    whole = train(*now).settings
    for step in (4, 6):  # after an epoch, and within one
        assert train(*now, checkpoint=interrupt(tmp_path, step, *before)).settings == whole[step:]


@pytest.mark.parametrize("before", [("data.batch_size=4",), ("trainer.accumulate_grad_batches=2",)], ids=str)
@pytest.mark.parametrize("now", [("schedule=none",), MULTISTEP, ("schedule=cosine",), WARMUP], ids=lambda overrides: overrides[0])
def test_with_another_number_of_steps_the_rates_follow_the_epochs(tmp_path, now, before, caplog) -> None:
    resumed = train(*now, checkpoint=interrupt(tmp_path, 4, *now, *before))  # 2 of 4 epochs
    assert resumed.settings == train(*now).settings[8:]
    assert ("continues at step 8" in caplog.text) == (now == WARMUP)


@pytest.mark.parametrize("schedule", ["none", "multistep", "cosine", "onecycle", "warmup_multistep"])
def test_equal_settings_do_not_change_the_state(tmp_path, schedule, monkeypatch) -> None:
    step = 6
    checkpoint = interrupt(tmp_path, step, f"schedule={schedule}")
    monkeypatch.setattr(Resume, "_rebuild", None)
    assert train(f"schedule={schedule}", checkpoint=checkpoint).settings == train(f"schedule={schedule}").settings[step:]


@pytest.mark.parametrize("step", [16, 10])
def test_more_epochs_under_cosine_never_raise_the_rate(tmp_path, step) -> None:
    rates = train("schedule=cosine", "trainer.max_epochs=7", checkpoint=interrupt(tmp_path, step, "schedule=cosine")).rates
    assert rates == sorted(rates, reverse=True)
    assert len(rates) == 28 - step


@pytest.mark.parametrize(
    ("overrides", "total"), [("trainer.max_epochs=6", 24), ("data.batch_size=4", 8), ("trainer.accumulate_grad_batches=2", 8)]
)
def test_a_schedule_of_another_length_is_refused_with_both_lengths(tmp_path, overrides, total) -> None:
    checkpoint = interrupt(tmp_path, 4, "schedule=onecycle")
    with pytest.raises(ConfigError, match=rf"^schedule: .* 16 .* {total}\b") as caught:
        train("schedule=onecycle", overrides, checkpoint=checkpoint)
    assert "\n" not in str(caught.value)


def test_a_schedule_of_equal_length_continues_at_its_epoch(tmp_path) -> None:
    now = ("schedule=onecycle", "trainer.max_epochs=8", "data.batch_size=4")
    resumed = train(*now, checkpoint=interrupt(tmp_path, 8, "schedule=onecycle"))
    assert resumed.settings == train(*now).settings[4:]


@pytest.mark.parametrize(
    ("word", "named"), [("optim=sgd", "torch.optim.Adam.*torch.optim.SGD"), ("+optim.amsgrad=true", "max_exp_avg_sq.*amsgrad")]
)
def test_another_optimizer_is_refused(tmp_path, word, named) -> None:
    checkpoint = interrupt(tmp_path, 4, "schedule=none")
    with pytest.raises(ConfigError, match=named) as caught:
        train("schedule=none", word, checkpoint=checkpoint)
    assert "\n" not in str(caught.value)


def test_the_log_lists_changed_settings_with_both_values(tmp_path, caplog) -> None:
    checkpoint = interrupt(tmp_path, 4, *MULTISTEP)
    caplog.set_level("INFO")
    resume_callback(compose("fit", [*BASE, *MULTISTEP, "optim.lr=1e-5"]), read_provenance(checkpoint))
    (line,) = [record.message for record in caplog.records if record.name == "hrpose.tasks.resume"]
    assert line == "Resuming with optim.lr=1e-05 (the checkpoint has 0.1)"


def test_resuming_a_complete_run_is_a_warning(tmp_path, caplog) -> None:
    checkpoint = interrupt(tmp_path, 16, "schedule=none")
    assert train("schedule=none", "optim.lr=0.01", checkpoint=checkpoint).settings == []
    assert "Nothing was trained" in caplog.text


@pytest.mark.parametrize("overrides", [("trainer.max_epochs=4",), ("trainer.max_epochs=-1",)], ids=str)
def test_a_run_limited_by_steps_skips_no_epoch(tmp_path, overrides) -> None:
    overrides = ("schedule=onecycle", *overrides)
    resumed = train(*overrides, checkpoint=interrupt(tmp_path, 4, *overrides, max_steps=14), max_steps=14)
    assert resumed.settings == train(*overrides, max_steps=14).settings[4:]


def test_a_checkpoint_without_settings_continues_with_those_of_the_run(tmp_path) -> None:
    checkpoint = interrupt(tmp_path, 4, *MULTISTEP)
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["config"] = None
    torch.save(content, checkpoint)
    now = ("schedule=cosine", "optim.lr=0.01")
    assert train(*now, checkpoint=checkpoint).settings == train(*now).settings[4:]


@pytest.mark.parametrize(("before", "now"), [(1, 0.1), (0.1, 1)])
def test_other_parameter_groups_are_refused(tmp_path, before, now) -> None:
    file = interrupt(tmp_path, 4, "schedule=none", f"optim.backbone_factor={before}")
    with pytest.raises(ConfigError, match=r"^optim\.backbone_factor: expected"):
        train("schedule=none", f"optim.backbone_factor={now}", checkpoint=file)


def test_a_checkpoint_without_a_backbone_factor_resumes_unchanged(tmp_path) -> None:
    file = interrupt(tmp_path, 4, "schedule=none")
    content = torch.load(file, weights_only=True)
    del content["hyper_parameters"]["config"]["optim"]["backbone_factor"]
    torch.save(content, file)
    assert resume_callback(compose("fit", [*BASE, "schedule=none"]), read_provenance(file)).differences == ""
