"""hrpose evaluate: measure a COCO result file of any tool against its annotations."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from hrpose.progress import show_progress
from hrpose.report import analyse, write_report
from hrpose.report.analysis import STEPS
from hrpose.report.table import say, show_report
from hrpose.tasks.reading import read_evaluated, read_options

_DELAY = 1.0  # seconds after which a progress bar is shown


def evaluate(cfg: DictConfig) -> float:
    """Evaluate a result file, print the numbers, and leave the report in the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `evaluate`.

    Returns:
        AP; -1 if nobody is annotated.
    """
    results = Path(cfg.results)
    with show_progress("", len(STEPS) + 1, "steps", delay=_DELAY) as advance:
        advance("reading")
        evaluated = read_evaluated(cfg.annotations, results, **read_options(cfg))
        title = f"{results.parent.name}/{results.name}" if results.parent.name else results.name
        report = analyse(evaluated, title=title, num_samples=cfg.num_samples, seed=cfg.seed, on_step=advance)
    page = write_report(report, Path(cfg.paths.run))
    console = Console()
    show_report(report, console)
    say(console, f"Report: {page} and {page.with_suffix('.json').name}")
    return report.measurement.numbers["AP"]
