"""The list of published weight files, and its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hrpose
from hrpose.cli import parse
from hrpose.weights.published import PUBLISHED, cached_file, digest_of, find_published, shorten

PAGE = Path(__file__).parents[2] / "docs" / "weights.md"


@pytest.mark.parametrize(
    ("name", "short", "digest"),
    [
        ("hrnet_w32-36af842e.pth", "hrnet_w32", "36af842e"),
        ("hrnet_w32_coco_256x192-c78dce93_20200708.pth", "hrnet_w32_coco_256x192", "c78dce93"),
        ("td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth", "td-hm_hrnet-w32_8xb64-210e_coco-256x192", "81c58e40"),
        ("pose_hrnet_w32_256x192.pth", "pose_hrnet_w32_256x192", None),
    ],
)
def test_a_file_is_found_by_its_name_with_and_without_digest(name, short, digest):
    assert (shorten(name), digest_of(name)) == (short, digest)
    assert find_published(name) == find_published(short) == name


def test_short_names_are_unique():
    assert len({shorten(name) for name in PUBLISHED}) == len(PUBLISHED)


def test_files_with_a_url_have_a_digest_and_are_found_by_the_url():
    direct = {name: url for name, url in PUBLISHED.items() if url}
    assert len(direct) > 30
    for name, url in direct.items():
        assert url.startswith("https://")
        assert len(digest_of(name)) == 8
        assert find_published(url) == name


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("HRPOSE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cached_file("a.pth") == tmp_path / ".cache/hrpose/weights/a.pth"
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path / "mine"))
    assert cached_file("a.pth") == tmp_path / "mine/weights/a.pth"


def test_the_page_lists_every_file_and_no_other():
    page = PAGE.read_text()
    rows = dict(re.findall(r"^\| (?:\[)?`([^`]+\.pth)`(?:\]\((\S+)\))? \|", page, re.MULTILINE))
    assert set(rows) == set(PUBLISHED)
    assert {name: PUBLISHED[name] or "" for name in rows} == rows


def test_the_page_names_existing_experiments():
    names = re.findall(r"`((?:w32|w48|res\d+|hourglass_\d)_\d+x\d+\w*)`", PAGE.read_text())
    there = {file.stem for file in (hrpose.conf_dir() / "experiment").glob("*.yaml")}
    assert len(names) > 9
    assert set(names) - there == set()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=pytest.mark.slow if row % 4 else ())
        for row, words in enumerate(sorted(set(re.findall(r"`(\+experiment=[^`]+)`", PAGE.read_text()))))
    ],
)
def test_the_overrides_of_the_page_compose(words):
    hrpose.compose("test", parse("test", words.split()).overrides)
