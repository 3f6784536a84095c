"""The progress of runs: the remaining time is correct, terminals have one line, files have plain lines."""

import io
import logging
import re
import sys

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console

from hrpose.callbacks import FinalValidation, RunProgress
from hrpose.callbacks.progress import Display, Pace, Status, format_duration, format_loss

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
]
statuses = st.builds(
    Status,
    title=st.builds("Epoch {:3}/{}{}".format, st.integers(1, 210), st.just(210), st.sampled_from(["", " val"])),
    done=st.integers(0, 9999),
    total=st.just(9999),
    loss=st.floats(-1e3, 1e3).filter(lambda loss: loss == 0 or abs(loss) > 1e-99),  # exponents of two digits
    score=st.tuples(st.sampled_from(["AP", "PCKh"]), st.floats(0, 99)),
    rate=st.floats(0.1, 9999),
    seconds_left=st.floats(0, 30 * 86400),
)
FULL = Status("Epoch  12/210", 1234, 4682, 3.8e-4, ("AP", 0.612), 1420.4, 3723.0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Score:
    leading = "AP"


class Worker(LightningModule):
    """A training step takes two seconds, a validation step one."""

    def __init__(self, clock):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.clock = clock
        self.pose_metrics = {"gt": Score()}

    def training_step(self, batch, batch_idx):
        self.clock.now += 2
        return self.layer(batch["images"]).square().mean() * 1e-3

    def validation_step(self, batch, batch_idx):
        self.clock.now += 1

    test_step = validation_step

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.log("val/AP", 0.612)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)

    def train_dataloader(self):
        return torch.utils.data.DataLoader([{"images": torch.ones(1)}] * 24, batch_size=4)

    def val_dataloader(self):
        return torch.utils.data.DataLoader([{"images": torch.ones(1)}] * 12, batch_size=4)

    test_dataloader = val_dataloader


def run(folder, *, terminal, verb="fit", **settings):
    clock, stream = Clock(), io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=80, color_system=None)
    progress = RunProgress(console=console, clock=clock)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_checkpointing=False,
        callbacks=[FinalValidation(), progress],
        **quiet,
        **settings,
    )
    getattr(trainer, verb)(Worker(clock))
    return clock, stream.getvalue()


@pytest.fixture
def shown(monkeypatch):
    """Return each status on a terminal with its time."""
    statuses = []
    show = Display.show

    def keep(self, status):
        statuses.append((self.clock(), status))
        show(self, status)

    create = RunProgress.__init__

    def create_with_clock(self, **settings):
        create(self, **settings)
        self._display.clock = self._clock

    monkeypatch.setattr(Display, "show", keep)
    monkeypatch.setattr(RunProgress, "__init__", create_with_clock)
    return statuses


@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 5},
        {"max_epochs": 5, "check_val_every_n_epoch": 3},
        {"max_epochs": 4, "accumulate_grad_batches": 2, "check_val_every_n_epoch": 2},
        {"max_epochs": 4, "num_sanity_val_steps": 0, "limit_train_batches": 4},
        {"max_epochs": 4, "limit_val_batches": 0},
        {"max_epochs": 1},
    ],
    ids=str,
)
def test_the_remaining_time_is_that_of_the_whole_run(shown, tmp_path, settings):
    clock, _ = run(tmp_path, terminal=True, **settings)
    validated = [time for time, status in shown if status.score is not None]
    estimates = [(time, status) for time, status in shown if status.title.startswith("Epoch")]
    assert len(estimates) > 4
    for time, status in estimates:
        exact = clock.now - time
        num_validations = settings["max_epochs"]
        before_first_validation = not validated or time < validated[0]
        tolerance = 3 * num_validations if before_first_validation else 0  # it assumes training's pace
        assert status.seconds_left == pytest.approx(exact, abs=tolerance + 1e-6), status


@pytest.mark.parametrize("settings", [{"max_epochs": -1, "max_steps": 9, "limit_val_batches": 0}])
def test_the_remaining_time_of_a_number_of_steps(shown, tmp_path, settings):
    clock, _ = run(tmp_path, terminal=True, **settings)
    assert [status.seconds_left for _, status in shown] == [2.0 * left for left in reversed(range(9))]
    assert shown[-1][1].title == "Epoch 2"
    assert clock.now == 18


