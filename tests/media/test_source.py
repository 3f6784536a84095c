"""Sources are resolved to images, videos, cameras or streams, and errors say what exists instead."""

import os
from pathlib import Path

import pytest

from hrpose.media.source import ImageFiles, Stream, find_media


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        "film.mp4",
        "in/c d.jpg",
        "in/deep/e=f.jpeg",
        "other/[1].jpg",
        "empty/x.csv",
        "odd [x]/1.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "folder", "names"),
    [
        ("b.jpg", ".", ("b.jpg",)),
        ("notes.txt", ".", ("notes.txt",)),  # a file named alone may have any suffix
        (".", ".", ("a.PNG", "b.jpg")),
        ("in", "in", ("c d.jpg",)),
        ("in/", "in", ("c d.jpg",)),
        ("*.jpg", ".", ("b.jpg",)),
        ("in/*", "in", ("c d.jpg",)),
        ("**/*.jp*g", ".", ("b.jpg", "in/c d.jpg", "in/deep/e=f.jpeg", "odd [x]/1.jpg", "other/[1].jpg")),
        ("in/**/*", "in", ("c d.jpg", "deep/e=f.jpeg")),
        ("i?/*.jpg", ".", ("in/c d.jpg",)),
        ("odd [x]/*.jpg", "odd [x]", ("1.jpg",)),  # an existing folder has precedence over a pattern
        ("odd*/*.jpg", ".", ("odd [x]/1.jpg",)),
        ("other/[1].jpg", "other", ("[1].jpg",)),  # an existing file has precedence over a pattern
        ("other/../in/*.jpg", "in", ("c d.jpg",)),
        ("in/../*.jpg", ".", ("b.jpg",)),
    ],
)
def test_images_are_found_and_sorted(here, source, folder, names):
    images = find_media(source)
    assert isinstance(images, ImageFiles)
    assert images.names == names
    assert len(images) == len(names)
    assert images.folder.resolve() == (here / folder).resolve()
    assert all((images.folder / name).is_file() for name in images.names)


def test_a_broken_link_counts_as_an_image(here):
    """The reader reports it with the other unusable images."""
    (here / "in" / "lost.jpg").symlink_to(here / "gone.jpg")
    (here / "in" / "folder.jpg").mkdir()
    for source in ("in", "in/*.jpg"):
        assert find_media(source).names == ("c d.jpg", "lost.jpg")


def test_absolute_paths_and_the_home_folder_are_found(here, monkeypatch):
    assert find_media(str(here / "in" / "*.jpg")) == ImageFiles(here / "in", ("c d.jpg",))
    monkeypatch.setenv("HOME", str(here))
    assert find_media("~/in") == ImageFiles(here / "in", ("c d.jpg",))
    assert find_media("~/in/*.jpg") == ImageFiles(here / "in", ("c d.jpg",))


def test_names_never_lead_out_of_the_folder(here):
    for source in ("**/*.jpg", "in/../**/*.jpg", "*/../in/*.jpg", "../*/in/*.jpg", "in/deep/../../*.jpg"):
        images = find_media(source)
        assert all(".." not in name.split("/") and not name.startswith("/") for name in images.names), source


@pytest.mark.parametrize(("source", "number"), [(0, 0), (2, 2), ("camera", 0), ("1", 1)])
def test_a_number_is_a_camera(here, source, number):
    assert find_media(source) == number


def test_an_address_is_a_stream_and_other_schemes_are_refused():
    stream = find_media("rtsp://me:secret@10.0.0.7:554/a@b")
    assert stream == Stream("rtsp://me:secret@10.0.0.7:554/a@b")
    assert str(stream) == "rtsp://10.0.0.7:554/a@b"
    assert find_media("https://x.org/film.mp4") == Stream("https://x.org/film.mp4")
    for scheme in ("file", "ftp", "s3"):
        with pytest.raises(ValueError, match=f"an address of http, .*{scheme}://x/a.mp4"):
            find_media(f"{scheme}://x/a.mp4")


@pytest.mark.parametrize("suffix", ["avif", "gif", "jp2", "JPX", "ppm", "jfif", "ras"])
def test_every_image_format_is_found(tmp_path, suffix):
    for name in (f"a.{suffix}", f"._a.{suffix}", "notes.csv"):
        (tmp_path / name).touch()
    for source in (tmp_path, f"{tmp_path}/*"):
        assert find_media(str(source)).names == (f"a.{suffix}",)


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "x" * 5000 + "*.jpg", "a\0b", "[" * 300, "~nobody_of_this_name/a"])
def test_impossible_names_are_refused_with_a_short_message(here, name):
    with pytest.raises(ValueError) as error:
        find_media(name)
    assert len(str(error.value)) < 800


def test_a_pipe_is_refused(here):
    os.mkfifo(here / "pipe")
    with pytest.raises(ValueError, match="a pipe, a device"):
        find_media("pipe")


def test_a_video_is_a_file_or_the_only_match(here):
    assert find_media("film.mp4") == Path("film.mp4")
    assert find_media("f*.mp4") == Path("film.mp4")
    with pytest.raises(ValueError, match=r"2 images.*1 videos"):
        find_media("*")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("c.jpg", "there is no file or folder c.jpg. Did you mean b.jpg?"),
        ("fulm.mp4", "there is no file or folder fulm.mp4. Did you mean film.mp4?"),
        ("inn/x.jpg", "there is no file or folder inn/x.jpg. There is no folder inn."),
        ("in/*.png", "no image or video matches in/*.png."),
        ("inn/*.png", "no image or video matches inn/*.png. Did you mean in?"),
        ("empty/*", "no image or video matches empty/*. 1 other files and folders do."),
        ("empty", "there are no images in the folder empty. It has .csv."),
        ("in/deep/../../other/..", None),
    ],
)
def test_a_missing_source_is_refused_with_what_exists(here, source, message):
    if message is None:
        assert len(find_media(source)) == 2
        return
    with pytest.raises(ValueError) as error:
        find_media(source)
    assert str(error.value) == message


def test_a_folder_with_images_in_subfolders_only_is_refused_with_a_pattern(here):
    (here / "in" / "c d.jpg").unlink()
    with pytest.raises(ValueError, match=r"in/\*\*/\*.jpg"):
        find_media("in")
    (here / "void").mkdir()
    with pytest.raises(ValueError, match="It is empty"):
        find_media("void")
