"""`hrpose.write_coco`, and through it the writer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from grey_images import category, instances, write_images

import hrpose
from hrpose.annotations.coco import read_annotations
from hrpose.errors import DataError, MissingDataError

NAMES = ["nose", "left_ear", "right_ear"]
POINTS = np.array([[[10, 20], [30, 40], [50, 25]], [[60, 70], [np.nan, np.nan], [80, 100]], [[5, 6], [7, 8], [9, 10.5]]])
FILES = ["v1/a.png", "v1/a.png", "v2/b.png"]


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, "v1/a.png", "v2/b.png")
    return tmp_path


def write(folder, points=POINTS, *, names=NAMES, bbox_margin=0.25, **options):
    return hrpose.write_coco(FILES, points, names, images=folder, bbox_margin=bbox_margin, split=0, **options)


def test_values_and_visibility_are_kept(folder) -> None:
    write(folder)
    first, second = instances(folder)["v1/a.png"]
    assert first["keypoints"] == [10, 20, 2, 30, 40, 2, 50, 25, 2]
    assert second["keypoints"] == [60, 70, 2, 0, 0, 0, 80, 100, 2]
    assert second["num_keypoints"] == 2


def test_a_margin_is_added_on_each_side_within_the_image(folder) -> None:
    write(folder)
    assert instances(folder)["v1/a.png"][0]["bbox"] == [0, 10, 60, 40]
    assert instances(folder)["v1/a.png"][1]["bbox"] == [52.5, 62.5, 35, 45]


def test_given_boxes_are_kept(folder) -> None:
    write(folder, boxes=[[1, 2, 30, 40]] * 3, bbox_margin=None)
    assert instances(folder)["v2/b.png"][0]["bbox"] == [1, 2, 30, 40]


def test_missing_boxes_need_a_margin(folder) -> None:
    with pytest.raises(DataError, match=r"bbox_margin=0\.25"):
        write(folder, bbox_margin=None)


def test_mirror_pairs_are_found_in_names_given_or_asked_for(folder) -> None:
    write(folder)
    assert category(folder)["flip_pairs"] == [["left_ear", "right_ear"]]
    with pytest.raises(DataError, match=r"flip_pairs=\[\]"):
        write(folder, names=["a", "b", "c"])
    write(folder, names=["a", "b", "c"], flip_pairs=[[0, "c"]])
    assert category(folder)["flip_pairs"] == [["a", "c"]]


def test_edges_sigmas_tracks_and_splits_are_kept(folder) -> None:
    splits = ["train", "train", "val"]
    hrpose.write_coco(
        *(FILES, POINTS, NAMES),
        images=folder,
        bbox_margin=0.1,
        edges=[("nose", "left_ear")],
        sigmas=[0.1, 0.2, 0.3],
        track_ids=[7, 8, 9],
        splits=splits,
        category="mouse",
    )
    assert category(folder) == {
        "id": 1,
        "name": "mouse",
        "keypoints": NAMES,
        "skeleton": [[1, 2]],
        "flip_pairs": [["left_ear", "right_ear"]],
        "sigmas": [0.1, 0.2, 0.3],
    }
    assert [row["track_id"] for row in instances(folder)["v1/a.png"]] == [7, 8]
    assert list(instances(folder, "val")) == ["v2/b.png"]


def test_the_reader_of_fit_reads_what_was_written(folder) -> None:
    conversion = write(folder)
    table = read_annotations(conversion.files["train"]).instances()
    assert len(table) == 3
    assert np.array_equal(table.keypoints[0], POINTS[0])


def test_images_that_are_missing_are_listed_and_left_out(folder) -> None:
    (folder / "v1/a.png").unlink()
    conversion = write(folder)
    assert list(instances(folder)) == ["v2/b.png"]
    assert any("1 of 2 images are missing" in note and "a.png" in note for note in conversion.notes)
    (folder / "v2/b.png").unlink()
    with pytest.raises(MissingDataError, match="images="):
        write(folder)


def test_another_file_is_not_replaced(folder) -> None:
    write(folder)
    write(folder)
    (folder / "train.json").write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match="out="):
        write(folder)
    assert write(folder, out=folder / "coco").files["train"] == folder / "coco" / "train.json"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"points": POINTS[:2]}, "keypoints"),
        ({"points": np.concatenate([POINTS, np.full((3, 3, 1), 3)], axis=2)}, "visibility"),
        ({"boxes": [[1, 2, 3, 4]]}, "boxes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, change, key) -> None:
    with pytest.raises(DataError, match=key):
        write(folder, **change)


def test_known_names_get_their_published_sigmas(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    names = hrpose.COCO.keypoint_names
    hrpose.write_coco(["a.png"], np.full((1, 17, 2), 3.0), names, images=tmp_path, boxes=[[0, 0, 9, 9]])
    assert category(tmp_path)["sigmas"] == list(hrpose.COCO.sigmas)


def test_the_exif_orientation_is_applied(tmp_path) -> None:
    (file,) = write_images(tmp_path, "a.jpg")
    exif = bytes.fromhex("457869660000 4d4d002a00000008 0001 0112 0003 00000001 0006 0000 00000000")
    content = file.read_bytes()
    file.write_bytes(content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:])
    conversion = hrpose.write_coco(["a.jpg"], POINTS[:1], NAMES, images=tmp_path, bbox_margin=0)
    (image,) = json.loads((tmp_path / "train.json").read_text())["images"]
    assert (image["width"], image["height"]) == (120, 160)
    assert conversion.command.endswith("data.upright=true")
