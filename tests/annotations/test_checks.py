"""The table of checks: every fault is found and named, and valid annotations give no finding."""

import json
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.annotations.checks import CHECKS, check_annotations, check_split
from hrpose.annotations.coco import CocoAnnotations, forget_annotations, read_annotations
from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataWarning

Row = dict[str, Any]


def sound(seed: int, num_rows: int = 40, num_keypoints: int = 7) -> dict[str, Any]:
    """Draw images of several sizes and instances inside them; crowds, unlabelled ones, missing fields, padded boxes."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": int(w), "height": int(h)}
        for i, (w, h) in enumerate(rng.integers(60, 900, (5, 2)))
    ]
    rows = []
    for number in range(num_rows):
        image = images[int(rng.integers(5))]
        limit = np.array([image["width"], image["height"]])
        size = rng.uniform(0.15, 0.8, 2) * limit
        low = rng.uniform(0, 1, 2) * (limit - size)
        labels = rng.integers(0, 3, num_keypoints)
        labels[:3] = 2
        labels[:] = 0 if number % 9 == 8 else labels
        points = np.where(labels[:, None] > 0, low + rng.uniform(0.02, 0.98, (num_keypoints, 2)) * size, 0)
        padding = rng.uniform(0, 0.1) * size
        row = {
            "id": number + 1,
            "image_id": image["id"],
            "category_id": 1,
            "bbox": [*(low - padding).tolist(), *(size + 2 * padding).tolist()],
            "area": float(size.prod() * rng.uniform(0.15, 0.9)),
            "iscrowd": int(number % 13 == 12),
            "num_keypoints": int((labels > 0).sum()),
            "keypoints": np.column_stack([points, labels]).ravel().tolist(),
        }
        if number % 4 == 0:
            del row["num_keypoints"]
        rows.append(row)
    names = [f"point {k}" for k in range(num_keypoints)]
    categories = [{"id": 1, "name": "person", "keypoints": names}, {"id": 2, "name": "ball"}]
    rows.append({"id": num_rows + 1, "image_id": 0, "category_id": 2, "bbox": [1, 1, 5, 5], "keypoints": [0] * 9})
    return {"images": images, "annotations": rows, "categories": categories}


def read(folder: Path, content: dict[str, Any], **options: Any) -> CocoAnnotations:
    (folder / "a.json").write_text(json.dumps(content))
    forget_annotations()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_annotations(folder / "a.json", **options)


def triplets(row: Row) -> np.ndarray:
    return np.reshape(row["keypoints"], (-1, 3)).astype(float)


def with_points(row: Row, points: np.ndarray) -> Row:
    labels = triplets(row)[:, 2:]
    return {**row, "keypoints": np.column_stack([np.where(labels > 0, points, 0), labels]).ravel().tolist()}


def placeholder(row: Row, size: np.ndarray) -> Row:
    points = triplets(row)[:, :2]
    points[1] = -1 if row["id"] % 2 else 0
    return with_points(row, points)


def with_box(row: Row, low: np.ndarray, size: np.ndarray) -> Row:
    return {**row, "bbox": [*low.tolist(), *size.tolist()]}


def inside(row: Row, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clip the box to the image, and return its corner and size."""
    low, size = np.split(np.array(row["bbox"]), 2)
    low, high = np.clip(low, 0, limit), np.clip(low + size, 0, limit)
    return low, high - low


def center(row: Row, limit: np.ndarray) -> np.ndarray:
    low, size = inside(row, limit)
    return low + size / 2


FAULTS: dict[str, Callable[[Row, np.ndarray], Row]] = {
    "area": lambda row, size: {**row, "area": [None, 0, 1e-9, -7][row["id"] % 4]},
    "num-keypoints-zero": lambda row, size: {**row, "num_keypoints": 0},
    "num-keypoints-unequal": lambda row, size: {**row, "num_keypoints": 99},
    "visibility-never-2": lambda row, size: {**row, "keypoints": np.minimum(triplets(row), [np.inf, np.inf, 1]).ravel().tolist()},
    "keypoints-at-origin": placeholder,
    "keypoints-normalised": lambda row, size: with_points(row, triplets(row)[:, :2] / size),
    "boxes-normalised": lambda row, size: with_box(row, *(part / size for part in inside(row, size))),
    "boxes-of-corners": lambda row, size: with_box(row, inside(row, size)[0], sum(inside(row, size))),
    "boxes-of-centers": lambda row, size: with_box(row, center(row, size), inside(row, size)[1]),
    "keypoints-outside-box": lambda row, size: with_points(row, triplets(row)[:, :2] + 1.5 * np.array(row["bbox"][2:])),
    "keypoints-outside-image": lambda row, size: with_points(row, triplets(row)[:, :2] + 2 * size),
}


def spoil(content: dict[str, Any], fault: str, every: int = 1) -> dict[str, Any]:
    sizes = {image["id"]: np.array([image["width"], image["height"]], float) for image in content["images"]}
    rows = [
        FAULTS[fault](row, sizes[row["image_id"]]) if row["category_id"] == 1 and not row["id"] % every else row
        for row in content["annotations"]
    ]
    return {**content, "annotations": rows}


