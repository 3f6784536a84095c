"""Conversions write archives with all images once in random order, and nothing if they fail."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import pytest
from grey_images import write_images

from hrpose.annotations.converters import convert_labels
from hrpose.errors import DataError, MissingDataError
from hrpose.media.folders import list_images
from hrpose.media.images import read_bytes

NAMES = [f"v{index // 5}/{index}.png" for index in range(10)]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A COCO file with a backslash in a name, as tools on Windows write it."""
    write_images(tmp_path / "photos", *NAMES)
    named = [name.replace("/", "\\") if "7" in name else name for name in NAMES]
    content = {
        "images": [{"id": index, "file_name": name} for index, name in enumerate(named)],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 7, "keypoints": [10, 20, 2, 30, 40, 2]} for index in range(10)
        ],
        "categories": [{"id": 7, "name": "fly", "keypoints": ["head", "tail"]}],
    }
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_images_of_a_coco_file_are_written_once_with_their_bytes_and_the_command_reads_them(kind: str, labels: Path) -> None:
    out = labels.parent / "packed"
    conversion = convert_labels(labels, out=out, split=0.2, split_by="image", archive=kind, archive_size=0.004)
    assert set(conversion.archives) == {"train", "val"}
    held = {split: list_images(pattern) for split, pattern in conversion.archives.items()}
    assert sorted(held["train"] + held["val"]) == sorted(NAMES)
    assert len(sorted(out.glob(f"train-*.{kind}"))) > 1
    for split, names in held.items():
        for name in names:
            assert read_bytes(conversion.archives[split] / name) == (labels.parent / "photos" / name).read_bytes()
    written = [row["file_name"] for split in held for row in json.loads(conversion.files[split].read_text())["images"]]
    assert sorted(written) == sorted(row["file_name"] for row in json.loads(labels.read_text())["images"])
    overrides = dict(word.split("=", 1) for word in shlex.split(conversion.command)[2:])
    assert overrides["data.train_images"] == str(conversion.archives["train"])
    assert overrides["data.val_images"] == str(conversion.archives["val"])
    assert list(out.glob(".*")) == []


def test_the_order_in_an_archive_is_random_and_reproducible(labels: Path) -> None:
    orders = []
    for number in range(2):
        out = labels.parent / str(number)
        convert_labels(labels, out=out, split=0, archive="zip")
        orders.append(zipfile.ZipFile(out / "train-00000.zip").namelist())
    assert orders[0] == orders[1] != sorted(NAMES)
    assert sorted(orders[0]) == sorted(NAMES)


def test_archives_can_be_written_again_from_archives(labels: Path) -> None:
    first = convert_labels(labels, out=labels.parent / "one", split=0, archive="tar")
    second = convert_labels(labels, images=first.archives["train"], out=labels.parent / "two", split=0, archive="zip")
    assert list_images(second.archives["train"]) == sorted(NAMES)


def test_existing_archives_and_missing_images_are_refused(labels: Path) -> None:
    out = labels.parent / "packed"
    with pytest.raises(DataError, match="archive_size"):
        convert_labels(labels, out=out, archive="tar", archive_size=0)
    out.mkdir()
    (out / "train-2017.tar").touch()
    with pytest.raises(DataError, match="out="):
        convert_labels(labels, out=out, archive="tar")
    (labels.parent / "photos" / NAMES[3]).unlink()
    with pytest.raises(MissingDataError):
        convert_labels(labels, out=labels.parent / "other", split=0, archive="tar")
    assert sorted(path.name for path in out.iterdir()) == ["train-2017.tar"]
    assert not (labels.parent / "other").exists()


def test_a_conversion_that_fails_in_the_middle_leaves_no_archive(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, count = labels.parent / "packed", iter(range(100))

    def fail(path: Path) -> bytes:
        if next(count) == 6:
            raise DataError("unreadable")
        return read_bytes(path)

    monkeypatch.setattr("hrpose.annotations.converters.archives.read_bytes", fail)
    with pytest.raises(DataError, match="unreadable"):
        convert_labels(labels, out=out, split=0, archive="tar", archive_size=0.003)
    assert list(out.iterdir()) == []


def test_other_formats_write_archives_too(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"{number}.png" for number in range(4)))
    for number in range(4):
        shapes = [{"label": name, "shape_type": "point", "points": [[20 + number, 30]]} for name in ("left_a", "right_a")]
        shapes.append({"label": "fly", "shape_type": "rectangle", "points": [[1, 1], [90, 90]]})
        for shape in shapes:
            shape["group_id"] = 1
        label = {"imagePath": f"{number}.png", "imageWidth": 160, "imageHeight": 120, "shapes": shapes}
        (tmp_path / f"{number}.json").write_text(json.dumps(label))
    conversion = convert_labels(tmp_path, out=tmp_path / "packed", split=0.25, archive="zip")
    assert sorted(list_images(tmp_path / "packed" / "*.zip")) == [f"{number}.png" for number in range(4)]
    assert set(conversion.archives) == {"train", "val"}
