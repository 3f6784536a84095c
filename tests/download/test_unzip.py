"""Unpacking zip archives."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
from collections import namedtuple

import pytest

from hrpose.download.http import DownloadError
from hrpose.download.unzip import unpack

FILES = {"val2017/1.jpg": b"one" * 1000, "val2017/2.jpg": b"two", "annotations/a.json": b"[]"}


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / "photos.zip", FILES)


def write_zip(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_arrives_with_its_bytes(archive, tmp_path):
    steps = []
    sizes = unpack(archive, tmp_path / "out", report=lambda step, done, total: steps.append((step, done, total)))
    assert contents(tmp_path / "out") == FILES
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert steps[0] == ("unpack", 0, 3005)
    assert steps[-1] == ("unpack", 3005, 3005)


def test_only_what_is_wanted_is_unpacked(archive, tmp_path):
    sizes = unpack(archive, tmp_path / "out", wanted=lambda name: name.startswith("annotations/"))
    assert contents(tmp_path / "out") == {"annotations/a.json": b"[]"}
    assert sizes == {"annotations/a.json": 2}


def test_a_whole_file_is_kept_and_a_short_one_replaced(archive, tmp_path):
    folder = tmp_path / "out" / "val2017"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"ONE" * 1000)
    (folder / "2.jpg").write_bytes(b"t")
    steps = []
    unpack(archive, tmp_path / "out", report=lambda step, done, total: steps.append(done))
    assert (folder / "1.jpg").read_bytes() == b"ONE" * 1000
    assert (folder / "2.jpg").read_bytes() == b"two"
    assert steps == [3000, 3003, 3005]


@pytest.mark.parametrize(
    "name",
    ["../out.jpg", "val2017/../../out.jpg", "/etc/out.jpg", "C:/out.jpg", "C:out.jpg", "\\\\host\\share\\out.jpg", "..\\out.jpg"],
)
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, name):
    archive = write_zip(tmp_path / "bad.zip", FILES | {name: b"evil"})
    with pytest.raises(DownloadError, match="outside the target folder"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.jpg").exists()


def test_two_dots_inside_a_name_are_fine(tmp_path):
    archive = write_zip(tmp_path / "fine.zip", {"val2017/a..b.jpg": b"1", "./c.jpg": b"2"})
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"val2017/a..b.jpg": b"1", "c.jpg": b"2"}


def test_a_link_is_refused(tmp_path):
    archive = tmp_path / "link.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("val2017/link.jpg")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match=r"'val2017/link.jpg'"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 100, -30], ids=["empty", "head", "tail-missing"])
def test_a_truncated_archive_is_named(archive, tmp_path, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DownloadError, match=r"photos.zip"):
        unpack(archive, tmp_path / "out")


def test_damaged_bytes_are_found_by_their_crc_and_leave_no_file(tmp_path):
    archive = tmp_path / "stored.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("val2017/1.jpg", b"x" * 100)
    archive.write_bytes(archive.read_bytes().replace(b"x" * 100, b"x" * 99 + b"y"))
    with pytest.raises(DownloadError, match=r"Bad CRC-32 for file 'val2017/1.jpg'"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_too_small_a_disk_is_noticed_before_the_first_byte(archive, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 0, 10))
    with pytest.raises(DownloadError, match=r"photos.zip"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_a_disk_that_fills_up_ends_in_a_message(archive, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "open", full)
    with pytest.raises(DownloadError, match="disk"):
        unpack(archive, tmp_path / "out")
