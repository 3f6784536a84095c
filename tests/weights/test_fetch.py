"""Published weight files, downloaded from a local server."""

from __future__ import annotations

import hashlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_server import serve

from hrpose.weights.fetch import fetch_weights, find_weights
from hrpose.weights.published import PUBLISHED

BODY = b"PK\x03\x04" + bytes(range(256)) * 2048  # half a MiB that begins like a file of torch
NAME = f"pose_net-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"


@pytest.fixture
def site(monkeypatch, tmp_path):
    """Provide a server with a published file, and an empty cache."""
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path / "cache"))
    with serve() as site:
        site.files[f"/{NAME}"] = BODY
        monkeypatch.setitem(PUBLISHED, NAME, f"{site.url}/{NAME}")
        yield site


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "weights"


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize("spelling", [NAME, "pose_net", "url"])
def test_a_published_file_is_fetched_once_and_then_found(spelling, site, cache, caplog):
    wanted = f"{site.url}/{NAME}" if spelling == "url" else spelling
    with caplog.at_level(logging.INFO):
        file = fetch_weights(wanted)
    assert (file, file.read_bytes()) == (cache / NAME, BODY)
    assert f"{site.url}/{NAME} to {file}" in caplog.text
    assert fetch_weights(NAME) == file
    assert len(site.requests) == 1
    assert files_in(cache) == [NAME]


def test_the_folder_of_the_cache_can_be_set(site, tmp_path):
    assert fetch_weights(NAME, cache_dir=tmp_path / "mine") == tmp_path / "mine" / "weights" / NAME


def test_an_interrupted_download_is_resumed(site):
    site.cut_after = [200_000]
    assert fetch_weights(NAME, backoff=0).read_bytes() == BODY
    assert [wanted for _, wanted in site.requests] == [None, "bytes=200000-"]


def test_a_file_with_a_wrong_digest_is_deleted(site, cache):
    site.files[f"/{NAME}"] = BODY[:-1]
    with pytest.raises(FileNotFoundError, match=rf"{NAME[9:17]}.*{cache}"):
        fetch_weights(NAME)
    assert files_in(cache) == []
    site.files[f"/{NAME}"] = BODY
    assert fetch_weights(NAME).read_bytes() == BODY


def test_a_damaged_file_in_the_cache_is_fetched_again(site, cache):
    fetch_weights(NAME)
    (cache / NAME).write_bytes(BODY[:1000])
    assert fetch_weights(NAME).read_bytes() == BODY


def test_a_web_page_instead_of_a_file_is_deleted(site, cache):
    site.files["/best.pth"] = b"\n<!DOCTYPE html>"
    with pytest.raises(FileNotFoundError, match=r"best.pth"):
        fetch_weights(f"{site.url}/best.pth")
    assert files_in(cache) == []


def test_without_a_network_the_message_describes_the_manual_download(monkeypatch, tmp_path):
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path))
    monkeypatch.setitem(PUBLISHED, NAME, f"http://127.0.0.1:9/{NAME}")
    file = re.escape(str(tmp_path / "weights" / NAME))
    with pytest.raises(FileNotFoundError, match=rf"http://127\.0\.0\.1:9/{NAME}.* {file}"):
        fetch_weights(NAME, attempts=2, backoff=0)
    (tmp_path / "weights" / NAME).write_bytes(BODY)
    assert fetch_weights(NAME).read_bytes() == BODY


def test_a_file_without_url_is_found_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path))
    name = "pose_hrnet_w32_256x192.pth"
    with pytest.raises(FileNotFoundError, match=rf"https://drive.google.com/.*{tmp_path}/weights/{name}"):
        fetch_weights(name)
    (tmp_path / "weights" / name).write_bytes(BODY)
    assert fetch_weights(name) == fetch_weights("pose_hrnet_w32_256x192") == tmp_path / "weights" / name


def test_files_of_one_name_at_two_urls_are_two_files(site):
    site.files |= {"/a/best.pth": BODY, "/b/best.pth?download=1": BODY[::-1]}
    assert fetch_weights(f"{site.url}/a/best.pth").read_bytes() == BODY
    assert fetch_weights(f"{site.url}/b/best.pth?download=1").read_bytes() == BODY[::-1]


def test_processes_that_start_together_fetch_it_once(site):
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(lambda _: fetch_weights(NAME), range(4)))
    assert len(files) == 1
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hrnet_w23", r"'hrnet_w23'.*hrnet_w32"),
        ("nowhere", r"but got 'nowhere'.$"),
        ("https://example.org/", r"https://example.org/"),
    ],
)
def test_an_unknown_name_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        fetch_weights(text)


def test_an_existing_file_has_precedence_over_a_published_name(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_weights(NAME) == tmp_path / "cache" / "weights" / NAME
    (tmp_path / NAME).write_bytes(b"mine")
    assert find_weights(NAME).read_bytes() == b"mine"
    assert str(find_weights("my/own.pth")) == "my/own.pth"
