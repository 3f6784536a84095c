"""The number of threads follows the load, is stored, and is not changed if the user sets it."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from hrpose.callbacks import TorchThreads, threads
from hrpose.callbacks.threads import ThreadChoice, time_convolutions

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
]


class Machine:
    """Processors that other processes partly use; threads without a free one wait for each other by spinning."""

    def __init__(self, processors: int) -> None:
        self.processors = processors
        self.busy = 0
        self.now = 0.0
        self.measuring = 0.0

    def seconds(self, threads: int, work: float) -> float:
        share = min(1.0, self.processors / (self.busy + threads))
        contended = threads > 1 and share < 1
        return work / threads / share * (20 if contended else 1)

    def measure(self, threads: int) -> float:
        seconds = self.seconds(threads, 0.01)
        self.now += 2 * seconds + 0.05
        self.measuring += 2 * seconds + 0.05
        return seconds

    def fastest(self) -> float:
        numbers = [self.processors >> i for i in range(self.processors.bit_length())]
        return min(self.seconds(number, 1.0) for number in numbers)

    def choice(self) -> ThreadChoice:
        return ThreadChoice(self.processors, self.measure, clock=lambda: self.now)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([1, 2, 4, 16]), st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_the_fastest_number_is_found_at_low_cost_under_every_load(processors, loads):
    machine = Machine(processors)
    choice = machine.choice()
    machine.busy = loads[0]
    choice.decide()
    assert machine.seconds(choice.number, 1.0) <= 1.25 * machine.fastest()
    for load in loads:
        machine.busy = load
        end = machine.now + 200
        while machine.now < end:
            seconds = machine.seconds(choice.number, 0.2)
            machine.now += seconds
            choice.observe("train", seconds)
        assert machine.seconds(choice.number, 1.0) <= 1.25 * machine.fastest()
    assert machine.measuring <= 0.05 * machine.now + 10


def test_a_slow_step_causes_a_measurement():
    machine = Machine(2)
    choice = machine.choice()
    for _ in range(40):
        machine.now += 0.1
        assert choice.observe("train", 0.1) is None
    machine.busy = 3
    message = choice.observe("train", 3.0)
    assert choice.number == 1
    assert "1 thread instead of 2" in message
    assert "30 times the median" in message


def test_a_validation_step_is_compared_with_validation_steps():
    machine = Machine(2)
    choice = machine.choice()
    for _ in range(40):
        choice.observe("train", 0.1)
    for _ in range(10):
        choice.observe("val", 1.0)
    assert machine.measuring == 0


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 0.12), st.randoms(use_true_random=False))
def test_noise_does_not_change_between_equally_fast_numbers(noise, random):
    now = 0.0
    choice = ThreadChoice(4, lambda number: random.uniform(1, 1 + noise), clock=lambda: now)
    for _ in range(2000):
        now += 0.1
        assert choice.observe("train", 0.1) is None
    assert choice.number == 4


def test_expensive_measurements_are_rare():
    now = 0.0
    measuring = 0.0

    def measure(number):
        nonlocal now, measuring
        now, measuring = now + 2, measuring + 2
        return 1.0

    choice = ThreadChoice(2, measure, clock=lambda: now)
    for step in range(10_000):
        seconds = 10.0 if step % 10 == 0 else 0.5  # slow steps ask for a measurement at once
        now += seconds
        choice.observe("train", seconds)
    assert 0.01 * now < measuring < 0.04 * now


def test_a_measurement_uses_no_random_numbers_and_works_in_inference_mode():
    before = torch.get_rng_state()
    with torch.inference_mode():
        assert time_convolutions(1) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def two_threads(monkeypatch):
    """Set two threads in torch, where one is faster, and no environment variable."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "time_convolutions", float)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


