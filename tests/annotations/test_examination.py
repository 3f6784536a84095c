"""The checks of `hrpose doctor`: each fault is found, valid data gives no finding, and the page lists every check."""

from __future__ import annotations

import copy
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from archived import WRITE
from examined import Content, examine, people, points_of, severities, write_images

from hrpose.annotations import image_contents
from hrpose.annotations.checks import (
    BOX_CHECKS,
    CHECKS,
    KEYPOINT_CHECKS,
    REFUSED_ROW_CHECKS,
    ROW_CHECKS,
    SHAPE_CHECKS,
    SKELETON_CHECKS,
    SPLIT_CHECKS,
    Finding,
)
from hrpose.annotations.image_contents import CONTENT_CHECKS, FOLDER_CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
NAMED = {  # findings that are not entries of a table
    **dict.fromkeys(("file-refused", "file-names-refused", "nothing-to-use", "keypoints-unlike"), "error"),
    **{"skeleton-refused": "error", "image-contents-in-validation": "warning", "assumed-on-reading": "note"},
    **{"exif-orientation": "warning", "bit-depth": "warning"},
}
TABLES = {
    check.name: check.severity
    for table in (
        *(ROW_CHECKS, REFUSED_ROW_CHECKS, CHECKS, KEYPOINT_CHECKS, BOX_CHECKS, SHAPE_CHECKS, SKELETON_CHECKS, SPLIT_CHECKS),
        *(FOLDER_CHECKS, CONTENT_CHECKS),
    )
    for check in table
}


def each(change: Callable[[Content], None], every: int = 1) -> Callable[[Content], None]:
    """Change every n-th annotation."""

    def spoil(content: Content) -> None:
        for row in content["annotations"][::every]:
            change(row)

    return spoil


def moved(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Content], None]:
    """Change x, y and visibility (K, 3) of an annotation."""

    def change(row: Content) -> None:
        row["keypoints"] = function(points_of(row)).ravel().tolist()

    return change


