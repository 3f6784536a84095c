"""Names written on another system are matched to the files that they stand for, and to nothing else."""

import unicodedata
from pathlib import Path

import pytest

from hrpose.errors import DataError
from hrpose.media.file_names import ABSOLUTE, BACKSLASHES, CASE, ELSEWHERE, ESCAPED, UNICODE, match_files

COMPOSED = unicodedata.normalize("NFC", "caf\u00e9.jpg")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


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


def test_path_ends_that_match_one_file_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"/x/one/a\.jpg.*/x/two/a\.jpg"):
        match_files(["/x/one/a.jpg", "/x/two/a.jpg"], folder)
