"""Kill runs of `hrpose fit` by SIGKILL, resume them, and compare them bit by bit with runs that nobody killed."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from hrpose.synthetic import write_dataset

Aim = Literal["any", "validation", "checkpoint"]

SCHEDULES = {
    "none": [],
    "cosine": [],
    "multistep": ["schedule.milestones=[1,2]"],
    "onecycle": [],
    "warmup_multistep": ["schedule.milestones=[1,2]", "schedule.warmup_steps=5"],
}
WORDS = [
    *("prepare=null", "codec=heatmap", "size=128x96", "model.width=4", "model.stem_width=8", "model.stage1_width=4"),
    *("data.batch_size=4", "data.val_batch_size=2", "data.val_boxes=[gt]", "augment=hrnet", "trainer.max_epochs=3"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.check_val_every_n_epoch=1"),
    *("callbacks.last_in_epoch.every_n_train_steps=2", "callbacks.progress=null"),
]
_ATTEMPTS = 10  # at a kill, where the run has ended before it


@dataclass(frozen=True)
class Setting:
    """What is drawn at random for each kill."""

    schedule: str
    accumulate: int
    workers: int
    ema: bool

    @classmethod
    def draw(cls, rng: random.Random) -> "Setting":
        return cls(rng.choice(list(SCHEDULES)), rng.choice([1, 2]), rng.choice([0, 2]), rng.choice([False, True]))

    @property
    def words(self) -> list[str]:
        ema = ["callbacks/ema=default"] if self.ema else []
        accumulate = f"trainer.accumulate_grad_batches={self.accumulate}"
        words = [f"schedule={self.schedule}", *SCHEDULES[self.schedule], accumulate, f"data.num_workers={self.workers}"]
        return [*words, *ema]


@dataclass
class Kill:
    """One killed run and what became of it.

    Attributes:
        setting: of the run.
        aim: what the kill was aimed at.
        seconds: from the start of the process to the kill.
        phase: what the run did: start, training, validation, checkpoint (a temporary file is left) or end.
        step: optimizer steps in the checkpoint that it was resumed from; None where it had none.
        torn: files that cannot be read.
        different: tensors that differ in the end from those of the undisturbed run.
    """

    setting: Setting
    aim: Aim
    seconds: float
    phase: str
    step: int | None = None
    torn: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class KillRuns:
    """Runs in a folder of their own.

    Args:
        folder: where data and runs go.
        seed: of times and settings.
        num_images: drawn for training.
    """

    def __init__(self, folder: Path, *, seed: int = 0, num_images: int = 60) -> None:
        self.folder = folder.absolute()
        self.rng = random.Random(seed)
        self._whole: dict[Setting, tuple[Path, float]] = {}
        write_dataset(self.folder / "data", num_train=num_images, num_val=20)

    def run(self, aims: list[Aim]) -> Iterator[Kill]:
        """Kill one run for each aim, and resume it."""
        for number, aim in enumerate(aims):
            setting = Setting.draw(self.rng)
            whole, seconds = self._undisturbed(setting)
            name = f"kill_{number}"
            kill = self._kill(name, setting, aim, seconds)
            kill.torn = list(self._torn(name))
            found = sorted(self._runs(name, "last.ckpt"), key=lambda file: file.stat().st_mtime_ns)
            if found:
                kill.step = torch.load(found[-1], weights_only=True)["global_step"]
            self._finish(self._start(name, setting, *(["ckpt_path=last"] if found else [])))
            newest = max(self._runs(name, "last.ckpt"), key=lambda file: file.stat().st_mtime_ns)
            kill.different = differences(whole, newest)
            yield kill

    def _undisturbed(self, setting: Setting) -> tuple[Path, float]:
        """Return the last checkpoint of a run that nobody kills, and its seconds; one for each setting."""
        if setting not in self._whole:
            name, start = f"whole_{len(self._whole)}", time.monotonic()
            self._finish(self._start(name, setting))
            (last,) = self._runs(name, "last.ckpt")
            self._whole[setting] = last, time.monotonic() - start
        return self._whole[setting]

    def _kill(self, name: str, setting: Setting, aim: Aim, seconds: float) -> Kill:
        """Kill a run at a time that is uniform over a whole one, or, aimed, as soon as the phase comes after this time."""
        for attempt in range(_ATTEMPTS):
            wait = self.rng.random() * seconds * (1 if aim == "any" else 0.8**attempt)  # a phase has to come after it
            start, process = time.monotonic(), self._start(name, setting)
            while process.poll() is None and (time.monotonic() - start < wait or not self._is_in(name, aim)):
                time.sleep(0 if aim == "checkpoint" else 0.001)
            process.kill()
            elapsed = time.monotonic() - start
            killed = process.wait() < 0
            kill = Kill(setting, aim, round(elapsed, 2), self._phase(name))
            if killed and aim in ("any", kill.phase):
                return kill
            (self.folder / "runs" / name).rename(self.folder / f"missed_{name}_{attempt}")
        raise RuntimeError(f"No kill of {setting} during {aim} in {_ATTEMPTS} attempts.")

    def _is_in(self, name: str, aim: Aim) -> bool:
        if aim == "checkpoint":
            return self._writes_checkpoint(name)
        return aim == "any" or self._said(name) == aim

    def _phase(self, name: str) -> str:
        return "checkpoint" if self._writes_checkpoint(name) else self._said(name)

    def _said(self, name: str) -> str:
        return (self.folder / f"{name}.phase").read_text().strip()

    def _writes_checkpoint(self, name: str) -> bool:
        return any(self._runs(name, ".*.ckpt.*.part"))

    def _runs(self, name: str, pattern: str) -> list[Path]:
        return list((self.folder / "runs" / name).glob(f"*/checkpoints/{pattern}"))

    def _torn(self, name: str) -> Iterator[str]:
        """Find files of a killed run that appear to be there and cannot be read."""
        readers = {
            ".ckpt": lambda file: torch.load(file, weights_only=True),
            ".json": lambda file: json.loads(file.read_text()),
            ".png": lambda file: cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR).shape,
        }
        for file in sorted((self.folder / "runs" / name).rglob("*")):
            if file.suffix in readers:
                try:
                    readers[file.suffix](file)
                except Exception:
                    yield str(file.relative_to(self.folder))

    def _start(self, name: str, setting: Setting, *more: str) -> subprocess.Popen[bytes]:
        phase = self.folder / f"{name}.phase"
        phase.write_text("start".ljust(16))
        place = [f"name={name}", f"paths.data={self.folder}/data", f"paths.runs={self.folder}/runs"]
        phases = ["+callbacks.phases._target_=phases.Phases", f"+callbacks.phases.file={phase}"]
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hrpose", "fit", *WORDS, *setting.words, *place, *phases, *more],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait() != 0:
            raise RuntimeError(f"A run ended with the status {process.returncode}: see the logs in {self.folder}.")


def differences(one: Path, other: Path) -> list[str]:
    """Name the tensors in which two checkpoints differ: weights, averaged weights, optimizer, and the schedule's numbers."""
    first, second = (_tensors(torch.load(file, weights_only=True)) for file in (one, other))
    if first.keys() != second.keys():
        return sorted(first.keys() ^ second.keys())
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def _tensors(content: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    if not prefix:
        kept = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step", "epoch")
        content = {name: content[name] for name in kept if name in content}
    if isinstance(content, torch.Tensor):
        return {prefix: content}
    if isinstance(content, bool | int | float):
        return {prefix: torch.tensor(content, dtype=torch.float64)}
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list | tuple) else ()
    return {name: value for key, part in parts for name, value in _tensors(part, f"{prefix}/{key}").items()}
