"""Fetching over HTTP, against a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import urllib.request
from collections import namedtuple

import pytest
from http_server import serve

from hrpose.download.http import DownloadError, fetch

BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def site():
    with serve() as site:
        yield site


@pytest.fixture
def file(tmp_path):
    return tmp_path / "folder" / "photos.zip"


def leftovers(file):
    return sorted(path.name for path in file.parent.iterdir() if path != file)


def test_a_fresh_download_arrives_whole_and_leaves_nothing_else(site, file):
    site.files["/photos.zip"] = BODY
    steps = []
    fetch(f"{site.url}/photos.zip", file, report=lambda step, done, total: steps.append((step, done, total)))
    assert file.read_bytes() == BODY
    assert leftovers(file) == []
    assert steps[0] == ("download", 0, len(BODY))
    assert steps[-1] == ("download", len(BODY), len(BODY))


def test_a_file_that_is_there_is_not_asked_for(site, file):
    file.parent.mkdir()
    file.write_bytes(BODY)
    fetch(f"{site.url}/photos.zip", file, size=len(BODY))
    assert site.requests == []


def test_a_file_of_another_size_is_fetched_again(site, file):
    site.files["/photos.zip"] = BODY
    file.parent.mkdir()
    file.write_bytes(BODY[:1000])
    fetch(f"{site.url}/photos.zip", file, size=len(BODY))
    assert file.read_bytes() == BODY


@pytest.mark.parametrize(
    "validators",
    [
        {"etag": '"1"'},
        {"etag": None, "last_modified": "Wed, 01 Nov 2017 10:00:00 GMT"},
        {"etag": 'W/"1"', "last_modified": None},
        {"etag": None, "last_modified": None},
    ],
    ids=["etag", "date", "weak-etag", "none"],
)
def test_a_cut_connection_is_resumed_at_the_byte_where_it_broke(site, file, validators):
    for name, value in validators.items():
        setattr(site, name, value)
    site.files["/photos.zip"] = BODY
    site.cut_after = [300_000, 200_000]
    fetch(f"{site.url}/photos.zip", file, backoff=0)
    assert file.read_bytes() == BODY
    assert [wanted for _, wanted in site.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(site, file):
    site.files["/photos.zip"] = BODY
    site.cut_after = [400_000, 0]
    with pytest.raises(DownloadError, match="400,000"):
        fetch(f"{site.url}/photos.zip", file, attempts=1, backoff=0)
    assert not file.exists()
    assert leftovers(file) == ["photos.zip.part", "photos.zip.part.json"]
    fetch(f"{site.url}/photos.zip", file)
    assert file.read_bytes() == BODY
    assert site.requests[-1] == ("/photos.zip", "bytes=400000-")
    assert leftovers(file) == []


def test_a_server_without_ranges_sends_everything_again(site, file):
    site.files["/photos.zip"] = BODY
    site.ranges = False
    site.cut_after = [400_000]
    fetch(f"{site.url}/photos.zip", file, backoff=0)
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("honours_if_range", [True, False])
@pytest.mark.parametrize("length", [len(BODY), len(BODY) - 777], ids=["same-length", "shorter"])
def test_a_file_that_changed_on_the_server_starts_again(site, file, honours_if_range, length):
    site.files["/photos.zip"] = BODY
    site.cut_after = [400_000, 0]
    with pytest.raises(DownloadError):
        fetch(f"{site.url}/photos.zip", file, attempts=1, backoff=0)
    site.honours_if_range = honours_if_range
    site.etag = '"2"'
    site.files["/photos.zip"] = changed = BODY[::-1][:length]
    fetch(f"{site.url}/photos.zip", file, backoff=0)
    assert file.read_bytes() == changed


def test_a_file_that_shrank_below_the_part_starts_again(site, file):
    site.files["/photos.zip"] = BODY
    site.cut_after = [400_000, 0]
    with pytest.raises(DownloadError):
        fetch(f"{site.url}/photos.zip", file, attempts=1, backoff=0)
    site.honours_if_range = False
    site.files["/photos.zip"] = BODY[:1000]
    fetch(f"{site.url}/photos.zip", file, backoff=0)
    assert file.read_bytes() == BODY[:1000]


def test_a_part_that_is_whole_is_only_renamed(site, file):
    site.files["/photos.zip"] = BODY
    fetch(f"{site.url}/photos.zip", file)
    site.cut_after = [1000, 0]
    with pytest.raises(DownloadError):
        fetch(f"{site.url}/photos.zip", file.with_name("b.zip"), attempts=1, backoff=0)
    file.with_name("b.zip.part").write_bytes(BODY)
    site.requests.clear()
    fetch(f"{site.url}/photos.zip", file.with_name("b.zip"))
    assert file.with_name("b.zip").read_bytes() == BODY
    assert site.requests == []


ELSEWHERE = '{"url": "http://elsewhere/a", "etag": null, "last_modified": null, "total": 14}'


@pytest.mark.parametrize("version", ["", "{}", ELSEWHERE])
def test_a_part_of_unknown_origin_is_not_continued(site, file, version):
    site.files["/photos.zip"] = BODY
    file.parent.mkdir()
    file.with_name("photos.zip.part").write_bytes(b"something else")
    file.with_name("photos.zip.part.json").write_text(version)
    fetch(f"{site.url}/photos.zip", file)
    assert file.read_bytes() == BODY
    assert site.requests == [("/photos.zip", None)]


def test_a_busy_server_is_asked_again(site, file):
    site.files["/photos.zip"] = BODY
    site.statuses = [503, 500, 429]
    fetch(f"{site.url}/photos.zip", file, backoff=0)
    assert file.read_bytes() == BODY


def test_a_server_that_stays_busy_ends_in_a_message(site, file):
    site.statuses = [503] * 9
    with pytest.raises(DownloadError, match=r"3.*503"):
        fetch(f"{site.url}/photos.zip", file, attempts=3, backoff=0)
    assert len(site.requests) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_request_is_not_repeated(site, file, status):
    site.statuses = [status]
    with pytest.raises(DownloadError, match=rf"{status}.*/photos.zip"):
        fetch(f"{site.url}/photos.zip", file)
    assert len(site.requests) == 1
    assert not file.exists()


def test_nobody_listening_ends_in_a_message(file):
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:9/"):
        fetch("http://127.0.0.1:9/photos.zip", file, attempts=2, backoff=0, timeout=2)


def test_an_address_that_is_none_is_refused(file):
    with pytest.raises(DownloadError, match=r"'images.org/a.zip'"):
        fetch("images.org/a.zip", file)


def test_a_wrong_length_is_refused_before_the_bytes_are_fetched(site, file):
    site.files["/photos.zip"] = BODY
    with pytest.raises(DownloadError, match=r"5.*1,048,576"):
        fetch(f"{site.url}/photos.zip", file, size=5)
    assert leftovers(file) == []


def test_a_wrong_length_without_content_length_is_found_at_the_end(site, file):
    site.files["/photos.zip"] = BODY
    site.sends_length = False
    with pytest.raises(DownloadError, match=r"5.*1,048,576"):
        fetch(f"{site.url}/photos.zip", file, size=5)
    assert leftovers(file) == []


def test_an_answer_without_length_is_taken_whole(site, file):
    site.files["/photos.zip"] = BODY
    site.sends_length = False
    fetch(f"{site.url}/photos.zip", file)
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_checksum_is_compared(site, file, algorithm):
    site.files["/photos.zip"] = BODY
    good = hashlib.new(algorithm, BODY).hexdigest()
    with pytest.raises(DownloadError, match=rf"{algorithm} {good[::-1]}.*{good}"):
        fetch(f"{site.url}/photos.zip", file, checksum=f"{algorithm}:{good[::-1]}")
    assert not file.exists()
    assert leftovers(file) == []
    fetch(f"{site.url}/photos.zip", file, checksum=f"{algorithm}:{good.upper()}")
    assert file.read_bytes() == BODY


def test_too_small_a_disk_is_noticed_before_the_download(site, file, monkeypatch):
    site.files["/photos.zip"] = BODY
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 0, 10))
    with pytest.raises(DownloadError, match=r"0.0"):
        fetch(f"{site.url}/photos.zip", file)


def test_a_disk_that_fills_up_ends_in_a_message(site, file, monkeypatch):
    site.files["/photos.zip"] = BODY

    def full(request, timeout):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(urllib.request, "urlopen", full)
    with pytest.raises(DownloadError, match=re.escape(f"The disk of {file.parent} is full")):
        fetch(f"{site.url}/photos.zip", file)
