"""The jobs of a sweep: the record that each leaves, the table at the end, and sweep.csv.

A job may run in another process or on another machine, so it writes its record into the sweep's folder. The command that started
the sweep reads all of them.
"""

import csv
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hrpose.errors import DataError
from hrpose.files import write_atomically, write_json
from hrpose.report.table import make_table, say

DONE = "done"
RUNNING = "not finished"
SWEEP_FILE = "sweep.csv"
_RECORDS = ".jobs"
_OF_ONE_KIND = re.compile(r"(AP|PCKh)_[a-z]+")  # the leading number of a metric on one kind of boxes
_OF_RESULTS = ("AP", "PCK", "Mean")  # of `evaluate`, which has no boxes
_FIRST_SENTENCE = re.compile(r"(?<=[.:!?])\s")


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        number: of the job, from 0.
        overrides: those in which it differs from the others.
        folder: of the job: relative to the sweep's folder if it is below it.
        state: `DONE`, `RUNNING`, or what happened.
        status: the exit status.
        score: what sweeps maximise; None where it is not defined.
        numbers: the leading number of each kind of boxes: {"AP_gt": 0.7, "AP_det": 0.69}.
        epochs: epochs trained; None where nothing was trained.
        minutes: duration.
    """

    number: int
    overrides: str
    folder: str
    state: str = RUNNING
    status: int = 0
    score: float | None = None
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    epochs: int | None = None
    minutes: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the job failed; one that is done but for some images did not."""
        return self.status == 1

    def end(self, result: Any, minutes: float) -> "SweepJob":
        """Return the record of a job that has ended with what its verb returned."""
        numbers: Mapping[str, float] = getattr(result, "numbers", {})
        leading = {name: value for name, value in numbers.items() if _OF_ONE_KIND.fullmatch(name)}
        leading = leading or {name: value for name, value in numbers.items() if name in _OF_RESULTS}
        score = getattr(result, "score", None)
        state, status = DONE, getattr(result, "exit_status", 0)
        if isinstance(score, float) and score != score and leading:
            state, status = "failed: the score is not defined (nan)", 1
        return replace(
            self,
            state=state,
            status=status,
            score=score,
            numbers=leading,
            epochs=getattr(result, "num_epochs", None),
            minutes=minutes,
        )

    def fail(self, error: Exception, minutes: float) -> "SweepJob":
        """Return the record of a job that has raised an error."""
        text = _FIRST_SENTENCE.split(str(error).strip(), maxsplit=1)[0].rstrip(".") or type(error).__name__
        status = getattr(error, "exit_status", 1)
        return replace(self, state=f"{'failed: ' if status == 1 else ''}{text}", status=status, minutes=minutes)


def write_job(sweep: Path, job: SweepJob) -> None:
    """Write the record of a job; a later one replaces it."""
    write_json(sweep / _RECORDS / f"{job.number}.json", asdict(job), undefined_as_null=True)


def forget_jobs(sweep: Path) -> None:
    """Remove the records that an earlier sweep has left in the folder."""
    if (sweep / _RECORDS).is_dir():
        shutil.rmtree(sweep / _RECORDS)


def read_jobs(sweep: Path) -> list[SweepJob]:
    """Read the records of all jobs that have begun, in the order of their numbers."""
    files = (sweep / _RECORDS).glob("[0-9]*.json")
    jobs = [SweepJob(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
    return sorted(jobs, key=lambda job: job.number)


def find_best(jobs: Iterable[SweepJob]) -> SweepJob | None:
    """Return the job with the highest score, the first of several; None where no job has one."""
    scored = [(job.score, job) for job in jobs if job.score is not None and not job.failed]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def report_sweep(sweep: Path, console: Console) -> None:
    """Print the table of a sweep and write it as sweep.csv, if a job has begun; the records stay while a job may still run."""
    jobs = read_jobs(sweep)
    if not jobs:
        return
    header, rows = _tabulate(jobs)
    file = sweep / SWEEP_FILE
    with write_atomically(file) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    table = make_table("Sweep", header)
    for column in table.columns[1:]:
        if column.header in ("overrides", "state", "folder"):
            column.no_wrap, column.overflow, column.justify, column.min_width = False, "fold", "left", 6
    for row in rows:
        table.add_row(*(_shown(name, text) for name, text in zip(header, row, strict=True)))
    console.print(table, markup=False)
    say(console, f"Written to {file}")
    if all(job.state != RUNNING for job in jobs):
        forget_jobs(sweep)


def _tabulate(jobs: Sequence[SweepJob]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table, as text."""
    names = list(dict.fromkeys(name for job in jobs for name in job.numbers))
    best = find_best(jobs)
    header = ["job", "best", "overrides", *names, "epochs", "minutes", "folder", "state"]
    rows = []
    for job in jobs:
        numbers = ["" if (value := job.numbers.get(name)) is None else repr(value) for name in names]
        epochs = "" if job.epochs is None else str(job.epochs)
        minutes = "" if job.minutes is None else f"{job.minutes:.1f}"
        mark = "*" if job is best else ""
        rows.append([str(job.number), mark, job.overrides, *numbers, epochs, minutes, job.folder, job.state])
    return header, rows


def _shown(name: str, text: str) -> str:
    """Round a score for the screen."""
    is_score = text and (_OF_ONE_KIND.fullmatch(name) or name in _OF_RESULTS)
    return f"{float(text):.3f}" if is_score else text


def is_sweep(path: Path) -> bool:
    """Check for the folder of a sweep, or its sweep.csv."""
    return path.suffix == ".csv" or (path / SWEEP_FILE).is_file()


def read_sweep(path: Path) -> dict[str, tuple[str, Path]]:
    """Read which jobs of a sweep are done, from its folder or its sweep.csv.

    Returns:
        The overrides and the folder of each by its number; the best comes first.

    Raises:
        DataError: if the file is no table of a sweep, no job is done, or a folder is outside the sweep's.
    """
    file = path / SWEEP_FILE if path.is_dir() else path
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("job", "best", "overrides", "folder", "state")
    if not rows or any(row.get(name) is None for row in rows for name in columns):
        raise DataError(
            f"Expected {file} to be the table of a sweep with the columns {', '.join(columns)}, as `hrpose fit -m` writes it, "
            f"found {', '.join(map(str, rows[0])) if rows else 'no rows'}."
        )
    done = [row for row in rows if row["state"] == DONE]
    if not done:
        raise DataError(f"Expected a job that is done in {file}, but all {len(rows)} failed.")
    for row in done:
        if Path(row["folder"]).is_absolute() or ".." in Path(row["folder"]).parts:
            raise DataError(
                f"{file}: expected the folder of job {row['job']} to be below that of the sweep, found {row['folder']}. "
                "Name the folders of the two jobs instead: hrpose compare <folder> <folder>."
            )
    done.sort(key=lambda row: not row["best"])
    return {row["job"]: (row["overrides"], file.parent / row["folder"]) for row in done}
