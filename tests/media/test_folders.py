"""Missing images are counted and named, nothing leads out of a folder, and names of other systems match one file or none."""

import unicodedata
from pathlib import Path

import pytest
from tiny_coco import write_image

from hrpose.errors import DataError, MissingDataError
from hrpose.media.folders import ABSOLUTE, BACKSLASHES, CASE, ELSEWHERE, ESCAPED, UNICODE, check_images_exist, match_files

COMPOSED = unicodedata.normalize("NFC", "caf\u00e9.jpg")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_all_missing_images_are_counted_and_three_named(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "b" / "there.jpg")
    names = ["b/there.jpg", "b/1.jpg", "a/2.jpg", "3.jpg", "4.jpg"]
    with pytest.raises(MissingDataError, match=r"5 images.*4.*a/2\.jpg.*3\.jpg"):
        check_images_exist(names, tmp_path / "photos")
    check_images_exist(names[:1], tmp_path / "photos")


def test_an_image_folder_one_level_off_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "train" / "1.jpg")
    with pytest.raises(MissingDataError, match=rf"train/1\.jpg.*{tmp_path}/photos\b"):
        check_images_exist(["train/1.jpg"], tmp_path / "photos" / "train")
    with pytest.raises(MissingDataError, match=rf"1\.jpg.*{tmp_path}/photos/train\b"):
        check_images_exist(["1.jpg"], tmp_path / "photos")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"image folder .*nowhere"):
        check_images_exist(["a.jpg"], tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["/a.jpg", "../a.jpg", "b/../../a.jpg", "b\\a.jpg", "", "C:/a.jpg", "a\0.jpg"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="below the image folder"):
        check_images_exist([name], tmp_path)


def test_the_folder_may_be_a_link_but_links_in_it_must_not_lead_out(tmp_path: Path) -> None:
    write_image(tmp_path / "store" / "a.jpg")
    secret = write_image(tmp_path / "secret.jpg")
    (tmp_path / "photos").symlink_to(tmp_path / "store")
    check_images_exist(["a.jpg"], tmp_path / "photos")
    (tmp_path / "store" / "out.jpg").symlink_to(secret)
    (tmp_path / "store" / "in.jpg").symlink_to("a.jpg")
    check_images_exist(["in.jpg"], tmp_path / "photos")
    with pytest.raises(DataError, match=r"out\.jpg.*secret\.jpg"):
        check_images_exist(["out.jpg"], tmp_path / "photos")
    (tmp_path / "store" / "sub").symlink_to(tmp_path)
    with pytest.raises(DataError, match="symbolic link"):
        check_images_exist(["sub/secret.jpg"], tmp_path / "photos")


def test_images_without_the_folder_of_their_names_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "1.jpg")
    with pytest.raises(MissingDataError, match=r"1\.jpg is there without 'images/'.*photos/images"):
        check_images_exist(["images/1.jpg"], tmp_path / "photos")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "Sub/B.jpg", DECOMPOSED, "twice.jpg", "Twice.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")
    (tmp_path / "secret.jpg").write_bytes(b"x")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("name", "match", "kind"),
    [
        ("A.JPG", "a.jpg", CASE),
        ("sub/b.JPG", "Sub/B.jpg", CASE),
        ("Sub\\B.jpg", "Sub/B.jpg", BACKSLASHES),
        (COMPOSED, DECOMPOSED, UNICODE),
        (COMPOSED.upper(), DECOMPOSED, CASE),
        ("{folder}/Sub/B.jpg", "Sub/B.jpg", ABSOLUTE),
        ("/home/me/Sub/B.jpg", "Sub/B.jpg", ELSEWHERE),
        (r"C:\data\Sub\B.jpg", "Sub/B.jpg", ELSEWHERE),
        ("Sub%2FB.jpg", "Sub/B.jpg", ESCAPED),
    ],
)
def test_a_name_matches_one_file(name: str, match: str, kind: str, folder: Path) -> None:
    name = name.replace("{folder}", str(folder))
    assert match_files(["a.jpg" if match != "a.jpg" else "Twice.jpg", name], folder) == ({1: match}, {kind: [1]})


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "none.jpg",
        "TWICE.jpg",
        "../secret.jpg",
        "..\\secret.jpg",
        "Sub/../../SECRET.jpg",
        "/etc/passwd",
        "/etc/../secret.jpg",
        "..%2Fsecret.jpg",
        "",
        "a.jpg/b",
        "\0",
    ],
)
def test_other_names_match_nothing(name: str, folder: Path) -> None:
    assert match_files([name], folder) == ({}, {})


def test_two_names_for_one_file_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"'a\.jpg' and 'A\.JPG'"):
        match_files(["a.jpg", "A.JPG"], folder)
    assert match_files(["A.JPG", "A.JPG"], folder)[0] == {0: "a.jpg", 1: "a.jpg"}


def test_two_absolute_paths_that_end_with_one_file_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"/x/one/a\.jpg.*/x/two/a\.jpg"):
        match_files(["/x/one/a.jpg", "/x/two/a.jpg"], folder)
