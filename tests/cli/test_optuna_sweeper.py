"""Optuna's sweeper on a job that computes a formula: values, results, and continuing a stopped search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf
from optuna.trial import TrialState
from program import hrpose, lines

from hrpose.callbacks import OptunaPruning
from hrpose.tasks.sweep import SweepJob, read_jobs, write_job
from hydra_plugins.hrpose_optuna import OptunaSweeper, suggest

SPACE = ["optim.lr=tag(log, interval(1e-4, 1e-1))", "model=choice(a, b)", "seed=3"]


def score_of(overrides: Sequence[str]) -> float:
    """The best rate is 1e-2."""
    return -abs(math.log10(float(overrides[0].removeprefix("optim.lr="))) + 2)


class Launcher:
    def __init__(self, job: Callable[[Sequence[str]], Any]) -> None:
        self.job = job
        self.batches: list[Sequence[Sequence[str]]] = []

    def launch(self, batch: Sequence[Sequence[str]], initial_job_idx: int) -> list[SimpleNamespace]:
        assert initial_job_idx == sum(map(len, self.batches))
        self.batches.append(batch)
        return [SimpleNamespace(return_value=self.job(overrides)) for overrides in batch]


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., tuple[list[Sequence[str]], optuna.Study]]:
    """Run a search and return the overrides of its jobs, and the study."""

    def run(
        job: Callable[[Sequence[str]], Any] = score_of, space: Sequence[str] = SPACE, **settings: Any
    ) -> tuple[list[Sequence[str]], optuna.Study]:
        given = {"num_trials": 4, "num_parallel": 1, "seed": 0, "prune": False, **settings}
        sweeper = OptunaSweeper(storage=str(tmp_path / "runs" / "optuna.log"), study_name="tiny", **given)
        sweeper.config = OmegaConf.create({"task": "fit", "monitor": "val/AP", "hydra": {"sweep": {"dir": str(tmp_path)}}})
        launcher = sweeper.launcher = Launcher(job)  # type: ignore[assignment]
        sweeper.sweep(list(space))
        return [overrides for batch in launcher.batches for overrides in batch], study_in(tmp_path)

    return run


def study_in(folder: Path) -> optuna.Study:
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "runs" / "optuna.log"))
    return optuna.load_study(study_name="tiny", storage=optuna.storages.JournalStorage(journal))


def test_a_search_maximises_the_score_and_keeps_fixed_overrides(search) -> None:
    jobs, study = search(num_trials=12)
    assert len(jobs) == len(study.trials) == 12
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == max(map(score_of, jobs)) > -0.5
    assert {overrides[1] for overrides in jobs} == {"model=a", "model=b"}
    assert {overrides[2] for overrides in jobs} == {"seed=3"}


def test_the_ranges_of_the_configuration_come_before_those_of_the_command(search) -> None:
    jobs, _ = search(lambda _: 0.5, num_trials=2, params={"seed": "range(1, 9)", "optim.lr": "interval(5, 6)"}, space=SPACE[:1])
    assert all(len(overrides) == 2 and 1 <= int(overrides[0].removeprefix("seed=")) < 9 for overrides in jobs)
    assert all(1e-4 <= float(overrides[1].removeprefix("optim.lr=")) <= 1e-1 for overrides in jobs)


@pytest.mark.parametrize("score", [math.nan, None, math.inf])
def test_a_job_without_a_score_is_a_failed_trial_and_the_search_continues(search, score) -> None:
    _, study = search(lambda overrides: score if overrides[1] == "model=a" else 0.5, num_trials=6)
    assert {trial.params["model"]: trial.state for trial in study.trials} == {"a": TrialState.FAIL, "b": TrialState.COMPLETE}


def test_the_same_command_continues_a_stopped_search_and_repeats_the_running_trial(search, tmp_path) -> None:
    begun: list[Sequence[str]] = []

    def stop(overrides: Sequence[str]) -> float:
        begun.append(overrides)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return score_of(overrides)

    with pytest.raises(KeyboardInterrupt):
        search(stop)
    jobs, study = search()
    assert jobs[0] == begun[2]
    assert len(jobs) == 2
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 4
    assert search()[0] == []


def test_trials_are_chosen_together_for_a_launcher_of_several_jobs(search, tmp_path) -> None:
    sweeper = OptunaSweeper(
        num_trials=5, num_parallel=2, storage=f"{tmp_path}/runs/optuna.log", study_name="tiny", seed=0, prune=False
    )
    sweeper.config = OmegaConf.create({"task": "fit", "hydra": {"sweep": {"dir": str(tmp_path)}}})
    launcher = sweeper.launcher = Launcher(score_of)  # type: ignore[assignment]
    sweeper.sweep(SPACE)
    assert [len(batch) for batch in launcher.batches] == [2, 2, 1]


def test_a_failing_launcher_is_one_message_and_no_trial_stays_running(search, tmp_path) -> None:
    def broken(overrides: Sequence[str]) -> float:
        raise RuntimeError("a worker was killed")

    with pytest.raises(CompactHydraException, match="a worker was killed"):
        search(broken)
    assert [trial.state for trial in study_in(tmp_path).trials] == [TrialState.FAIL]


def test_another_range_needs_another_study(search) -> None:
    search(num_trials=1)
    with pytest.raises(CompactHydraException, match=r"^model: .*study_name"):
        search(num_trials=2, space=[SPACE[0], "model=choice(a, c)"])


def test_a_file_that_is_no_journal_is_refused(search, tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "optuna.log").write_text("not JSON\n\n")
    with pytest.raises(CompactHydraException, match=r"optuna\.log"):
        search()


def test_a_file_that_cannot_be_created_is_refused(search, tmp_path) -> None:
    (tmp_path / "runs").write_text("a file where a folder is needed")
    with pytest.raises(CompactHydraException, match=r"^hydra\.sweeper\.storage: "):
        search()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("k=range(2, 10, 4)", {"2", "6"}),
        ("k=range(0.5, 1.1, 0.5)", {"0.5", "1.0"}),
        ("k=int(interval(3, 4))", {"3", "4"}),
        ("k=choice(x, 1)", {"x", "1"}),
        ("k=a,b", {"a", "b"}),
    ],
)
def test_every_range_of_hydra_gives_its_own_values(text, chosen) -> None:
    override = OverridesParser.create().parse_override(text)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {suggest(study.ask(), "k", override) for _ in range(20)} == chosen


def test_a_pruned_trial_is_reported_as_pruned(search, tmp_path) -> None:
    """The callback works in the process of the job, so it finds study and trial by file, name and number."""
    states = []

    def train(overrides: Sequence[str]) -> float:
        number = len(states)
        write_job(tmp_path, SweepJob(number, "", str(number)))
        (added,) = (text for text in overrides if text.startswith("+callbacks.pruning="))
        node = OverridesParser.create().parse_override(added).value()
        callback = OptunaPruning(**{key: value for key, value in node.items() if key != "_target_"})
        states.append(callback._report(ap := 0.6 - 0.1 * number, 1))
        return ap

    _, study = search(train, num_trials=7, prune=True)
    assert states == [False] * 5 + [True] * 2
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED] * 2
    assert [job.state for job in read_jobs(tmp_path)][5:] == ["done, pruned after epoch 1"] * 2


def test_the_command_searches_and_ends_with_a_table(tmp_path) -> None:
    body = "return float('nan') if cfg.seed == 3 else float(cfg.seed)"
    words = ["fit", "-m", "hydra/sweeper=optuna", "hydra.sweeper.num_trials=4", "seed=choice(3, 5)"]
    done = hrpose(*words, cwd=tmp_path, body=body)
    (table,) = tmp_path.rglob("sweep.csv")
    rows = table.read_text().splitlines()[1:]
    assert len(rows) == 4
    assert {row.split(",")[2] for row in rows} == {"seed=3", "seed=5"}
    assert (tmp_path / "runs" / "tiny" / "optuna.log").is_file()
    assert "Traceback" not in done.stderr
    assert lines(hrpose(*words, cwd=tmp_path, body=body), "JOB") == []  # the study has its four trials
