"""Sizes that a file does not state, and names of existing files, come from the image folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_coco import content, write_dataset, write_json

from hrpose.annotations.coco import forget_annotations, read_annotations
from hrpose.annotations.images import complete_images
from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataError, DataWarning, MissingDataError


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


def test_complete_annotations_stay_the_same(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    annotations = read_annotations(folder / "persons.json")
    assert complete_images(annotations, folder / "photos") is annotations


def test_sizes_are_read_from_the_files_and_counted(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    cv2.imwrite(str(folder / "photos" / "photo 2.jpg"), np.zeros((80, 100, 3), np.uint8))
    document = content()
    for row in document["images"][1:]:
        del row["width"], row["height"]
    file = write_json(folder / "b.json", document)
    with pytest.warns(DataWarning, match=r"3 of 4 images.*`width`"):
        table = InstanceFiles(bbox_rules="mmpose").annotated(file, folder / "photos", "train")
    assert table.image_sizes.tolist() == [[90, 70], [100, 80], [90, 70], [90, 70]]
    (folder / "photos" / "photo 3.jpg").unlink()
    with pytest.raises(MissingDataError, match="photo 3"):
        InstanceFiles().annotated(file, folder / "photos", "train")


def test_file_names_are_replaced_by_existing_ones_and_counted(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    document = content()
    names = ["PHOTO 1.JPG", f"{folder / 'photos'}/photo 2.jpg", ".\\photo 3.jpg", "photo 4.jpg"]
    for row, name in zip(document["images"], names, strict=True):
        row["file_name"] = name
    file = write_json(folder / "b.json", document)
    with pytest.warns(DataWarning, match=r"1 of 4 file names.*backslashes.*1 of 4.*absolute.*1 of 4.*case.*'PHOTO 1.JPG'"):
        table = InstanceFiles().annotated(file, folder / "photos", "train")
    assert table.file_names.tolist() == ["photo 1.jpg", "photo 2.jpg", "./photo 3.jpg", "photo 4.jpg"]


@pytest.mark.parametrize("name", ["/etc/passwd", "C:/photos/1.jpg", "a\\nowhere.jpg", "../b.jpg", "a/../../b.jpg", "..\\b.jpg"])
def test_names_outside_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    document = content()
    document["images"][0]["file_name"] = name
    file = write_json(folder / "b.json", document)
    with pytest.raises(DataError, match=r"`file_name`.*below the image folder"):
        InstanceFiles().annotated(file, folder / "photos", "train")


def test_an_image_without_file_name_is_refused(tmp_path: Path) -> None:
    folder, document = write_dataset(tmp_path), content()
    del document["images"][1]["file_name"]
    with pytest.raises(DataError, match=r"`file_name`.*1 of 4 have none \(ids 2\)"):
        InstanceFiles().annotated(write_json(folder / "b.json", document), folder / "photos", "train")
