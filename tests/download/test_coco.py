"""Getting COCO: the layout that is expected, and the download from a small server of the same shape."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from http_server import serve

from hrpose.download import coco as download
from hrpose.download.coco import COCO_URL, DETECTIONS_FILE, coco_layout, prepare_coco
from hrpose.download.http import DownloadError

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_coco.py"
FILES = {
    "annotations/person_keypoints_train2017.json": b'{"images": []}',
    "annotations/person_keypoints_val2017.json": b'{"images": [1]}',
    "train2017/000000000009.jpg": b"train image" * 1000,
    "train2017/000000000025.jpg": b"another",
    "val2017/000000000139.jpg": b"val image",
}
ZIPS = ["/annotations/annotations_trainval2017.zip", "/zips/val2017.zip", "/zips/train2017.zip"]


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def site():
    """A mirror of COCO with three images; its annotations archive holds files that nobody needs, as the real one does."""
    with serve() as site:
        unneeded = {"annotations/instances_val2017.json": b"[]", "annotations/captions_val2017.json": b"[]"}
        site.files = {
            ZIPS[0]: zipped({name: content for name, content in FILES.items() if name.startswith("annotations")} | unneeded),
            ZIPS[1]: zipped({name: content for name, content in FILES.items() if name.startswith("val2017")}),
            ZIPS[2]: zipped({name: content for name, content in FILES.items() if name.startswith("train2017")}),
            "/detections.json": json.dumps([{"image_id": 139, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}]).encode(),
            "/page.html": b"<!DOCTYPE html><title>Download anyway?</title>",
        }
        yield site


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "downloads"
    }


def test_a_fresh_folder_gets_the_layout_and_nothing_else(site, tmp_path):
    text = prepare_coco(tmp_path, base_url=f"{site.url}/")
    assert contents(tmp_path) == FILES
    assert [path for path, _ in site.requests] == ZIPS
    assert sorted(path.suffix for path in (tmp_path / "downloads").iterdir()) == [".json"] * 3
    assert "2 files train2017/*" in text
    assert "1 files val2017/*" in text
    assert "MISSING  person_detection_results/" in text


def test_a_second_run_fetches_and_writes_nothing(site, tmp_path):
    prepare_coco(tmp_path, base_url=site.url)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    site.requests.clear()
    prepare_coco(tmp_path, base_url=site.url)
    assert site.requests == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == times


def test_a_lost_image_is_brought_back(site, tmp_path):
    prepare_coco(tmp_path, base_url=site.url)
    (tmp_path / "train2017" / "000000000025.jpg").unlink()
    site.requests.clear()
    prepare_coco(tmp_path, base_url=site.url)
    assert contents(tmp_path) == FILES
    assert [path for path, _ in site.requests] == ZIPS[2:]


def test_kept_archives_serve_the_next_run(site, tmp_path):
    prepare_coco(tmp_path, base_url=site.url, keep_archives=True)
    (tmp_path / "val2017" / "000000000139.jpg").unlink()
    site.requests.clear()
    prepare_coco(tmp_path, base_url=site.url, keep_archives=True)
    assert contents(tmp_path) == FILES
    assert site.requests == []
    assert (tmp_path / "downloads" / "train2017.zip").is_file()


def test_one_split_leaves_the_other_alone(site, tmp_path):
    prepare_coco(tmp_path, base_url=site.url, splits=["val"])
    assert [path for path, _ in site.requests] == ZIPS[:2]
    assert not (tmp_path / "train2017").exists()


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"'train'.*'val'.*'test'"):
        prepare_coco(tmp_path, splits=["val", "test"])


def test_a_run_that_was_cut_goes_on(site, tmp_path):
    site.cut_after = [100]
    prepare_coco(tmp_path, base_url=site.url)
    assert contents(tmp_path) == FILES
    assert site.requests[1] == (ZIPS[0], "bytes=100-")


def test_an_archive_that_climbs_out_is_refused(site, tmp_path):
    site.files[ZIPS[1]] = zipped({"../../evil.jpg": b"evil"})
    with pytest.raises(DownloadError, match="outside the target folder"):
        prepare_coco(tmp_path / "a" / "b", base_url=site.url)
    assert not (tmp_path / "evil.jpg").exists()


def test_an_archive_without_images_is_an_error(site, tmp_path):
    site.files[ZIPS[1]] = zipped({"images/1.jpg": b"1"})
    with pytest.raises(DownloadError, match=r"val2017/\*.*0"):
        prepare_coco(tmp_path, base_url=site.url)


def test_detections_with_a_direct_address_are_fetched_and_counted(site, tmp_path):
    text = prepare_coco(tmp_path, base_url=site.url, detections_url=f"{site.url}/detections.json")
    assert json.loads((tmp_path / DETECTIONS_FILE).read_text())[0]["image_id"] == 139
    assert "1 detector boxes (the paper's file has 104,125)" in text


def test_a_web_page_in_place_of_detections_is_refused(site, tmp_path):
    with pytest.raises(DownloadError, match=r"JSON.*web page"):
        prepare_coco(tmp_path, base_url=site.url, detections_url=f"{site.url}/page.html")
    assert list((tmp_path / DETECTIONS_FILE).parent.iterdir()) == []


def test_the_official_server_is_held_to_the_published_sizes(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "COCO_URL", site.url)
    monkeypatch.setattr(download, "require_space", lambda *arguments: None)
    with pytest.raises(DownloadError, match=r"252,907,541.*annotations_trainval2017.zip"):
        prepare_coco(tmp_path, base_url=site.url)


def test_official_images_that_came_another_way_are_not_fetched_again(site, tmp_path, monkeypatch):
    archive = download._Archive("zips/val2017.zip", 1, "", "val2017/", 2)
    monkeypatch.setattr(download, "COCO_URL", site.url)
    (tmp_path / "val2017").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "val2017" / name).touch()
    download._prepare_archive(archive, tmp_path, site.url, keep=False, report=lambda *step: None)
    assert site.requests == []


def test_the_layout_lists_missing_files_and_their_addresses(tmp_path):
    (tmp_path / "val2017").mkdir()
    text = coco_layout(tmp_path)
    assert f"COCO 2017 is expected under {tmp_path}" in text
    assert "found    val2017/  (5,000 images)" in text
    assert "MISSING  train2017/  (118,287 images)" in text
    assert "MISSING  annotations/person_keypoints_train2017.json" in text
    assert f"python scripts/prepare_coco.py {tmp_path}" in text
    assert f"{COCO_URL}/zips/train2017.zip" in text
    assert "https://drive.google.com/" in text


def run_script(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_script_prepares_a_folder(site, tmp_path):
    done = run_script(str(tmp_path), "--base-url", site.url, "--detections-url", f"{site.url}/detections.json")
    assert done.returncode == 0, done.stderr
    assert set(FILES) <= set(contents(tmp_path))
    assert "found    train2017/" in done.stdout
    assert "download train2017.zip" in done.stdout


def test_the_script_ends_with_one_line_where_a_file_is_not_there(site, tmp_path):
    del site.files[ZIPS[2]]
    done = run_script(str(tmp_path), "--base-url", site.url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: The server answered 404 Not Found for {site.url}{ZIPS[2]}")
    assert "Traceback" not in done.stderr


def test_the_layout_needs_no_torch():
    code = "import sys, hrpose.download.coco; sys.exit(any(m in sys.modules for m in ('torch', 'lightning', 'hydra', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_script_can_be_interrupted(monkeypatch, capsys, tmp_path):
    script = runpy.run_path(str(SCRIPT))

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setitem(script["main"].__globals__, "prepare_coco", interrupted)
    assert script["main"]([str(tmp_path)]) == 130
    assert capsys.readouterr().err == "Stopped. The same command resumes.\n"
