"""The index of archives in all formats, and errors for damaged ones."""

from __future__ import annotations

import io
import os
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from archived import WRITE, write_tar, write_zip

from hrpose.errors import DataError
from hrpose.media.archives import list_members, open_archives

NAMES = ["a.jpg", "b/c.PNG", "Grüße/ü.jpeg", f"{'long' * 30}/{'name' * 40}.jpg", "d e.webp"]
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate([*NAMES, "labels.json", ".hidden.jpg", "__MACOSX/._a.jpg"]):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(os.urandom(600 * number + 1))
    return tmp_path / "images"


def names_of(file: Path) -> list[str]:
    return sorted(name for name, _, _ in list_members(str(file)))


@pytest.mark.parametrize("form", FORMATS)
def test_names_places_and_lengths_are_read_from_every_tar_format(form: str, folder: Path, tmp_path: Path) -> None:
    wanted = [name for name in NAMES if form != "ustar" or "long" not in name]
    file = write_tar(tmp_path / "x.tar", folder, [*wanted, "labels.json"], format=FORMATS[form])
    content = file.read_bytes()
    found = {name: content[place : place + length] for name, place, length in list_members(str(file))}
    assert found == {name: (folder / name).read_bytes() for name in wanted}


def test_ustar_names_include_their_prefix(folder: Path, tmp_path: Path) -> None:
    name = f"{'folder/' * 20}a.jpg"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    assert names_of(write_tar(tmp_path / "x.tar", folder, [name], format=tarfile.USTAR_FORMAT)) == [name]


def test_a_zip_lists_the_images_that_are_not_hidden(folder: Path, tmp_path: Path) -> None:
    assert names_of(write_zip(tmp_path / "x.zip", folder)) == sorted(NAMES)


def test_a_zip_with_a_comment_and_zip64_fields_is_read(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in NAMES:
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write((folder / name).read_bytes())
        archive.comment = b"comment " * 100
    assert [length for _, _, length in list_members(str(file))] == [(folder / name).stat().st_size for name in NAMES]


def test_a_zip64_directory_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.jpg"), b"x")
    content = file.read_bytes()
    end = content.rindex(b"PK\5\6")
    count, length, start = struct.unpack_from("<H2L", content, end + 10)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    file.write_bytes(content[:end] + end64 + locator + last)
    assert names_of(file) == ["a.jpg"]
    assert zipfile.ZipFile(file).namelist() == ["a.jpg"]


def test_compressed_members_are_refused_with_their_number_and_the_commands(folder: Path, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "x.zip", folder, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"5 of 8 members are compressed.*zip -0.*archive=tar"):
        list(list_members(str(file)))


@pytest.mark.parametrize("method", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_with_its_method(method: str, folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", f"w:{method}") as archive:
        archive.add(folder / "a.jpg", "a.jpg")
    with pytest.raises(DataError, match="compressed with"):
        list(list_members(str(tmp_path / "x.tar")))


@pytest.mark.parametrize("name", ["../a.jpg", "b/../../a.jpg", "/etc/a.jpg", "b\\a.jpg", "C:a.jpg"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_outside_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, b"x")
    else:
        with tarfile.open(file, "w") as tarred:
            tarred.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="names below the archive"):
        list(list_members(str(file)))


@pytest.mark.parametrize("form", ["symbolic", "hard", "zip"])
def test_links_among_the_images_are_refused(form: str, tmp_path: Path) -> None:
    file = tmp_path / ("x.zip" if form == "zip" else "x.tar")
    if form == "zip":
        info = zipfile.ZipInfo("a.jpg")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(info, "/etc/passwd")
    else:
        member = tarfile.TarInfo("a.jpg")
        member.type, member.linkname = (tarfile.SYMTYPE if form == "symbolic" else tarfile.LNKTYPE), "/etc/passwd"
        with tarfile.open(file, "w") as tarred:
            tarred.addfile(member)
    with pytest.raises(DataError, match=r"a\.jpg is a"):
        list(list_members(str(file)))


@pytest.mark.parametrize("kind", WRITE)
def test_an_archive_cut_off_anywhere_is_refused(kind: str, folder: Path, tmp_path: Path) -> None:
    content = WRITE[kind](tmp_path / f"whole.{kind}", folder).read_bytes()
    end = len(content) if kind == "zip" else len(content.rstrip(b"\0")) // 512 * 512
    for length in {0, 1, 511, 512, 5000, end - 513, end - 1, *random.Random(0).sample(range(end), 30)}:
        file = tmp_path / f"cut.{kind}"
        file.write_bytes(content[:length])
        with pytest.raises(DataError):
            list(list_members(str(file)))


@pytest.mark.parametrize("kind", WRITE)
def test_a_damaged_archive_raises_no_error_other_than_data_error(kind: str, folder: Path, tmp_path: Path) -> None:
    content = WRITE[kind](tmp_path / f"whole.{kind}", folder, NAMES[:2]).read_bytes()
    drawn = random.Random(0)
    for _ in range(80):
        damaged = bytearray(content)
        for place in drawn.sample(range(len(content)), 20):
            damaged[place] = drawn.randrange(256)
        file = tmp_path / f"damaged.{kind}"
        file.write_bytes(damaged)
        try:
            members = list(list_members(str(file)))
        except DataError:
            continue
        assert all(place >= 0 and place + length <= len(content) for _, place, length in members)


def test_concatenated_tar_files_are_refused(folder: Path, tmp_path: Path) -> None:
    content = write_tar(tmp_path / "x.tar", folder).read_bytes()
    (tmp_path / "x.tar").write_bytes(content + content)
    with pytest.raises(DataError, match="concatenated"):
        list(list_members(str(tmp_path / "x.tar")))


def test_a_member_larger_than_the_archive_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = 2**70
    (tmp_path / "x.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="cut off"):
        open_archives(str(tmp_path / "x.tar"))
