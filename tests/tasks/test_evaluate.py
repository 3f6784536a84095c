"""hrpose evaluate: numbers, files and messages; invalid rows are refused with their ids."""

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import coco_numbers, contradict, random_case
from small_case import annotation_content, mixture, result_rows, write_files

from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataWarning
from hrpose.metrics.functional import average_precision
from hrpose.report.analysis import analyse
from hrpose.skeletons import COCO
from hrpose.tasks.evaluate import read_evaluated
from processes import run_module

PROGRAM = """
import sys
from hrpose.cli import main
status = main()
heavy = sorted(set(sys.modules) & {'torch', 'torchmetrics', 'lightning', 'albumentations', 'matplotlib'})
print("HEAVY", heavy)
sys.exit(status)
"""


def evaluate(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_module("hrpose", "evaluate", *overrides, cwd=cwd)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, str]:
    """Evaluate the known mixture; return its folder and output."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_files(folder)
    overrides = ("evaluate", "annotations=gt.json", "results=res.json", "paths.run=run", "num_samples=100")
    command, environment = [sys.executable, "-c", PROGRAM, *overrides], {**os.environ, "COLUMNS": "80"}
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
    found = {**anatomy["keypoints"], **{name.replace("_", " "): anatomy[name] for name in ("false_positives", "false_negatives")}}
    assert found == mixture()[2]
    assert anatomy["fixed"]["miss"]["AP"] > anatomy["numbers"]["AP"]


def test_the_protocol_and_the_meaning_of_minus_one_are_printed(done) -> None:
    printed = done[1]
    assert "20 images and 40 persons of gt.json (sha256 " in printed
    assert "not stated: boxes, " in printed
    assert "-1 means" in printed


def test_page_and_json_are_in_the_folder_of_the_run(done) -> None:
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


def test_faulty_overrides_are_refused_immediately(tmp_path) -> None:
    (tmp_path / "gt.json").touch()
    process = evaluate("annotations=gt.json", "results=nowhere.json", "seed=x", "sigmas=cooc", cwd=tmp_path)
    _, *faults = process.stderr.splitlines()
    expected = {"seed": "'x'", "sigmas": "'cooc'", "results": "nowhere.json"}
    assert [fault.split(":")[0] for fault in faults] == [f"  - {key}" for key in expected]
    assert all(value in fault for fault, value in zip(faults, expected.values(), strict=True))
    assert "results: " in evaluate("annotations=gt.json", cwd=tmp_path).stderr
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
    assert line.split()[1:] == ["0.372", "0.636", "0.348", "0.384", "0.386", "0.514", "0.734", "0.504", "0.508", "0.522"]


NEAR_LIMITS = [sign * (limit + step) for sign in (1, -1) for limit in (2**53, 2**62) for step in range(-3, 4)]
IDS = st.sampled_from([*NEAR_LIMITS, 2**63 - 1, 2**63 - 2, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def annotations() -> dict[str, Any]:
    return annotation_content(mixture()[0])


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return result_rows(mixture()[1])


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    def read(annotations: Any, rows: Any, **options: Any) -> Any:
        (tmp_path / "gt.json").write_text(json.dumps(annotations))
        (tmp_path / "res.json").write_text(json.dumps(rows))
        reading = {name: options.pop(name) for name in ("category", "area_from_bbox", "visibility_map") if name in options}
        files = InstanceFiles(**reading)
        return read_evaluated(tmp_path / "gt.json", tmp_path / "res.json", files=files, **options)

    return read


def test_files_become_arrays_and_a_protocol(read, annotations, rows) -> None:
    evaluated = read(annotations, rows)
    assert len(evaluated.detections) == 42
    assert evaluated.skeleton.sigmas == COCO.sigmas
    assert evaluated.skeleton.flip_permutation == COCO.flip_permutation
    protocol = evaluated.protocol
    assert (protocol.num_images, protocol.num_instances, protocol.sigmas, protocol.boxes) == (20, 40, "coco", None)


def test_the_error_analysis_uses_the_mirror_pairs_of_the_file(read, annotations, rows) -> None:
    annotations["categories"][0]["flip_pairs"] = [["nose", "left_eye"]]
    assert read(annotations, rows).skeleton.flip_pairs == ((0, 1),)


def test_an_unknown_image_id_is_named(read, annotations, rows) -> None:
    rows[2]["image_id"] = 777
    with pytest.raises(ValueError, match=r"res.json.*\[2\].*0.*777"):
        read(annotations, rows)


def test_an_unknown_category_id_is_named(read, annotations, rows) -> None:
    rows[1]["category_id"] = rows[4]["category_id"] = 9
    with pytest.raises(ValueError, match=r"\(\[1\]; 'person' is 1\).*2 rows.*\[9\].*1"):
        read(annotations, rows)


def test_several_categories_are_evaluated_as_one(read, annotations, rows) -> None:
    annotations["categories"].append({**annotations["categories"][0], "id": 5, "name": "child"})
    for entries in (annotations["annotations"], rows):
        for entry in entries[::2]:
            entry["category_id"] = 5
    evaluated = read(annotations, rows, category="all")
    assert len(evaluated.detections) == len(rows)
    assert set(evaluated.detections.category_ids.tolist()) == set(evaluated.truth.category_ids.tolist()) == {1}
    assert evaluated.protocol.category == "person, child"


def test_replaced_visibilities_are_in_the_protocol(read, annotations, rows) -> None:
    for entry in annotations["annotations"]:
        entry["keypoints"][2] = -1
        entry.pop("num_keypoints", None)
    evaluated = read(annotations, rows, visibility_map={-1: 0})
    assert not evaluated.truth.visibility[:, 0].any()
    assert "-1 as 0" in evaluated.protocol.num_keypoints


def test_rows_of_another_category_are_dropped_and_counted(read, annotations, rows, caplog) -> None:
    annotations["categories"].append({"id": 5, "name": "dog"})
    rows[0]["category_id"] = 5
    with caplog.at_level(logging.WARNING):
        assert len(read(annotations, rows).detections) == 41
    assert "1 of 42 rows" in caplog.text


def test_another_number_of_keypoints_is_named(read, annotations, rows) -> None:
    rows[0]["keypoints"] = rows[0]["keypoints"][:9]
    with pytest.raises(ValueError, match=r"51 numbers.*17.*9 numbers"):
        read(annotations, rows)


def test_nan_and_duplicates_are_named(read, annotations, rows) -> None:
    wrong = [dict(row) for row in rows]
    wrong[3]["score"] = float("nan")
    with pytest.raises(ValueError, match=r"`score`.*1.*\[3\]"):
        read(annotations, wrong)
    with pytest.raises(ValueError, match=r"\[42\]"):
        read(annotations, [*rows, rows[0]])


@pytest.mark.parametrize("area", [None, 0, 1, -5, math.nan])
def test_an_area_that_is_missing_or_too_small_is_taken_from_the_box(read, annotations, rows, area) -> None:
    annotations["annotations"][7].update(area=area, bbox=[10, 20, 30, 40])
    with pytest.warns(DataWarning, match=r"1 of 40 annotations.*`area`.*\(8\).*`area_from_bbox`"):
        evaluated = read(annotations, rows, area_from_bbox=0.5)
    assert evaluated.truth.area[7] == 600
    assert evaluated.protocol.areas == "annotated or 0.5 of the box"


def test_the_numbers_equal_pycocotools_for_any_num_keypoints(read, annotations, rows) -> None:
    changed = contradict(annotations, seed=0)
    with pytest.warns(DataWarning) as caught:
        evaluated = read(changed, rows)
    truth = evaluated.truth
    zero = int((truth.num_keypoints == 0).sum())
    assert any(f"{zero} of 40 annotations" in str(w.message) for w in caught)
    numbers = average_precision(evaluated.detections, truth, COCO.sigmas)
    assert list(numbers.values()) == coco_numbers(changed, rows, COCO.sigmas)
    assert numbers != average_precision(evaluated.detections, replace(truth, num_keypoints=None), COCO.sigmas)
    assert evaluated.protocol.num_instances == 40 - zero
    assert f"to the labels of {zero} persons" in str(evaluated.protocol)


def test_a_missing_num_keypoints_is_counted_from_the_labels(read, annotations, rows) -> None:
    changed = contradict(annotations, seed=1)
    counted = [row["id"] % 2 == 0 for row in changed["annotations"]]
    for row, whole, is_counted in zip(changed["annotations"], annotations["annotations"], counted, strict=True):
        if is_counted:
            row["num_keypoints"] = whole["num_keypoints"]
    expected = coco_numbers(json.loads(json.dumps(changed)), rows, COCO.sigmas)
    for row, is_counted in zip(changed["annotations"], counted, strict=True):
        if is_counted:
            del row["num_keypoints"]
    with pytest.warns(DataWarning):
        evaluated = read(changed, rows)
    assert list(average_precision(evaluated.detections, evaluated.truth, COCO.sigmas).values()) == expected


def test_sigmas_are_given_by_name_or_number(read, annotations, rows) -> None:
    assert read(annotations, rows, sigmas="coco").protocol.sigmas == "coco"
    assert read(annotations, rows, sigmas=[0.1] * 17).skeleton.sigmas == (0.1,) * 17
    with pytest.raises(ValueError, match=r"17 `sigmas`.*'person'.*16"):
        read(annotations, rows, sigmas="mpii")
    with pytest.raises(ValueError, match="'cooc'"):
        read(annotations, rows, sigmas="cooc")


def test_no_poses_that_count_are_refused(read, annotations, rows) -> None:
    with pytest.raises(ValueError, match=r"1.*0"):
        read(annotations, rows, max_detections=0)


def test_keypoints_without_names_need_sigmas(read, annotations, rows) -> None:
    del annotations["categories"][0]["keypoints"]
    with pytest.raises(ValueError, match="sigmas=<name of a skeleton> or a list of numbers"):
        read(annotations, rows)
    assert read(annotations, rows, sigmas="coco").skeleton.keypoint_names == COCO.keypoint_names
    assert read(annotations, rows, sigmas=[0.1] * 17).skeleton.keypoint_names[16] == "keypoint 16"


@pytest.fixture(scope="module")
def plain_files(tmp_path_factory) -> tuple[Path, dict[str, Any], list[dict[str, Any]], list[float], dict[str, Any]]:
    """Write random annotations of 5 images and results with distinct scores; return their report."""
    annotations, results, sigmas = random_case(11, num_keypoints=3, num_images=5, distinct=True)
    annotations["images"] = [{**row, "width": 640, "height": 480, "file_name": "a.jpg"} for row in annotations["images"]]
    for row in annotations["annotations"]:
        row["area"] = 0.6 * row["bbox"][2] * row["bbox"][3] + 500
    folder = tmp_path_factory.mktemp("ids")
    return folder, annotations, results, sigmas.tolist(), _report(folder, annotations, results, sigmas.tolist())


def _report(folder: Path, annotations: Any, results: Any, sigmas: list[float]) -> dict[str, Any]:
    (folder / "gt.json").write_text(json.dumps(annotations))
    (folder / "res.json").write_text(json.dumps(results))
    evaluated = read_evaluated(folder / "gt.json", folder / "res.json", sigmas=sigmas)
    report = analyse(evaluated, title="", num_samples=5).to_dict()
    return {name: value for name, value in report.items() if name != "protocol"}


@settings(max_examples=30, deadline=None)
@given(
    image_ids=st.lists(IDS, min_size=5, max_size=5, unique=True),
    first_id=IDS.filter(lambda value: not -100 < value <= 0 and value < 2**63 - 100),  # pycocotools: 0 is no match
    category_id=IDS,
)
def test_numbers_do_not_depend_on_ids(plain_files, image_ids, first_id, category_id) -> None:
    folder, annotations, results, sigmas, report = plain_files
    in_order = image_ids == sorted(image_ids)
    new = dict(zip([row["id"] for row in annotations["images"]], image_ids, strict=True))
    renamed = {
        "images": [{**row, "id": new[row["id"]]} for row in annotations["images"]],
        "annotations": [
            {**row, "id": first_id + row["id"], "image_id": new[row["image_id"]], "category_id": category_id}
            for row in annotations["annotations"]
        ],
        "categories": [{"id": category_id, "name": "person"}],
    }
    rows = [{**row, "image_id": new[row["image_id"]], "category_id": category_id} for row in results]
    got = _report(folder, renamed, rows, sigmas)
    assert list(got["numbers"].values()) == coco_numbers(renamed, rows, sigmas)
    if not in_order:  # images are drawn in the order of their ids
        got = {**got, "bootstrap": report["bootstrap"]}
    assert got == report


@pytest.mark.parametrize("value", [1.5, True, "1", None, 2**63, 1e300])
@pytest.mark.parametrize("name", ["image_id", "category_id"])
def test_an_id_that_is_no_integer_is_refused(read, annotations, rows, name, value) -> None:
    rows[3][name] = value
    with pytest.raises(ValueError, match=rf"res.json.*`{name}`.*\[3\]"):
        read(annotations, rows)


def test_ids_written_as_whole_floats_are_read(read, annotations, rows) -> None:
    expected = read(annotations, rows).detections
    for row in [*rows, *annotations["annotations"]]:
        row.update(image_id=float(row["image_id"]), category_id=1.0)
    for row in [*annotations["images"], *annotations["annotations"], *annotations["categories"]]:
        row["id"] = float(row["id"])
    evaluated = read(annotations, rows)
    assert evaluated.detections.image_ids.tolist() == expected.image_ids.tolist()
    assert evaluated.truth.instance_ids.dtype == evaluated.detections.category_ids.dtype == "int64"
