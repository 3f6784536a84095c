"""The records of jobs, and the table of a sweep."""

import csv
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from hrpose.errors import DataError
from hrpose.tasks.sweep import DONE, RUNNING, SweepJob, find_best, read_jobs, read_sweep, report_sweep, write_job


def result(ap: float, epochs: int = 3) -> SimpleNamespace:
    numbers = {"AP": ap, "AP50": 0.9, "AP_gt": ap, "AP_det": ap / 2, "AP50_gt": 0.9}
    return SimpleNamespace(score=ap, numbers=numbers, num_epochs=epochs)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    first, second, third = (SweepJob(number, f"optim.lr={number}", str(number)) for number in range(3))
    write_job(tmp_path, first.end(result(0.25), 1.26))
    write_job(tmp_path, second.fail(ValueError("The loss is nan (epoch 0, step 3). Lower optim.lr."), 0.5))
    write_job(tmp_path, third.end(result(0.5, epochs=2), 2.0))
    return tmp_path


def rows_of(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_has_a_row_for_each_job_and_marks_the_best(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_sweep(sweep, Console(width=120))
    printed = capsys.readouterr().out.splitlines()
    rows = rows_of(sweep)
    assert [row["best"] for row in rows] == ["", "", "*"]
    assert rows[0] == {
        **{"job": "0", "best": "", "overrides": "optim.lr=0", "AP_gt": "0.25", "AP_det": "0.125", "epochs": "3"},
        **{"minutes": "1.3", "folder": "0", "state": DONE},
    }
    assert rows[1]["state"] == "failed: The loss is nan (epoch 0, step 3)"
    assert rows[1]["AP_gt"] == rows[1]["epochs"] == ""
    shown = next(line.split() for line in printed if "optim.lr=2" in line)
    assert shown == ["2", "*", "optim.lr=2", "0.500", "0.250", "2", "2.0", "2", "done"]
    assert [path.name for path in sweep.iterdir()] == ["sweep.csv"]


def test_a_killed_job_has_a_row_and_its_record_is_kept(sweep: Path) -> None:
    write_job(sweep, SweepJob(3, "optim.lr=3", "3"))
    report_sweep(sweep, Console(quiet=True))
    assert rows_of(sweep)[3]["state"] == RUNNING
    assert len(read_jobs(sweep)) == 4


def test_a_sweep_without_jobs_writes_no_table(tmp_path: Path) -> None:
    report_sweep(tmp_path, Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_a_score_of_nan_is_a_failure() -> None:
    job = SweepJob(0, "", "0").end(result(math.nan), 1.0)
    assert job.failed
    assert find_best([job, SweepJob(1, "", "1")]) is None


def test_a_job_with_unusable_images_has_not_failed() -> None:
    error = ValueError("1 of 2 images could not be used")
    error.exit_status = 3  # type: ignore[attr-defined]
    job = SweepJob(0, "", "0").fail(error, 1.0)
    assert (job.failed, job.status) == (False, 3)


def test_the_best_job_is_read_first(sweep: Path) -> None:
    report_sweep(sweep, Console(quiet=True))
    expected = {"2": ("optim.lr=2", sweep / "2"), "0": ("optim.lr=0", sweep / "0")}
    for path in (sweep, sweep / "sweep.csv"):
        assert list(read_sweep(path).items()) == list(expected.items())


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "0/../../x"])
def test_a_folder_outside_the_sweep_is_not_followed(sweep: Path, folder: str) -> None:
    write_job(sweep, SweepJob(4, "", folder).end(result(0.1), 1.0))
    report_sweep(sweep, Console(quiet=True))
    with pytest.raises(DataError, match="job 4"):
        read_sweep(sweep)


@pytest.mark.parametrize("text", ["", "epoch,loss\n1,2\n", "job,best,overrides,folder,state\n0,,,0\n", "\0\xff"])
def test_a_table_with_other_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.csv").write_text(text)
    with pytest.raises(DataError, match=r"sweep\.csv"):
        read_sweep(tmp_path)