def test_a_terminal_shows_everything_in_one_line(tmp_path):
    _, text = run(tmp_path, terminal=True, max_epochs=3)
    lines = [re.sub(r"\x1b\[[?\d]*\w", "", line).strip() for line in re.split("[\r\n]", text)]
    assert max(map(len, lines)) <= 80
    assert any(
        re.fullmatch(r"Epoch 2/3  ━+─+  4/6  loss \d\.\de-\d\d  AP 0\.612  2\.0 img/s  0:2\d left", line) for line in lines
    )
    assert any(re.match(r"Epoch 3/3 val  ━+─+  2/3  loss", line) for line in lines)
    assert any(line.startswith("Sanity check  ") for line in lines)


def test_a_validated_epoch_leaves_a_line(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "hrpose"):
        run(tmp_path, terminal=True, max_epochs=4, check_val_every_n_epoch=2)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("hrpose")]
    assert [line.split("  ")[0] for line in lines] == ["Epoch 2/4", "Epoch 4/4"]
    assert re.fullmatch(r"Epoch 2/4  loss \d\.\de-\d\d  AP 0\.612  2\.0 img/s  0:27 left", lines[0])


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_a_file_has_plain_lines(verb, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "hrpose"):
        clock, text = run(tmp_path, terminal=False, verb=verb, max_epochs=100)
    assert text == ""
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("hrpose")]
    between = [line for line in lines if "/6  " in line or " val" in line]
    if verb == "fit":
        assert clock.now > 1000
        assert 5 <= len(between) <= 40
        assert not any("\x1b" in line or "\r" in line for line in lines)
    else:
        assert lines == []  # over before the first line


@pytest.mark.parametrize(("verb", "title"), [("validate", "Validation"), ("test", "Test")])
def test_an_evaluation_shows_its_remaining_time(verb, title, shown, tmp_path):
    run(tmp_path, terminal=True, verb=verb)
    assert [(status.title, status.done, status.seconds_left) for _, status in shown] == [(title, i, 3 - i) for i in (1, 2, 3)]


def test_the_last_score_is_stored(tmp_path):
    progress = RunProgress()
    progress.load_state_dict({"score": ("AP", 0.5)})
    assert progress.state_dict() == {"score": ("AP", 0.5)}


def test_the_loss_is_copied_to_the_host_for_updates_only(tmp_path, monkeypatch):
    """Copying a loss to the host waits for the device."""
    progress = RunProgress(
        interval=100, console=Console(file=io.StringIO(), force_terminal=True, width=80), clock=(clock := Clock())
    )
    reads = []
    monkeypatch.setattr(RunProgress, "_show", lambda self, status: (reads.append(status), self._plan_next()))
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, callbacks=[progress],
        enable_model_summary=False, max_epochs=20, limit_val_batches=0, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Worker(clock))
    assert len(reads) == 3  # after 2, 102 and 204 of 240 seconds


def drawn(status, width, **settings):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None, **settings)
    console.print(status)
    return console.export_text()


@given(statuses, st.integers(10, 200))
def test_the_line_fits_every_width(status, width):
    (line,) = drawn(status, width).splitlines()
    assert len(line) <= width


@given(statuses)
@example(Status("Epoch 200/210", 1000, 9999, -0.0625, ("PCKh", 99.0), 9999.0, 86399.0))
@example(Status("Epoch 200/210 val", 1000, 9999, -0.0625, ("PCKh", 99.0), 9999.0, 86399.0))
def test_80_columns_show_everything(status):
    line = drawn(status, 80)
    assert status.title in line
    assert f"{status.done}/{status.total}" in line
    assert f"loss {format_loss(status.loss)}" in line
    assert f"{status.score[0]} {status.score[1]:.3f}" in line
    assert "img/s" in line or status.title.endswith("val")  # with the longest texts a validation has no room for it
    assert f"{format_duration(status.seconds_left)} left" in line


