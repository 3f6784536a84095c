"""hrpose evaluate through the command line: its numbers, its files, its messages, and that it needs no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from keypoint_oracle import coco_numbers
from small_case import annotation_content, mixture, write_files

from hrpose.skeletons import COCO, KNOWN_SKELETONS
from processes import run_module

PROGRAM = """
import sys
from hrpose.cli import main
status = main()
heavy = sorted(set(sys.modules) & {'torch', 'torchmetrics', 'lightning', 'albumentations', 'matplotlib'})
print("HEAVY", heavy)
sys.exit(status)
"""


def evaluate(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_module("hrpose", "evaluate", *words, cwd=cwd)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, str]:
    """An evaluation of the known mixture: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_files(folder)
    words = ("evaluate", "annotations=gt.json", "results=res.json", "paths.run=run", "num_samples=100")
    command, environment = [sys.executable, "-c", PROGRAM, *words], {**os.environ, "COLUMNS": "80"}
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return folder, process.stdout


def test_the_ten_numbers_are_those_of_pycocotools(done) -> None:
    folder, printed = done
    numbers = json.loads((folder / "run" / "report.json").read_text())["numbers"]
    annotations = annotation_content(mixture()[0])
    rows = json.loads((folder / "res.json").read_text())
    assert list(numbers.values()) == coco_numbers(annotations, rows, COCO.sigmas)
    shown = next(line for line in printed.splitlines() if line.startswith(" all ")).split()[1:]
    assert shown == ["-1" if value < 0 else f"{value:.3f}" for value in numbers.values()]


def test_the_known_mixture_is_found(done) -> None:
    anatomy = json.loads((done[0] / "run" / "report.json").read_text())["anatomy"]
    found = {
        **anatomy["keypoints"],
        **{name.replace("_", " "): anatomy[name] for name in ("false_positives", "false_negatives")},
    }
    assert found == mixture()[2]
    assert anatomy["cured"]["miss"]["AP"] > anatomy["numbers"]["AP"]


def test_the_protocol_and_the_meaning_of_minus_one_are_printed(done) -> None:
    printed = done[1]
    assert "Protocol: 20 photos and 40 persons of gt.json (sha256 " in printed
    assert "not stated: boxes, " in printed
    assert "-1 stands for a number that is not defined" in printed


def test_page_and_json_lie_in_the_runs_folder(done) -> None:
    folder, printed = done
    assert (folder / "run" / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert f"Report: {folder / 'run' / 'report.html'} and report.json" in printed


def test_no_network_is_imported(done) -> None:
    assert "HEAVY []" in done[1]


def test_faults_of_the_files_are_messages(tmp_path) -> None:
    annotations, results = write_files(tmp_path)
    rows = json.loads(results.read_text())
    rows[0]["image_id"] = 777
    results.write_text(json.dumps(rows))
    process = evaluate(f"annotations={annotations}", f"results={results}", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith(f"hrpose: Expected {results} to have image ids of the annotations")
    assert "Traceback" not in process.stderr


def test_faults_of_the_words_are_told_at_once(tmp_path) -> None:
    (tmp_path / "gt.json").touch()
    process = evaluate("annotations=gt.json", "results=nowhere.json", "seed=x", "sigmas=cooc", cwd=tmp_path)
    assert process.stderr.splitlines() == [
        "hrpose: 3 faults in the configuration:",
        "  - seed: expected int, but got 'x' (str).",
        f"  - sigmas: expected Literal[{', '.join(map(repr, KNOWN_SKELETONS))}] | list[float] | None, but got 'cooc' (str).",
        "  - results: there is no file nowhere.json.",
    ]
    assert "results: it has no value yet" in evaluate("annotations=gt.json", cwd=tmp_path).stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.data
def test_the_published_numbers(shared_data, tmp_path) -> None:
    folder = shared_data / "coco_eval_100"
    process = evaluate(
        f"annotations={folder / 'person_keypoints_val2014_100_rebuilt.json'}",
        f"results={folder / 'person_keypoints_val2014_fakekeypoints100_results.json'}",
        "num_samples=10",
        cwd=tmp_path,
    )
    line = next(line for line in process.stdout.splitlines() if line.startswith(" all "))
    assert line.split()[1:] == [
        "0.372",
        "0.636",
        "0.348",
        "0.384",
        "0.386",
        "0.514",
        "0.734",
        "0.504",
        "0.508",
        "0.522",
    ]
