"""hrpose doctor: exit status, JSON on standard output, unreadable files, and the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from examined import people, write_images

import hrpose
from hrpose.config import ConfigError
from hrpose.config.paths import find_checked_splits
from processes import run_module


def written(folder: Path, name: str = "train", **changes: object) -> Path:
    """Write sound labels, with other values in the first annotation, and their images."""
    content = people(int(name == "val"), num_images=26)
    content["annotations"][0].update(changes)
    write_images(content, folder / "images")
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, object]:
    return {"data.train_annotations": written(tmp_path), "data.train_images": tmp_path / "images", "paths.run": tmp_path / "run"}


def test_sound_data_has_no_findings_and_its_sources_are_named(arguments, tmp_path: Path) -> None:
    result = hrpose.doctor(**arguments)
    assert (result.findings, result.exit_status) == ((), 0)
    content = json.loads((tmp_path / "run" / "doctor.json").read_text())
    assert content["counts"] == {"error": 0, "warning": 0, "note": 0}
    assert content["mirror_pairs_from"] == "found in the names"
    assert list(content["sigmas_from"]) == ["those of coco"]
    assert [(split["name"], split["num_instances"]) for split in content["splits"]] == [("train", 52)]


def test_a_file_that_cannot_be_read_does_not_stop_the_check_of_the_other(arguments, tmp_path: Path) -> None:
    val = written(tmp_path, "val", category_id=9)
    result = hrpose.doctor(**arguments, **{"data.val_annotations": val, "data.val_images": tmp_path / "images"})
    assert {finding.check for finding in result.findings} == {"annotations-without-category", "file-refused"}
    assert {finding.file for finding in result.findings} == {str(val)}
    assert [split.annotations is None for split in result.splits] == [False, True]
    assert result.exit_status == 1


def test_the_command_ends_with_1_for_errors_and_prints_json_alone(tmp_path: Path) -> None:
    overrides = [f"data.train_annotations={written(tmp_path, bbox=[900, 10, 20, 20])}", "data.train_images=images"]
    done = run_module("hrpose", "doctor", *overrides, "format=json", "images=false", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (finding, *_) = json.loads(done.stdout)["findings"]
    assert (finding["check"], finding["ids"], finding["severity"]) == ("boxes-outside-image", [1], "error")


def test_without_data_the_command_prints_the_environment(tmp_path: Path) -> None:
    done = run_module("hrpose", "doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert {"hrpose", "python", "torch", "lightning", "hydra-core", "numpy", "platform", "CPU cores", "memory", "GPU"} <= names


def test_a_missing_file_is_refused_with_its_key(arguments, tmp_path: Path) -> None:
    arguments["data.train_images"] = tmp_path / "nowhere"
    with pytest.raises(ConfigError, match=r"data\.train_images = "):
        hrpose.doctor(**arguments)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["data.train_annotations=a.json"], ["train"]),
        (["data.val_annotations=a.json"], ["val"]),
        (["data=coco", "data.train_annotations=a.json"], ["train"]),
        (["data=coco"], ["train", "val"]),
        (["data=coco", "data.val_annotations=null"], ["train"]),
        (["experiment=w32_256x192", "data.train_annotations=a.json", "data.val_annotations=b.json"], ["train", "val"]),
    ],
)
def test_custom_data_is_checked_and_drawn_data_is_not(overrides, expected) -> None:
    assert find_checked_splits(hrpose.compose("doctor", overrides)) == expected