@given(statuses)
def test_60_columns_show_title_loss_and_remaining_time(status):
    line = drawn(status, 60)
    assert status.title in line
    assert f"loss {format_loss(status.loss)}" in line
    assert f"{format_duration(status.seconds_left)} left" in line


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (50, "Epoch  12/210  ━━─────  loss 3.8e-04  1:02:03 left"),
        (60, "Epoch  12/210  ━━─────  loss 3.8e-04  AP 0.612  1:02:03 left"),
        (62, "Epoch  12/210  1234/4682  loss 3.8e-04  AP 0.612  1:02:03 left"),
        (80, "Epoch  12/210  ━───  1234/4682  loss 3.8e-04  AP 0.612  1420 img/s  1:02:03 left"),
    ],
)
def test_examples_of_widths(width, line):
    assert drawn(FULL, width).rstrip("\n") == line


def test_the_length_of_the_bar_is_limited():
    assert drawn(FULL, 120).count("━") + drawn(FULL, 120).count("─") == 24


def test_unknown_parts_are_left_out():
    assert Status("Test", 3, float("inf")).line(80) == "Test  3/?"
    assert drawn(Status("Test", 3, float("inf")), 80).strip() == "Test  3/?"


def test_a_line_of_the_log_has_no_count_of_a_finished_epoch():
    assert Status("Epoch 2/14", 62, 62, 1e-3).line() == "Epoch 2/14  loss 1.0e-03"
    assert Status("Epoch 2/14", 31, 62, 1e-3).line() == "Epoch 2/14  31/62  loss 1.0e-03"


@given(st.floats(-1e6, 1e6))
def test_a_loss_keeps_two_significant_digits(loss):
    text = format_loss(loss)
    assert float(text) == pytest.approx(loss, rel=0.051, abs=0)
    assert len(text) <= 10


@pytest.mark.parametrize(
    ("loss", "text"),
    [(3.84e-4, "3.8e-04"), (0.0, "0"), (0.12345, "0.123"), (10.66, "10.7"), (-2.5, "-2.5"), (float("nan"), "nan")],
)
def test_examples_of_losses(loss, text):
    assert format_loss(loss) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.2, "0:01"), (59.5, "1:00"), (151, "2:31"), (3723, "1:02:03"), (86399, "23:59:59"), (130000, "1d 12h")],
)
def test_examples_of_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0.01, 100), st.integers(1, 100))
def test_the_pace_of_even_batches_is_exact(seconds, images):
    now = 0.0
    pace = Pace(lambda: now)
    for _ in range(50):
        now += seconds
        pace.count(images)
        pace.measure()
    assert pace.seconds_per_batch == pytest.approx(seconds)
    assert pace.images_per_second == pytest.approx(images / seconds)
    now += 1000  # a validation
    pace.restart()
    assert pace.seconds_per_batch == pytest.approx(seconds)


def test_the_pace_follows_a_change():
    now = 0.0
    pace = Pace(lambda: now)
    for seconds in [1.0] * 100 + [3.0] * 30:
        now += seconds
        pace.count(1)
        pace.measure()
    assert pace.seconds_per_batch == pytest.approx(3.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_log_is_written_above_the_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    root = logging.getLogger()
    root.addHandler(handler)
    display = Display(Console(file=terminal, force_terminal=True, width=80, color_system=None))
    try:
        display.show(FULL)
        root.warning("Something happens.")
        assert handler.stream is not terminal
    finally:
        display.close()
        root.removeHandler(handler)
    assert handler.stream is terminal
    text = terminal.getvalue()
    assert "left\r\x1b[2KSomething happens.\n" in text
    assert text.rindex("left") < text.rindex("\x1b[2K")  # at the end the line is removed
    display.close()


@pytest.mark.parametrize(("settings", "terminal"), [({"force_terminal": True}, True), ({}, False)])
def test_only_a_terminal_has_a_line(settings, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert Display(Console(file=io.StringIO(), **settings)).is_terminal is terminal


def test_a_redirected_output_is_never_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not Display().is_terminal
