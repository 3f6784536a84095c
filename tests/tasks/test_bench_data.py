"""`hrpose bench data` prints a table and returns its rows."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hrpose.errors import DataError
from hrpose.tasks.bench_data import bench_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((40, 50, 3), np.uint8))
    told = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [5, 5, 30, 30],
                "area": 90,
                "keypoints": [9, 9, 2, 20, 20, 1],
            }
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "neck"]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(told))
    return tmp_path


def test_table_has_the_total_of_both_sides(folder: Path, capsys) -> None:
    rows = bench_data(
        annotations_file=folder / "a.json", image_dir=folder, input_size=(48, 64), num_samples=6, repeats=1
    )
    total = next(row for row in rows if row["stage"] == "total")
    assert total["ratio"] == total["hrpose_ms"] / total["reference_ms"]
    printed = capsys.readouterr().out
    assert "48x64" in printed
    for row in rows:
        assert row["stage"] in printed


def test_numbers_are_checked(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"`num_samples` and `repeats`.* 0 and 3"):
        bench_data(annotations_file=folder / "a.json", image_dir=folder, num_samples=0)


def test_missing_data_is_said(folder: Path) -> None:
    with pytest.raises(DataError, match=r"b\.json"):
        bench_data(annotations_file=folder / "b.json", image_dir=folder)