def exchanged(*pairs: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    def exchange(points: np.ndarray) -> np.ndarray:
        order = np.arange(17)
        for one, other in pairs:
            order[[one, other]] = other, one
        return points[order]

    return exchange


def unlabelled(*places: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda points: np.where(np.isin(np.arange(len(points)), places)[:, None], 0, points)


def edited(section: str, **values: object) -> Callable[[Content], None]:
    """Set keys of the first entry of a section."""
    return lambda content: content[section][0].update(values)


def appended(section: str, **values: object) -> Callable[[Content], None]:
    """Append a copy of the first entry of a section, with other values."""
    return lambda content: content[section].append({**copy.deepcopy(content[section][0]), **values})


def without(row: Content, *names: str) -> None:
    for name in names:
        del row[name]


def set_box(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Content], None]:
    return lambda row: row.update(bbox=function(np.array(row["bbox"], float)).tolist())


def tight(row: Content) -> None:
    points = points_of(row)
    known = points[points[:, 2] > 0, :2]
    row["bbox"] = [*known.min(axis=0).tolist(), *np.ptp(known, axis=0).tolist()]


def named(names: list[str], **values: object) -> Callable[[Content], None]:
    return lambda content: content["categories"][0].update(keypoints=names, **values)


ALL_PAIRS = [(k, k + 1) for k in range(1, 17, 2)]
LEFTS = [f"part {k}" for k in range(8)] + [f"piece {k}" for k in range(9)]
FAULTS: dict[str, Callable[[Content], None]] = {
    "annotation-ids-repeated": appended("annotations"),
    "image-ids-repeated": appended("images", file_name="other.png"),
    "category-ids-repeated": appended("categories", name="other"),
    "annotations-without-image": edited("annotations", image_id=99),
    "annotations-without-category": edited("annotations", category_id=99),
    "file-names-repeated": appended("images", id=99),
    "annotations-repeated": appended("annotations", id=99),
    "images-without-annotations": appended("images", id=99, file_name="other.png"),
    "places-without-label": each(moved(lambda points: points * [1, 1, 0] + [0, 0, 1] * (np.arange(17) > 3)[:, None])),
    "other-categories": lambda content: (
        appended("categories", id=2, name="other")(content),
        appended("annotations", id=99, category_id=2)(content),
    ),
    "area": each(lambda row: row.pop("area")),
    "num-keypoints-zero": each(lambda row: row.update(num_keypoints=0)),
    "num-keypoints-without-labels": each(moved(lambda points: points * 0), 5),
    "num-keypoints-unequal": each(lambda row: row.update(num_keypoints=1)),
    "visibility-never-2": each(moved(lambda points: np.minimum(points, [1e9, 1e9, 1]))),
    "keypoints-at-origin": each(moved(lambda points: points * [0, 0, 1] * (np.arange(17) < 2)[:, None]), 6),
    "keypoints-normalised": each(moved(lambda points: points / [200, 300, 1])),
    "boxes-normalised": each(set_box(lambda box: box / [200, 300, 200, 300])),
    "boxes-of-corners": each(set_box(lambda box: np.concatenate([box[:2], box[:2] + box[2:]]))),
    "boxes-of-centers": each(set_box(lambda box: np.concatenate([box[:2] + box[2:] / 2, box[2:]]))),
    "keypoints-outside-box": each(moved(lambda points: points + [90, 60, 0] * (points[:, 2:] > 0))),
    "keypoints-outside-image": each(moved(lambda points: points + [300, 60, 0] * (points[:, 2:] > 0))),
    "keypoints-axes-swapped": each(moved(lambda points: points[:, [1, 0, 2]])),
    "image-axes-swapped": lambda content: [image.update(width=300, height=200) for image in content["images"]],
    "sides-swapped-in-a-pair": each(moved(exchanged((11, 12)))),
    "sides-swapped-in-a-face": each(moved(exchanged(*ALL_PAIRS)), 5),
    "sides-unlike-most": each(moved(exchanged(*ALL_PAIRS)), 20),
    "keypoints-never-labelled": each(moved(unlabelled(9))),
    "keypoints-rarely-labelled": lambda content: [moved(unlabelled(9))(row) for row in content["annotations"][3:]],
    "keypoints-always-occluded": each(moved(lambda points: np.where(np.arange(51).reshape(17, 3) == 29, 1, points))),
    "keypoints-coincide": each(moved(lambda points: points[[*range(10), 9, *range(11, 17)]])),
    "keypoints-copied": lambda content: [
        row.update(keypoints=content["annotations"][0]["keypoints"]) for row in content["annotations"][4:6]
    ],
    "keypoints-in-one-place": each(moved(lambda points: points * [0, 0, 1] + [50, 60, 0] * (points[:, 2:] > 0)), 7),
    "annotations-without-keypoints": each(moved(lambda points: points * 0), 5),
    "crowds": each(lambda row: row.update(iscrowd=1), 5),
    "images-with-many-instances": each(lambda row: row.update(image_id=0)),
    "few-instances": lambda content: None,
    "boxes-without-size": each(set_box(lambda box: box * [1, 1, 0, 1]), 5),
    "boxes-outside-image": each(set_box(lambda box: box + np.array([300, 0, 0, 0])), 5),
    "boxes-beyond-image": each(set_box(lambda box: box + np.array([0, 150, 0, 0]))),
    "boxes-of-the-whole-image": each(set_box(lambda box: np.array([0, 0, 200, 300]))),
    "boxes-loose": each(
        lambda row: (
            moved(lambda points: points * [0.1, 0.1, 1] + [100, 150, 0] * (points[:, 2:] > 0))(row)
            or row.update(bbox=[10, 10, 180, 280])
        )
    ),
    "boxes-tight": each(tight),
    "boxes-tiny": each(lambda row: moved(lambda points: points / [20, 20, 1])(row) or set_box(lambda box: box / 20)(row)),
    "boxes-shared": lambda content: content["annotations"][1].update(bbox=content["annotations"][0]["bbox"]),
    "areas-constant": each(lambda row: row.update(area=6000.0)),
    "areas-above-box": each(lambda row: row.update(area=1e5)),
    "areas-of-boxes": each(lambda row: row.update(area=row["bbox"][2] * row["bbox"][3])),
    "crops-wasted": each(set_box(lambda box: np.array([0, 0, 190, 40]))),
    "names-missing": lambda content: content["categories"][0].pop("keypoints"),
    "names-numbered": named([str(k) for k in range(17)]),
    "sigmas-length": edited("categories", sigmas=[0.05] * 3),
    "sigmas-not-positive": edited("categories", sigmas=[0.05] * 16 + [0]),
    "sigmas-of-another-scale": edited("categories", sigmas=[0.6] * 17),
    "sigmas-by-default": named([*(f"thing {k}" for k in range(17))]),
    "mirror-pairs-missing": named([*(f"thing {k}" for k in range(17))]),
    "mirror-pairs-incomplete": lambda content: content["categories"][0]["keypoints"].__setitem__(2, "other"),
    "mirror-pairs-unlike-names": edited("categories", flip_pairs=[[k - 1, k] for k in range(1, 17, 2)]),
    "edges-not-drawn": edited("categories", skeleton=[[1, 40]]),
    "visibility-values": each(moved(lambda points: points - [0, 0, 3] * (points[:, 2:] == 1))),
    "boxes-missing": each(lambda row: row.pop("bbox"), 5),
    "keypoints-of-another-length": each(lambda row: row.update(keypoints=row["keypoints"][:48]), 5),
    "file-refused": each(moved(lambda points: points - [0, 0, 5] * (np.arange(17) < 2)[:, None])),
    "nothing-to-use": each(lambda row: row.update(iscrowd=1)),
    "assumed-on-reading": each(lambda row: row.pop("id")),
}
PAIRS: dict[str, Callable[[Content, Content], object]] = {
    "train-images-in-validation": lambda train, val: val["images"][0].update(file_name="0_0.png"),
    "copies-of-training-images": lambda train, val: val["images"][0].update(file_name="0_0_flip.png"),
    "keypoints-never-trained": lambda train, val: each(moved(unlabelled(9)))(train),
    "keypoints-never-validated": lambda train, val: each(moved(unlabelled(9)))(val),
    "keypoints-labelled-unlike": lambda train, val: [moved(unlabelled(9))(row) for row in val["annotations"][4:]],
    "visibility-unlike": lambda train, val: each(moved(lambda points: np.minimum(points, [1e9, 1e9, 1])))(val),
    "box-sizes-unlike": lambda train, val: each(set_box(lambda box: box / 5))(val),
    "keypoints-unlike": lambda train, val: val["categories"][0]["keypoints"].reverse(),
}


def test_valid_data_gives_only_notes(tmp_path: Path) -> None:
    train, val = people(0, num_images=26), people(1, num_images=26)
    for content in (train, val):
        write_images(content, tmp_path / "images")
    assert examine(tmp_path, train, val, images=tmp_path / "images") == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_check(fault: str, tmp_path: Path) -> None:
    content = people()
    FAULTS[fault](content)
    finding = examine(tmp_path, content)[fault]
    assert finding.severity == {**TABLES, **NAMED}[fault]
    assert finding.file == str(tmp_path / "train.json")
    if fault in TABLES:
        assert 0 < finding.count <= finding.total
        assert 0 < len(finding.ids) <= 3
        assert "{" not in finding.what + finding.consequence
        assert finding.fix


@pytest.mark.parametrize("fault", PAIRS)
def test_a_fault_between_the_sets_is_found_by_its_check(fault: str, tmp_path: Path) -> None:
    train, val = people(0), people(1)
    PAIRS[fault](train, val)
    (tmp_path / "images").mkdir()
    assert fault in examine(tmp_path, train, val, images=tmp_path / "images")


def _spoil_images(folder: Path) -> None:
    """Damage the images 0_1.png to 0_8.png, each in another way."""
    images = {number: cv2.imread(str(folder / f"0_{number}.png")) for number in range(12)}
    (folder / "0_1.png").unlink()
    (folder / "0_2.png").write_bytes(b"no image")
    content = (folder / "0_3.png").read_bytes()
    (folder / "0_3.png").write_bytes(content[: len(content) * 3 // 4])
    cv2.imwrite(str(folder / "0_4.png"), images[4].transpose(1, 0, 2))
    cv2.imwrite(str(folder / "0_5.png"), images[5][:-20])
    cv2.imwrite(str(folder / "0_6.png"), images[0])
    cv2.imwrite(str(folder / "0_7.png"), np.full((300, 200, 3), 70, np.uint8))
    cv2.imwrite(str(folder / "0_8.png"), images[8][:, :, 0])
    cv2.imwrite(str(folder / "0_9.png"), np.dstack([images[9], images[9][:, :, 0]]))
    cv2.imwrite(str(folder / "0_10.png"), images[10].astype(np.uint16) * 16)
    cv2.imwrite(str(folder / "other.png"), images[11])
    (folder / "0_11.png").unlink()
    cv2.imwrite(str(folder.parent / "outside.png"), images[11])
    (folder / "0_11.png").symlink_to("../outside.png")


def test_each_faulty_image_is_found_by_its_check(tmp_path: Path) -> None:
    content = people()
    folder = write_images(content, tmp_path / "images")
    _spoil_images(folder)
    found = examine(tmp_path, content, images=folder)
    names = {name: found[name].ids for name in (*TABLES, "bit-depth") if name in found and found[name].file == str(folder)}
    assert names == {
        "images-missing": ("0_1.png",),
        "files-without-entry": ("other.png",),
        "images-outside-folder": ("0_11.png",),
        "images-unreadable": ("0_2.png",),
        "images-truncated": ("0_3.png",),
        "image-sizes-swapped": ("0_4.png",),
        "image-sizes-unequal": ("0_5.png",),
        "images-identical": ("0_6.png",),
        "images-of-one-colour": ("0_7.png",),
        "images-grey": ("0_8.png",),
        "images-with-alpha": ("0_9.png",),
        "bit-depth": ("0_10.png",),
    }
    assert "200 x 280 and not 200 x 300" in found["image-sizes-unequal"].what


def test_cmyk_and_rotated_jpegs_are_found(tmp_path: Path) -> None:
    from PIL import Image

    content = people()
    folder = write_images(content, tmp_path / "images")
    for number, mode in ((3, "CMYK"), (4, "RGB")):
        name = f"0_{number}.jpg"
        content["images"][number]["file_name"] = name
        exif = Image.Exif()
        exif[0x0112] = 3 if mode == "RGB" else 1
        Image.open(folder / f"0_{number}.png").convert(mode).save(folder / name, exif=exif)
    found = examine(tmp_path, content, images=folder)
    assert found["images-cmyk"].ids == ("0_3.jpg",)
    assert found["exif-orientation"].ids == ("0_4.jpg",)


def test_a_copy_of_a_training_image_is_found_by_its_pixels(tmp_path: Path) -> None:
    train, val = people(0), people(1)
    for content in (train, val):
        folder = write_images(content, tmp_path / "images")
    cv2.imwrite(str(folder / "1_3.png"), cv2.imread(str(folder / "0_5.png")), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    finding = examine(tmp_path, train, val, images=folder)["image-contents-in-validation"]
    assert (finding.count, finding.total, finding.ids) == (1, 15, ("1_3.png",))


@pytest.mark.parametrize(
    ("train", "val", "is_copy"),
    [
        ("a_jpg.rf.0123456789abcdef0123.jpg", "a_jpg.rf.fedcba98765432100123.jpg", True),
        ("a.jpg", "a_flip.jpg", True),
        ("a_aug2.jpg", "a.jpg", True),
        ("a.jpg", "a (1).jpg", True),
        ("a - copy.jpg", "a.jpg", True),
        ("a (1).jpg", "a (2).jpg", False),
        ("a_1.jpg", "a_2.jpg", False),
        ("a.jpg", "b_flip.jpg", False),
    ],
)
def test_a_copy_is_found_by_its_name(train: str, val: str, is_copy: bool, tmp_path: Path) -> None:
    contents = people(0), people(1)
    for content, name in zip(contents, (train, val), strict=True):
        content["images"][0]["file_name"] = name
    assert ("copies-of-training-images" in examine(tmp_path, *contents)) is is_copy


def test_hostile_names_are_shown_without_control_characters(tmp_path: Path) -> None:
    content = people()
    content["images"].append({"id": 99, "file_name": "\x1b[2J" + "long" * 1000 + ".png", "width": 9, "height": 9})
    (tmp_path / "images").mkdir()
    finding = examine(tmp_path, content, images=write_images({"images": content["images"][:-1]}, tmp_path / "images"))
    (name,) = finding["images-missing"].ids
    assert str(name).isprintable()
    assert len(str(name)) < 300


def test_shared_images_are_not_reported_without_image_folders(tmp_path: Path) -> None:
    assert "train-images-in-validation" not in examine(tmp_path, people(0), people(0))


def test_a_repeated_image_entry_is_a_note(tmp_path: Path) -> None:
    content = people(num_images=26)
    appended("images")(content)
    assert set(examine(tmp_path, content)) == {"assumed-on-reading"}


def test_images_of_linked_folders_and_of_rare_formats_are_not_missing(tmp_path: Path) -> None:
    content = people()
    folder = write_images(content, tmp_path / "images")
    (folder / "real").mkdir()
    (folder / "linked").symlink_to("real", target_is_directory=True)
    for number, name in ((0, "linked/0.png"), (1, "1.pnm")):
        image = cv2.imread(str(folder / content["images"][number]["file_name"]))
        (folder / content["images"][number]["file_name"]).unlink()
        content["images"][number]["file_name"] = name
        cv2.imwrite(str(folder / name), image)
    assert "images-missing" not in examine(tmp_path, content, images=folder)


def test_images_of_both_sets_are_opened_once(tmp_path: Path, monkeypatch) -> None:
    content = people(0)
    folder = write_images(content, tmp_path / "images")
    opened = []
    decode = image_contents.decode_pixels
    monkeypatch.setattr(image_contents, "decode_pixels", lambda content, file: opened.append(file) or decode(content, file))
    found = examine(tmp_path, content, content, images=folder)
    assert len(opened) == len(content["images"])
    assert "train-images-in-validation" in found
    assert "image-contents-in-validation" not in found  # the same files, found by their names


def test_a_file_name_that_leaves_the_folder_is_refused_and_the_labels_are_checked(tmp_path: Path) -> None:
    content = people()
    content["images"][0]["file_name"] = "/elsewhere/0.png"
    FAULTS["areas-constant"](content)
    found = examine(tmp_path, content, images=write_images({**content, "images": content["images"][1:]}, tmp_path / "images"))
    assert found["file-names-refused"].severity == "error"
    assert "areas-constant" in found
    assert not set(found) & {check.name for check in (*FOLDER_CHECKS, *CONTENT_CHECKS)}  # no image is opened


def test_persons_viewed_from_behind_are_not_swapped_sides(tmp_path: Path) -> None:
    content = people(3, num_images=30)
    for row in content["annotations"]:  # all are viewed from behind, so left and right are swapped in the image
        points = points_of(row)
        points[:5] = 0
        points[5:, 0] = np.where(points[5:, 2] > 0, 2 * row["bbox"][0] + row["bbox"][2] - points[5:, 0], 0)
        row["keypoints"] = points.ravel().tolist()
    assert not {"sides-swapped-in-a-pair", "sides-swapped-in-a-face"} & set(examine(tmp_path, content))


def test_swapped_ears_of_an_animal_from_above_are_found_at_any_rotation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["nose", "left_ear", "right_ear", "tail"]
    body = np.array([[0, -30], [-12, -18], [12, -18], [0, 40]])
    content = people(0, num_images=20)
    content["categories"][0] |= {"keypoints": names, "skeleton": []}
    for row in content["annotations"]:
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (body[[0, 2, 1, 3]] if row["id"] in (5, 6) else body) @ turn.T + [100, 150] + rng.normal(0, 1, (4, 2))
        row.update(keypoints=np.column_stack([points, [2] * 4]).ravel().tolist(), bbox=[50, 100, 100, 100], num_keypoints=4)
    finding = examine(tmp_path, content)["sides-unlike-most"]
    assert (finding.count, finding.total, finding.ids) == (2, 40, (5, 6))


def test_every_check_is_tested_with_a_fault() -> None:
    of_images = {check.name for check in (*FOLDER_CHECKS, *CONTENT_CHECKS)}
    others = {"image-contents-in-validation", "file-names-refused", "skeleton-refused", "exif-orientation", "bit-depth"}
    assert set(TABLES) | set(NAMED) == set(FAULTS) | set(PAIRS) | of_images | others


def test_the_page_lists_every_check_with_its_severity() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (error|warning|note) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert dict(rows) == {**TABLES, **NAMED}


@pytest.mark.data
def test_real_labels_give_no_warning(shared_data: Path, tmp_path: Path) -> None:
    for archive in ("coco_real.tar", "lspet/part_a.tar"):
        with tarfile.open(shared_data / archive) as tar:
            tar.extractall(tmp_path, [member for member in tar if member.name.endswith(".json")], filter="data")
    sets = [
        [json.loads(file.read_text()) for file in sorted((tmp_path / "coco_real" / "annotations").glob("*.json"))],
        [json.loads((tmp_path / "part_a" / f"{name}.json").read_text()) for name in ("train", "val")],
        [json.loads((shared_data / "coco_eval_100" / "person_keypoints_val2014_100_rebuilt.json").read_text())],
        [json.loads((shared_data / "mmpose_samples" / "coco" / "test_coco.json").read_text())],
    ]
    for contents in sets:
        findings: list[Finding] = list(examine(tmp_path, *contents).values())
        assert severities(findings) <= {"note"}, [str(finding) for finding in findings]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_images_of_archives_are_examined_like_those_of_a_folder(kind: str, tmp_path: Path) -> None:
    train, val = people(0), people(1)
    folder = write_images(train, tmp_path / "images")
    write_images(val, folder)
    names = [image["file_name"] for image in train["images"]]
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-60])
    (folder / names[2]).write_bytes(b"no image")
    (folder / names[4]).write_bytes((folder / names[3]).read_bytes())
    cv2.imwrite(str(folder / names[5]), np.zeros((200, 300, 3), np.uint8))
    (folder / val["images"][0]["file_name"]).write_bytes((folder / names[6]).read_bytes())
    cv2.imwrite(str(folder / "unknown.png"), np.zeros((9, 9, 3), np.uint8))
    train["images"][7]["file_name"] = names[7].upper()
    archive = WRITE[kind](tmp_path / f"x.{kind}", folder)
    expected = examine(tmp_path, train, val, images=folder)
    found = examine(tmp_path, train, val, images=archive)
    assert {"images-missing", "images-truncated", "images-unreadable", "images-identical", "image-sizes-swapped"} <= set(expected)
    assert {"files-without-entry", "image-contents-in-validation", "assumed-on-reading"} <= set(expected)
    assert {name: (one.count, one.ids) for name, one in found.items()} == {
        name: (one.count, one.ids) for name, one in expected.items()
    }
