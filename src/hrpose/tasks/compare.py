"""hrpose compare: compare two runs, reports or result files of the same protocol, or the jobs of a sweep."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from hrpose.config import ConfigError
from hrpose.files import write_json
from hrpose.metrics.functional import match_detections
from hrpose.report import COLUMNS, Comparison, Measurement, compare_measurements, measure, read_measurement
from hrpose.report.protocol import NOT_STATED
from hrpose.report.table import explain_undefined, format_number, make_table, say
from hrpose.tasks.evaluate import read_evaluated, read_options
from hrpose.tasks.sweep import is_sweep, read_sweep

_JOB_COLUMNS = ("job", "overrides", "AP", "difference", "95 % interval", "p-value")


def compare(cfg: DictConfig) -> float:
    """Print the metrics of a and b, their difference and its p-value, and write compare.json to the run folder.

    A sweep is represented by its best job. Without b, the best job of the sweep a is compared with each other job.

    Returns:
        AP of b, or of the second best job, minus AP of a, with the first source of boxes; NaN if one is undefined.

    Raises:
        ValueError: if a side has no report, or the protocols differ and `force` is not set.
    """
    console = Console()
    if cfg.b is None:
        return _compare_jobs(cfg, console)
    comparisons = _compare_sides(_read_side("a", cfg), _read_side("b", cfg), cfg)
    for name, comparison in comparisons.items():
        _show(name, comparison, cfg, console)
    _write(cfg, _contents(comparisons), console)
    first = next(iter(comparisons.values())).differences["AP"]
    return math.nan if first is None else first


def _contents(comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    return {name or "results": comparison.to_dict() for name, comparison in comparisons.items()}


def _write(cfg: DictConfig, content: Mapping[str, Any], console: Console) -> None:
    file = Path(cfg.paths.run) / "compare.json"
    write_json(file, content, undefined_as_null=True)
    say(console, f"Wrote {file}")


def _compare_jobs(cfg: DictConfig, console: Console) -> float:
    """Print the difference of each job of a sweep from the best one."""
    if not is_sweep(Path(cfg.a)):
        raise ConfigError(
            f"b: expected a second side to compare with a={cfg.a}, found none. Only a sweep can be compared without b."
        )
    (best, (_, folder)), *others = read_sweep(Path(cfg.a)).items()
    if not others:
        raise ConfigError(f"a: expected a sweep with two or more finished jobs, but found one in {cfg.a}.")
    first = _read_folder(folder)
    compared = {job: _compare_sides(first, _read_folder(place), cfg) for job, (_, place) in others}
    for name in next(iter(compared.values())):
        table = make_table(f"Jobs against job {best}, the best" + (f", boxes {name}" if name else ""), _JOB_COLUMNS)
        table.columns[1].justify, table.columns[1].no_wrap, table.columns[1].overflow = "left", False, "fold"
        for job, (overrides, _) in others:
            comparison = compared[job][name]
            interval = " to ".join(map(_signed, comparison.interval or ()))
            p_value = "" if comparison.p_value is None else f"{comparison.p_value:.3f}"
            measured = format_number(comparison.b.numbers["AP"]), _signed(comparison.differences["AP"])
            table.add_row(job, overrides, *measured, interval, p_value)
        console.print(table)
    say(console, f"95 % intervals and p-values of the paired bootstrap, not corrected for {len(others)} comparisons.")
    _write(cfg, {"best": best, "jobs": {job: _contents(kinds) for job, kinds in compared.items()}}, console)
    differences = [next(iter(kinds.values())).differences["AP"] for kinds in compared.values()]
    return max((value for value in differences if value is not None), default=math.nan)


def _compare_sides(a: Mapping[str, Measurement], b: Mapping[str, Measurement], cfg: DictConfig) -> dict[str, Comparison]:
    """Compare two sides by source of boxes; raise ValueError if their protocols differ."""
    comparisons = {name: compare_measurements(*pair) for name, pair in _pair(a, b, cfg).items()}
    unlike = next((comparison.unlike for comparison in comparisons.values() if comparison.unlike), ())
    if not unlike or cfg.force:
        return comparisons
    lines = "\n".join(f"  - {line}" for line in unlike)
    advice = ""
    if NOT_STATED in lines:
        advice = "Results without a stated protocol come from an older version or another tool: evaluate them again. "
    sides = f"the jobs of {cfg.a}" if cfg.b is None else f"{cfg.a} and {cfg.b}"
    raise ValueError(
        f"Expected {sides} to have the same protocol, but they differ (a | b):\n{lines}\n"
        f"Their APs cannot be compared. {advice}To print them anyway, add force=true."
    )


def _read_side(side: str, cfg: DictConfig) -> dict[str, Measurement]:
    """Return the measurements of a side by source of boxes; "" if the file name does not state it."""
    path = Path(cfg[side])
    if is_sweep(path):
        return _read_folder(next(iter(read_sweep(path).values()))[1])
    if path.is_dir():
        return _read_folder(path)
    with path.open("rb") as file:
        is_rows = file.read(100).lstrip().startswith(b"[")
    return {_kind(path): _measure_rows(side, path, cfg) if is_rows else read_measurement(path)}


def _read_folder(folder: Path) -> dict[str, Measurement]:
    for place in (folder, folder / "results"):
        reports = sorted(place.glob("report*.json"), reverse=True)  # gt before det
        if reports:
            return {_kind(file): read_measurement(file) for file in reports}
    below = sorted({str(file.parent) for file in folder.rglob("report*.json")})
    advice = f" There are some in {', '.join(below[:3])}." if below else ""
    if any(folder.rglob("pckh_*.json")):
        advice = " This run has PCKh (results/pckh_gt.json), which `compare` does not support."
    raise ValueError(
        f"Expected a folder of `hrpose fit`, `test` or `evaluate` with report*.json in it or in results/, but {folder} has "
        f"none.{advice}"
    )


def _kind(file: Path) -> str:
    """Return the source of boxes in the name of a file such as report_gt.json; "" if it has none."""
    last = file.stem.rpartition("_")[2]
    return last if last in ("gt", "det", "none") else ""


def _measure_rows(side: str, file: Path, cfg: DictConfig) -> Measurement:
    if cfg.annotations is None:
        raise ValueError(
            f"Expected annotations for the results {side}={file}, but annotations is null. Set annotations=<file>, or compare "
            "reports."
        )
    found = read_evaluated(cfg.annotations, file, **read_options(cfg))
    matches = match_detections(found.detections, found.truth, found.skeleton.sigmas, max_detections=cfg.max_detections)
    return measure(matches, found.protocol, num_samples=cfg.num_samples, seed=cfg.seed)


def _pair(
    a: Mapping[str, Measurement], b: Mapping[str, Measurement], cfg: DictConfig
) -> dict[str, tuple[Measurement, Measurement]]:
    """Pair measurements with the same boxes; if each side has exactly one, pair these."""
    wanted = [name for name in a if name in b] if cfg.boxes is None else [cfg.boxes]
    if cfg.boxes is None and len(a) == len(b) == 1:
        return {next(iter(a)): (next(iter(a.values())), next(iter(b.values())))}
    if not wanted or not all(name in a and name in b for name in wanted):
        shown = [", ".join(name or "results" for name in side) for side in (a, b)]
        raise ValueError(
            f"Expected results with {cfg.boxes or 'the same'} boxes in a and b, but a has {shown[0]} and b has {shown[1]}. Set "
            "the files: a=<folder>/results/report_gt.json."
        )
    return {name: (a[name], b[name]) for name in wanted}


def _show(name: str, comparison: Comparison, cfg: DictConfig, console: Console) -> None:
    table = make_table("Keypoint AP" + (f", boxes {name}" if name else ""), ["number", "a", "b", "b - a"])
    for column in COLUMNS:
        sides = [format_number(side.numbers[column]) for side in (comparison.a, comparison.b)]
        table.add_row(column, *sides, _signed(comparison.differences[column]))
    console.print(table)
    explain_undefined([*comparison.a.numbers.values(), *comparison.b.numbers.values()], console)
    lines = [f"No p-value: {comparison.unpaired}."]
    if comparison.p_value is not None and comparison.interval is not None:
        used, total = comparison.num_used, comparison.a.samples.size
        sign = "at most " if comparison.p_value <= 1 / used else ""
        left_out = f" (without {total - used} that have no annotated instances)" if used < total else ""
        lines = [
            f"95 % interval of AP b - a over {used} resamples of the images{left_out}: "
            f"{' to '.join(map(_signed, comparison.interval))}; p-value {sign}{comparison.p_value:.3f} (paired bootstrap)"
        ]
    if comparison.unlike:
        lines += ["Different protocols (a | b):", *(f"  - {line}" for line in comparison.unlike)]
    for line in (*lines, f"a: {cfg.a}: {comparison.a.protocol}", f"b: {cfg.b}: {comparison.b.protocol}"):
        say(console, line)


def _signed(difference: float | None) -> str:
    return "" if difference is None else f"{difference:+.3f}"
