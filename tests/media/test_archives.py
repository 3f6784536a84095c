"""Images in archives equal those of files: pixels, names and errors."""

from __future__ import annotations

import pickle
import sys
import threading
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from archived import WRITE, write_tar, write_zip
from exif_image import jpeg
from tiny_coco import write_image

from hrpose.errors import DataError, MissingDataError
from hrpose.media import archives
from hrpose.media.archives import open_archives, split_archive
from hrpose.media.folders import check_images_exist, is_image_file, is_image_folder, list_folder, list_images, match_files
from hrpose.media.images import STORED, Reading, read_bytes, read_image, read_size
from hrpose.media.load import load_image
from hrpose.media.source import ImageFiles, find_media

NAMES = ["a.jpg", "b/a.jpg", "b/c/d.png", "turned.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES[:3]):
        write_image(tmp_path / "images" / name, number)
    (tmp_path / "images" / "turned.jpg").write_bytes(jpeg(orientation=6))
    return tmp_path / "images"


@pytest.fixture(params=["zip", "tar", "shards"])
def packed(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    """The path or pattern of archives that have the images of the folder."""
    if request.param != "shards":
        return WRITE[request.param](tmp_path / f"images.{request.param}", folder)
    for number, name in enumerate(NAMES):
        write_tar(tmp_path / f"part{number}.tar", folder, [name])
    return tmp_path / "part*.tar"


@pytest.mark.parametrize("reading", [STORED, Reading(upright=True)])
@pytest.mark.parametrize("num_rows", [None, 20])
def test_pixels_equal_those_of_the_files(reading: Reading, num_rows: int | None, packed: Path, folder: Path) -> None:
    for name in NAMES:
        own, other = (read_image(place / name, reading=reading, num_rows=num_rows) for place in (packed, folder))
        np.testing.assert_array_equal(own, other)
        assert read_size(packed / name, upright=reading.upright) == read_size(folder / name, upright=reading.upright)
    np.testing.assert_array_equal(load_image(packed / "b/a.jpg"), load_image(folder / "b/a.jpg"))
    assert read_image(packed / "turned.jpg", reading=Reading(upright=True)).shape == (80, 60, 3)


def test_an_archive_lists_the_names_of_the_folder(packed: Path, folder: Path) -> None:
    assert list_images(packed) == sorted(list_images(folder)) == sorted(NAMES)
    assert list_images(packed / "b") == sorted(list_images(folder / "b"))
    assert list_folder(packed / "b") == list_folder(folder / "b") == {"a.jpg", "c"}
    assert is_image_folder(packed)
    assert [is_image_file(packed / name) for name in ("a.jpg", "b/a.jpg", "c.jpg", "b")] == [True, True, False, False]
    check_images_exist(["c/d.png"], packed / "b")
    assert find_media(str(packed)) == ImageFiles(packed, tuple(sorted(NAMES)))


def test_missing_images_are_counted_and_searched_in_the_archive(packed: Path) -> None:
    with pytest.raises(MissingDataError, match=r"2 are missing: x\.jpg, y/z\.jpg"):
        check_images_exist(["a.jpg", "x.jpg", "y/z.jpg"], packed)
    with pytest.raises(MissingDataError, match=f"is {packed}/b the image folder".replace("*", r"\*")):
        check_images_exist(["c/d.png"], packed)
    with pytest.raises(MissingDataError, match=r"x\.jpg"):
        read_bytes(packed / "x.jpg")


def test_names_of_other_systems_are_matched_as_in_a_folder(packed: Path, folder: Path) -> None:
    names = ["a.jpg", "B\\C\\d.png", "TURNED.jpg", "/home/b/a.jpg", "none.jpg"]
    assert match_files(names, packed) == match_files(names, folder)
    assert len(match_files(names, packed)[0]) == 3


def test_an_index_is_read_once_for_all_paths_of_an_archive(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_archives(str(packed))
    monkeypatch.chdir(packed.parent)
    assert open_archives(packed.name) is index
    assert open_archives(f"../{packed.parent.name}/{packed.name}") is index


def test_a_relative_path_is_relative_to_the_working_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "b/a.jpg"):
        (tmp_path / name[0]).mkdir()
        (tmp_path / "x.jpg").write_bytes((folder / name).read_bytes())
        write_zip(tmp_path / name[0] / "x.zip", tmp_path, ["x.jpg"])
    for name in ("a.jpg", "b/a.jpg"):
        monkeypatch.chdir(tmp_path / name[0])
        assert read_bytes("x.zip/x.jpg") == (folder / name).read_bytes()


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    assert not is_image_folder(tmp_path / "no.zip")
    with pytest.raises(MissingDataError, match=r"no\.zip"):
        read_bytes(tmp_path / "no.zip" / "a.jpg")


def test_a_folder_named_like_an_archive_is_read_as_a_folder(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "data.zip")
    assert split_archive(tmp_path / "data.zip" / "a.jpg") is None
    assert read_image(tmp_path / "data.zip" / "a.jpg").shape == (70, 90, 3)
    write_tar(tmp_path / "data.zip" / "x.tar", tmp_path / "data.zip", ["a.jpg"])
    assert read_image(tmp_path / "data.zip" / "x.tar" / "a.jpg").shape == (70, 90, 3)


@pytest.mark.parametrize("same", [True, False])
def test_a_duplicate_name_is_refused_with_its_archives(same: bool, folder: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "one.tar", folder, ["a.jpg", "b/a.jpg", *(["a.jpg"] if same else [])])
    write_tar(tmp_path / "two.tar", folder, ["turned.jpg" if same else "a.jpg"])
    with pytest.raises(DataError, match=r"a\.jpg is twice in .*one" if same else r"a\.jpg is in .*one.*two\.tar"):
        open_archives(str(tmp_path / "*.tar"))


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(MissingDataError, match="none in 1 archive"):
        open_archives(str(write_zip(tmp_path / "x.zip", tmp_path, ["a.txt"])))


def test_a_changed_archive_is_indexed_again_and_not_read_with_the_old_index(folder: Path, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "x.zip", folder, ["a.jpg"])
    old = open_archives(str(file))
    write_zip(file, folder, ["b/a.jpg"])
    with pytest.raises(DataError, match="changed"):
        old.read(0)
    assert open_archives(str(file)).names.tolist() == ["b/a.jpg"]


def test_a_member_whose_header_is_damaged_is_refused(folder: Path, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "x.zip", folder, ["a.jpg"])
    content = bytearray(file.read_bytes())
    content[0:4] = bytes(4)
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_bytes(file / "a.jpg")


def _reads_alike(index: archives.Archives, expected: list[bytes], results: object) -> None:
    results.put([index.read(row) for row in range(len(index.names))] == expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_with_the_index_of_the_parent(method: str, packed: Path, folder: Path) -> None:
    index = open_archives(str(packed))
    expected = [(folder / name).read_bytes() for name in sorted(NAMES)]
    if method == "spawn":  # the same pickle, without another process to start
        archives._opened.clear()
        copy = pickle.loads(pickle.dumps(index))
        assert [copy.read(row) for row in range(4)] == expected
        assert open_archives(str(packed)) is copy
        return
    context = get_context(method)
    results = context.Queue()
    process = context.Process(target=_reads_alike, args=(index, expected, results))
    process.start()
    assert results.get(timeout=60)
    process.join()


def test_many_threads_read_more_archives_than_a_process_keeps_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    most, count = 4, 30
    interval = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    sys.setswitchinterval(1e-5)
    monkeypatch.setattr(archives, "_open", lru_cache(maxsize=most)(archives._open.__wrapped__))
    for number in range(count):
        (tmp_path / f"{number}.jpg").write_bytes(b"%d" % number)
        write_tar(tmp_path / f"{number}.tar", tmp_path, [f"{number}.jpg"])
    index = open_archives(str(tmp_path / "*.tar"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    wrong: list[str] = []

    def read(start: int) -> None:
        for step in range(1000):
            number = (start + 7 * step) % count
            if index.read(index.find(f"{number}.jpg")) != b"%d" % number:
                wrong.append(str(number))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= most