def test_names_of_checks_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert set(FAULTS) | {"other-categories", "num-keypoints-without-labels"} == set(names)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_keypoints=st.sampled_from([3, 5, 17]))
def test_valid_annotations_give_no_finding(seed: int, num_keypoints: int, tmp_path_factory) -> None:
    annotations = read(tmp_path_factory.getbasetemp(), sound(seed, num_keypoints=num_keypoints))
    assert check_annotations(annotations, CHECKS) == []


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_fault_of_all_annotations_is_found(fault: str, seed: int, tmp_path_factory) -> None:
    annotations = read(tmp_path_factory.getbasetemp(), spoil(sound(seed), fault))
    found = {finding.check: finding for finding in check_annotations(annotations, CHECKS)}
    assert fault in found
    finding = found[fault]
    assert 0 < finding.count <= finding.total <= 40
    if fault not in ("boxes-of-corners", "boxes-of-centers"):  # some of them can be read both ways
        labelled = (annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd
        assert finding.count >= 0.95 * (len(annotations) if fault == "area" else np.count_nonzero(labelled))


@pytest.mark.parametrize("fault", ["area", "num-keypoints-zero", "num-keypoints-unequal", "keypoints-at-origin"])
def test_a_finding_counts_the_faulty_annotations_and_shows_the_first(fault: str, tmp_path: Path) -> None:
    (finding,) = check_annotations(read(tmp_path, spoil(sound(0), fault, every=7)), CHECKS)
    ids = [7, 14, 21, 28, 35]
    assert (finding.check, finding.count, finding.file) == (fault, 5, str(tmp_path / "a.json"))
    assert len(set(finding.ids)) == 3
    assert set(finding.ids) <= set(ids)


def test_num_keypoints_without_labels_is_found(tmp_path: Path) -> None:
    document = sound(0)
    for row in document["annotations"][:-1]:
        if row["id"] in (9, 18):  # without labels
            row["num_keypoints"] = 4
    (finding,) = check_annotations(read(tmp_path, document), CHECKS)
    assert (finding.check, finding.count, sorted(finding.ids)) == ("num-keypoints-without-labels", 2, [9, 18])


def test_other_categories_with_keypoints_are_counted_unless_the_category_is_named(tmp_path: Path) -> None:
    document = sound(0)
    document["categories"][1]["keypoints"] = ["middle"]
    document["annotations"][-1]["keypoints"] = [3, 3, 2]
    (finding,) = check_annotations(read(tmp_path, document), CHECKS)
    assert (finding.check, finding.count, finding.total, finding.ids) == ("other-categories", 1, 41, (41,))
    assert "1 of 'ball'" in str(finding)
    assert check_annotations(read(tmp_path, document, category="person"), CHECKS) == []


def test_each_finding_is_one_line_with_the_file_the_counts_the_ids_and_the_fix(tmp_path: Path) -> None:
    (finding,) = check_annotations(read(tmp_path, spoil(sound(0), "area", every=20)), CHECKS)
    line = str(finding)
    assert "\n" not in line
    assert line.startswith(f"{tmp_path / 'a.json'}: 2 of 40 annotations have no `area`")
    assert "`data.area_from_bbox`" in line


def test_images_of_both_sets_are_counted(tmp_path: Path) -> None:
    train, val = read(tmp_path, sound(0)), read(tmp_path, sound(1))
    num_images = len(np.unique(val.image_index))
    (finding,) = check_split(train, val, tmp_path / "photos", tmp_path / "a" / ".." / "photos")
    assert (finding.check, finding.count, finding.total) == ("train-images-in-validation", num_images, num_images)
    assert finding.ids == ("0.jpg", "1.jpg", "2.jpg")
    assert check_split(train, val, tmp_path / "train", tmp_path / "val") == []
    document = sound(1)
    for row in document["images"]:
        row["file_name"] = f"{'train' if row['id'] == 3 else 'val'}/{row['file_name']}"
    (finding,) = check_split(train, read(tmp_path, document), tmp_path / "train", tmp_path)
    assert (finding.count, finding.ids) == (1, ("train/3.jpg",))


def test_one_file_for_both_sets_is_accepted_and_a_copy_is_not(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.json", tmp_path / "b.json"
    for name in (file, copy):
        name.write_text(json.dumps(sound(0)))
    InstanceFiles().check_apart(file, tmp_path, file, tmp_path)  # a warning would be an error
    with pytest.warns(DataWarning, match=r"\[train-images-in-validation\]"):
        InstanceFiles().check_apart(file, tmp_path, copy, tmp_path)


def test_reading_a_file_again_gives_no_second_warning(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(spoil(sound(0), "boxes-of-corners")))
    with pytest.warns(DataWarning, match="read as two corners"):
        InstanceFiles().annotated(file, file.parent, "train")
    file.write_text(json.dumps(spoil(sound(0), "num-keypoints-zero")))
    with pytest.warns(DataWarning, match="state `num_keypoints` 0"):
        InstanceFiles().annotated(file, file.parent, "train")
    forget_annotations()
    InstanceFiles().annotated(file, file.parent, "validate")  # a warning would be an error


@pytest.mark.data
def test_real_files_give_no_finding(shared_data: Path, tmp_path: Path) -> None:
    for archive in ("coco_real.tar", "lspet/part_a.tar"):
        with tarfile.open(shared_data / archive) as tar:
            tar.extractall(tmp_path, [member for member in tar if member.name.endswith(".json")], filter="data")
    files = [*tmp_path.rglob("*.json"), *(shared_data / "mmpose_samples" / "coco").glob("test_coco.json")]
    files += [shared_data / "coco_eval_100" / "person_keypoints_val2014_100_rebuilt.json"]
    files += [shared_data / "coco_labels_2017" / "person_keypoints_val2017_recovered.json"]
    assert len(files) == 7
    for file in files:
        annotations = read_annotations(file)
        assert annotations.has_area.all()
        assert check_annotations(annotations, CHECKS) == []
