"""The jobs of a sweep: their records, the table at the end, and sweep.csv.

A job may run in another process or on another machine, so it writes its record to the folder of the sweep. The command that
started the sweep reads all records.
"""

import csv
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
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
_SCORE_WITH_BOXES = re.compile(r"(AP|PCKh)_[a-z]+")  # the leading number of a metric with one source of boxes
_SCORES = ("AP", "PCK", "Mean")  # of `evaluate`, which has no boxes
_FIRST_SENTENCE = re.compile(r"(?<=[.:!?])\s")


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep."""

    number: int  # from 0
    overrides: str  # those that differ from other jobs
    folder: str  # relative to the sweep's folder if it is inside
    state: str = RUNNING  # `DONE`, `RUNNING`, or the error
    status: int = 0  # the exit status
    score: float | None = None  # what sweeps maximise; None if undefined
    numbers: Mapping[str, float | None] = field(default_factory=dict)  # the leading number of each source of boxes, as "AP_gt"
    epochs: int | None = None  # epochs trained; None without training
    minutes: float | None = None  # duration

    @property
    def failed(self) -> bool:
        """Check whether the job failed. A job that could not use some images did not fail."""
        return self.status == 1

    def end(self, result: Any, minutes: float) -> "SweepJob":
        """Return the record of a complete job with the result of its verb."""
        numbers: Mapping[str, float] = getattr(result, "numbers", {})
        leading = {name: value for name, value in numbers.items() if _SCORE_WITH_BOXES.fullmatch(name)}
        leading = leading or {name: value for name, value in numbers.items() if name in _SCORES}
        score, epochs = getattr(result, "score", None), getattr(result, "num_epochs", None)
        state, status = DONE, getattr(result, "exit_status", 0)
        if isinstance(score, float) and math.isnan(score) and leading:
            state, status = "failed: the score is undefined (NaN)", 1
        return replace(self, state=state, status=status, score=score, numbers=leading, epochs=epochs, minutes=minutes)

    def fail(self, error: Exception, minutes: float) -> "SweepJob":
        """Return the record of a job that raised an error."""
        text = _FIRST_SENTENCE.split(str(error).strip(), maxsplit=1)[0].rstrip(".") or type(error).__name__
        status = getattr(error, "exit_status", 1)
        return replace(self, state=f"{'failed: ' if status == 1 else ''}{text}", status=status, minutes=minutes)


def write_job(sweep: Path, job: SweepJob) -> None:
    """Write the record of a job, or replace an earlier one."""
    write_json(sweep / _RECORDS / f"{job.number}.json", asdict(job), undefined_as_null=True)


def remove_records(sweep: Path) -> None:
    """Remove the records of an earlier sweep from the folder."""
    if (sweep / _RECORDS).is_dir():
        shutil.rmtree(sweep / _RECORDS)


def read_jobs(sweep: Path) -> list[SweepJob]:
    """Read the records of all jobs that were started, in the order of their numbers."""
    files = (sweep / _RECORDS).glob("[0-9]*.json")
    return sorted((SweepJob(**json.loads(file.read_text(encoding="utf-8"))) for file in files), key=attrgetter("number"))


def find_best(jobs: Iterable[SweepJob]) -> SweepJob | None:
    """Return the job with the highest score, the first of several; None if no job has a score."""
    scored = [job for job in jobs if job.score is not None and not job.failed]
    return max(scored, key=attrgetter("score"), default=None)


def report_sweep(sweep: Path, console: Console) -> None:
    """Print the table of a sweep and write sweep.csv, unless no job was started; keep the records while a job may still run."""
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
        table.add_row(*(_round(name, text) for name, text in zip(header, row, strict=True)))
    console.print(table, markup=False)
    say(console, f"Wrote {file}")
    if all(job.state != RUNNING for job in jobs):
        remove_records(sweep)


def _tabulate(jobs: Sequence[SweepJob]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table as text."""
    names = list(dict.fromkeys(name for job in jobs for name in job.numbers))
    best = find_best(jobs)
    rows = []
    for job in jobs:
        numbers = ["" if (value := job.numbers.get(name)) is None else repr(value) for name in names]
        trained = ["" if job.epochs is None else str(job.epochs), "" if job.minutes is None else f"{job.minutes:.1f}"]
        rows.append([str(job.number), "*" if job is best else "", job.overrides, *numbers, *trained, job.folder, job.state])
    return ["job", "best", "overrides", *names, "epochs", "minutes", "folder", "state"], rows


def _round(name: str, text: str) -> str:
    """Round a score for the screen; return other texts unchanged."""
    is_score = text and (_SCORE_WITH_BOXES.fullmatch(name) or name in _SCORES)
    return f"{float(text):.3f}" if is_score else text


def is_sweep(path: Path) -> bool:
    """Check whether a path is the folder of a sweep or its sweep.csv."""
    return path.suffix == ".csv" or (path / SWEEP_FILE).is_file()


def read_sweep(path: Path) -> dict[str, tuple[str, Path]]:
    """Read overrides and folder of each complete job by number, the best first, from the folder of a sweep or its sweep.csv."""
    file = path / SWEEP_FILE if path.is_dir() else path
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("job", "best", "overrides", "folder", "state")
    if not rows or any(row.get(name) is None for row in rows for name in columns):
        raise DataError(
            f"Expected {file} to be a sweep.csv of `hrpose fit -m` with the columns {', '.join(columns)}, but found "
            f"{', '.join(map(str, rows[0])) if rows else 'no rows'}."
        )
    done = [row for row in rows if row["state"] == DONE]
    if not done:
        raise DataError(f"Expected a complete job in {file}, but all {len(rows)} failed.")
    for row in done:
        if Path(row["folder"]).is_absolute() or ".." in Path(row["folder"]).parts:
            raise DataError(
                f"{file}: expected the folder of job {row['job']} in the folder of the sweep, but found {row['folder']}. Compare "
                "the folders of two jobs: hrpose compare <folder> <folder>."
            )
    done.sort(key=lambda row: not row["best"])
    return {row["job"]: (row["overrides"], file.parent / row["folder"]) for row in done}
