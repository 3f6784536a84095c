"""hrpose evaluate: how good the poses of a COCO result file are, whatever tool they come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Protocol as Interface

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hrpose.report import analyse, write_report
from hrpose.report.analysis import STEPS
from hrpose.report.table import say, show_report
from hrpose.tasks.reading import read_evaluated, read_options

_LONG = 1.0  # seconds after which a progress bar is shown


class OnStep(Interface):
    """Is told what begins now."""

    def __call__(self, step: str) -> None:
        """Advance to a step."""


def evaluate(cfg: DictConfig) -> float:
    """Evaluate a result file, print the numbers, and leave the report in the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `evaluate`.

    Returns:
        AP; -1 if nobody is annotated.
    """
    results = Path(cfg.results)
    with show_steps(len(STEPS) + 1) as on_step:
        on_step("reading")
        evaluated = read_evaluated(cfg.annotations, results, **read_options(cfg))
        title = f"{results.parent.name}/{results.name}" if results.parent.name else results.name
        report = analyse(evaluated, title=title, num_samples=cfg.num_samples, seed=cfg.seed, on_step=on_step)
    page = write_report(report, Path(cfg.paths.run))
    console = Console()
    show_report(report, console)
    say(console, f"Report: {page} and {page.with_suffix('.json').name}")
    return report.measurement.numbers["AP"]


@contextmanager
def show_steps(number: int) -> Iterator[OnStep]:
    """Show a progress bar on a terminal if the work takes long.

    Args:
        number: of steps.

    Yields:
        A function to be called as each step begins.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=number, completed=-1)
    timer = Timer(_LONG, progress.start)
    timer.daemon = True
    if progress.console.is_terminal:
        timer.start()
    try:
        yield lambda step: progress.update(task, description=step, advance=1)
    finally:
        timer.cancel()
        if progress.live.is_started:
            progress.stop()
