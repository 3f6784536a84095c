"""hrpose compare: results with equal protocols are compared, others are refused with the differences."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small_case import evaluated, write_files

from hrpose.cli import main
from hrpose.config import ConfigError, compose, validate
from hrpose.report import analyse, write_report
from hrpose.tasks.compare import compare
from hrpose.tasks.sweep import SweepJob, report_sweep, write_job


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., float]:
    def run(*overrides: Any) -> float:
        cfg = compose("compare", [*map(str, overrides), f"paths.run={tmp_path}/out", "num_samples=50"])
        validate(cfg)
        return compare(cfg)

    return run


def leave_report(folder: Path, *, stem: str = "report", shift: float = 0.0, **protocol: Any) -> Path:
    """Write a report of the mixture, with moved keypoints and a changed protocol."""
    case = evaluated()
    moved = replace(
        case,
        detections=replace(case.detections, keypoints=case.detections.keypoints + shift),
        protocol=replace(case.protocol, **protocol),
    )
    return write_report(analyse(moved, title="", num_samples=50), folder, stem)


def test_two_runs_are_compared(run, tmp_path, capsys) -> None:
    leave_report(tmp_path / "one")
    leave_report(tmp_path / "two" / "results", shift=4.0)
    difference = run(f"a={tmp_path}/one", f"b={tmp_path}/two")
    left = json.loads((tmp_path / "out" / "compare.json").read_text())["results"]
    assert difference == left["b"]["numbers"]["AP"] - left["a"]["numbers"]["AP"] < 0
    assert left["p_value"] == 1 / 50
    printed = capsys.readouterr().out
    assert f"{difference:+.3f}" in printed
    assert "p-value at most 0.020 (paired bootstrap)" in printed
    assert printed.count("20 images and 40 persons of gt.json") == 2


def test_rows_and_their_report_are_equal(run, tmp_path) -> None:
    annotations, results = write_files(tmp_path)
    rows = json.loads(results.read_text())
    (tmp_path / "again.json").write_text(json.dumps(rows, indent=1))
    assert run(f"a={results}", f"b={tmp_path}/again.json", f"annotations={annotations}") == 0
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["results"]["p_value"] == 1


def test_rows_need_annotations(run, tmp_path) -> None:
    _, results = write_files(tmp_path)
    with pytest.raises(ValueError, match=r"res.json"):
        run(f"a={results}", f"b={results}")


def test_different_protocols_are_refused_without_force(run, tmp_path, capsys) -> None:
    leave_report(tmp_path / "one", flip_test=True, boxes="ground truth")
    leave_report(tmp_path / "two", flip_test=False, boxes="ground truth")
    sides = f"a={tmp_path}/one", f"b={tmp_path}/two"
    with pytest.raises(ValueError, match=r"(?s)flip test: on \| off.*force=true"):
        run(*sides)
    assert not (tmp_path / "out").exists()
    assert run(*sides, "force=true") == 0
    assert "(a | b):\n  - flip test: on | off" in capsys.readouterr().out


def test_a_report_of_an_older_version_is_shown_on_request(run, tmp_path, capsys) -> None:
    leave_report(tmp_path / "new")
    page = leave_report(tmp_path / "old").with_suffix(".json")
    content = json.loads(page.read_text())
    del content["protocol"]["areas"]
    page.write_text(json.dumps(content))
    overrides = [f"a={tmp_path}/old", f"b={tmp_path}/new"]
    with pytest.raises(ValueError, match=r"(?s)  - areas: not stated \| .*an older version.*force=true"):
        run(*overrides)
    assert run(*overrides, "force=true") == 0
    assert "areas: not stated | annotated" in capsys.readouterr().out


def test_both_kinds_of_boxes_are_compared(run, tmp_path) -> None:
    for name, shift in (("one", 0.0), ("two", 4.0)):
        leave_report(tmp_path / name / "results", stem="report_gt")
        leave_report(tmp_path / name / "results", stem="report_det", shift=shift)
    sides = f"a={tmp_path}/one", f"b={tmp_path}/two"
    assert run(*sides) == 0
    assert list(json.loads((tmp_path / "out" / "compare.json").read_text())) == ["gt", "det"]
    assert run(*sides, "boxes=det") < 0
    assert list(json.loads((tmp_path / "out" / "compare.json").read_text())) == ["det"]
    leave_report(tmp_path / "three")
    with pytest.raises(ValueError, match="a has gt, det and b has results"):
        run(f"a={tmp_path}/one", f"b={tmp_path}/three")


def test_the_error_of_a_folder_without_reports_names_others(run, tmp_path) -> None:
    leave_report(tmp_path / "runs" / "x" / "results")
    with pytest.raises(ValueError, match="runs/x/results"):
        run(f"a={tmp_path}/runs", f"b={tmp_path}/runs")


def test_values_without_keys_reach_the_task(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "nowhere", "gone.json"]) == 1
    shown = capsys.readouterr().err
    assert "a: there is no file or folder nowhere." in shown
    assert "b: there is no file or folder gone.json." in shown


def test_a_worse_set_of_poses_has_a_small_p_value(run, tmp_path) -> None:
    annotations, results = write_files(tmp_path)
    rows = json.loads(results.read_text())
    rng = np.random.default_rng(0)
    for row in rows:
        row["keypoints"] = (np.array(row["keypoints"]) + rng.normal(0, 6, 51) * ([1, 1, 0] * 17)).tolist()
    (tmp_path / "worse.json").write_text(json.dumps(rows))
    assert run(f"a={results}", f"b={tmp_path}/worse.json", f"annotations={annotations}") < 0
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["results"]["p_value"] < 0.05


def leave_sweep(folder: Path, shifts: tuple[float, ...]) -> Path:
    """Write a sweep of jobs with moved keypoints and a failed job."""
    for number, shift in enumerate(shifts):
        ap = json.loads(leave_report(folder / str(number) / "results", shift=shift).with_suffix(".json").read_text())
        result = SimpleNamespace(score=-shift, numbers={"AP_gt": ap["numbers"]["AP"]}, num_epochs=1)
        write_job(folder, SweepJob(number, f"optim.lr={shift}", str(number)).end(result, 1.0))
    write_job(folder, SweepJob(len(shifts), "optim.lr=9", "9").fail(ValueError("diverged"), 1.0))
    report_sweep(folder, Console(quiet=True))
    return folder


def test_the_best_job_of_a_sweep_is_compared_with_each_other_one(run, tmp_path, capsys) -> None:
    sweep = leave_sweep(tmp_path / "sweep", (4.0, 0.0, 2.0))
    difference = run(f"a={sweep}")
    left = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert left["best"] == "1"
    assert sorted(left["jobs"]) == ["0", "2"]
    assert difference == max(job["results"]["differences"]["AP"] for job in left["jobs"].values()) < 0
    assert "optim.lr=4.0" in capsys.readouterr().out


def test_a_sweep_is_represented_by_its_best_job(run, tmp_path) -> None:
    sweep = leave_sweep(tmp_path / "sweep", (4.0, 0.0))
    leave_report(tmp_path / "one")
    assert run(f"a={tmp_path}/one", f"b={sweep}/sweep.csv") == 0


def test_one_run_without_another_is_refused(run, tmp_path) -> None:
    leave_report(tmp_path / "one")
    with pytest.raises(ConfigError, match=r"^b: "):
        run(f"a={tmp_path}/one")