class Recorder(BoringModel):
    """Keep the number of threads of each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(("train", torch.get_num_threads()))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.seen.append(("val", torch.get_num_threads()))
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch, batch_idx):
        self.seen.append(("test", torch.get_num_threads()))
        return super().test_step(batch, batch_idx)


def trainer_with(callback, folder, epochs=1, **settings):
    limits = {f"limit_{stage}_batches": 1 for stage in ("train", "val", "test")}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[callback],
        max_epochs=epochs,
        enable_checkpointing=False,
        **limits,
        **quiet,
        **settings,
    )


def steps_of(callback, folder, verb="fit", **settings):
    module = Recorder()
    trainer = trainer_with(callback, folder, **settings)
    getattr(trainer, verb)(module)
    return module.seen, trainer


@pytest.mark.parametrize(("verb", "stages"), [("fit", ["val", "train", "val"]), ("validate", ["val"]), ("test", ["test"])])
def test_every_step_uses_the_chosen_number_which_is_then_restored(two_threads, tmp_path, verb, stages):
    seen, _ = steps_of(TorchThreads(), tmp_path, verb)
    assert seen == [(stage, 1) for stage in stages]
    assert torch.get_num_threads() == 2


def test_a_validation_after_training_uses_its_number(two_threads, tmp_path):
    module, callback = Recorder(), TorchThreads()
    trainer = trainer_with(callback, tmp_path)
    trainer.fit(module)
    trainer.validate(module, verbose=False)
    assert module.seen[-1] == ("val", 1)


def test_a_fixed_number_is_never_changed(two_threads, tmp_path):
    seen, _ = steps_of(TorchThreads(2), tmp_path)
    assert {number for _, number in seen} == {2}


def test_an_error_restores_the_number(two_threads, tmp_path):
    class Broken(BoringModel):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        trainer_with(TorchThreads(), tmp_path).fit(Broken())
    assert torch.get_num_threads() == 2


def test_the_environment_variable_is_never_overridden(two_threads, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    seen, _ = steps_of(TorchThreads(), tmp_path)
    assert {number for _, number in seen} == {2}
    TorchThreads(2)
    with pytest.raises(ValueError, match="threads=3 and OMP_NUM_THREADS=2"):
        TorchThreads(3)
    with pytest.raises(ValueError, match="found 0"):
        TorchThreads(0)


def test_several_processes_keep_the_number_that_lightning_sets(two_threads, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "world_size", 2)
    callback, trainer = TorchThreads(), trainer_with(TorchThreads(), tmp_path)
    callback.on_test_start(trainer, Recorder())
    assert torch.get_num_threads() == 2


def test_a_compiled_network_keeps_the_number(two_threads, tmp_path):
    callback, trainer, module = TorchThreads(), trainer_with(TorchThreads(), tmp_path), Recorder()
    trainer.strategy.connect(module)
    assert trainer.lightning_module is module
    module.compiled = True
    callback.on_fit_start(trainer, module)
    assert torch.get_num_threads() == 2
    assert callback._choice is None


def resumed(stored, callback, folder):
    """Train an epoch with a number of threads, resume for another, and return the numbers of its steps."""
    module = Recorder()
    first = trainer_with(TorchThreads(stored), folder)
    first.fit(module)
    torch.set_num_threads(stored)  # as during the run
    first.save_checkpoint(folder / "one.ckpt")
    torch.set_num_threads(2)
    module = Recorder()
    trainer_with(callback, folder, epochs=2).fit(module, ckpt_path=folder / "one.ckpt")
    return {number for _, number in module.seen}


def test_auto_resumes_with_the_stored_number_without_a_measurement(two_threads, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert resumed(2, TorchThreads(), tmp_path) == {2}
    assert [record for record in caplog.records if record.name.startswith("hrpose")] == []


def test_another_number_than_the_stored_one_is_reported(two_threads, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert resumed(1, TorchThreads(2), tmp_path) == {2}
    assert "Threads: 2, but 1 in the checkpoint" in caplog.text
