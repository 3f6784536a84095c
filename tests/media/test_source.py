"""What a source means: files of odd names, patterns, cameras; what is not found is explained."""

import os
from pathlib import Path

import pytest

from hrpose.media.source import Camera, ImageFiles, Stream, Video, find_media


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
        ("notes.txt", ".", ("notes.txt",)),  # who names a file wants it
        (".", ".", ("a.PNG", "b.jpg")),
        ("in", "in", ("c d.jpg",)),
        ("in/", "in", ("c d.jpg",)),
        ("*.jpg", ".", ("b.jpg",)),
        ("in/*", "in", ("c d.jpg",)),
        ("**/*.jp*g", ".", ("b.jpg", "in/c d.jpg", "in/deep/e=f.jpeg", "odd [x]/1.jpg", "other/[1].jpg")),
        ("in/**/*", "in", ("c d.jpg", "deep/e=f.jpeg")),
        ("i?/*.jpg", ".", ("in/c d.jpg",)),
        ("odd [x]/*.jpg", "odd [x]", ("1.jpg",)),  # so does a folder
        ("odd*/*.jpg", ".", ("odd [x]/1.jpg",)),
        ("other/[1].jpg", "other", ("[1].jpg",)),  # the file itself goes before the pattern
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


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(here):
    """So it is told at the end, with the others; nobody asked to leave it out."""
    (here / "in" / "lost.jpg").symlink_to(here / "gone.jpg")
    (here / "in" / "folder.jpg").mkdir()
    for source in ("in", "in/*.jpg"):
        assert find_media(source).names == ("c d.jpg", "lost.jpg")


def test_absolute_paths_and_the_home_folder(here, monkeypatch):
    assert find_media(str(here / "in" / "*.jpg")) == ImageFiles(here / "in", ("c d.jpg",))
    monkeypatch.setenv("HOME", str(here))
    assert find_media("~/in") == ImageFiles(here / "in", ("c d.jpg",))
    assert find_media("~/in/*.jpg") == ImageFiles(here / "in", ("c d.jpg",))


def test_names_never_lead_out_of_the_folder(here):
    for source in ("**/*.jpg", "in/../**/*.jpg", "*/../in/*.jpg", "../*/in/*.jpg", "in/deep/../../*.jpg"):
        images = find_media(source)
        assert all(".." not in name.split("/") and not name.startswith("/") for name in images.names), source


@pytest.mark.parametrize(("source", "number"), [(0, 0), (2, 2), ("camera", 0), ("1", 1)])
def test_cameras(here, source, number):
    assert find_media(source) == Camera(number)


def test_addresses_are_streams_or_refused_by_name():
    stream = find_media("rtsp://me:secret@10.0.0.7:554/a@b")
    assert stream == Stream("rtsp://me:secret@10.0.0.7:554/a@b")
    assert str(stream) == "rtsp://10.0.0.7:554/a@b"
    assert find_media("https://x.org/film.mp4") == Stream("https://x.org/film.mp4")
    for scheme in ("file", "ftp", "s3"):
        with pytest.raises(ValueError, match=f"an address of http, .*{scheme}://x/a.mp4"):
            find_media(f"{scheme}://x/a.mp4")


@pytest.mark.parametrize("suffix", ["avif", "gif", "jp2", "JPX", "ppm", "jfif", "ras"])
def test_every_format_that_is_read_is_taken(tmp_path, suffix):
    for name in (f"a.{suffix}", f"._a.{suffix}", "notes.csv"):
        (tmp_path / name).touch()
    for source in (tmp_path, f"{tmp_path}/*"):
        assert find_media(str(source)).names == (f"a.{suffix}",)


@pytest.mark.parametrize(
    "name", ["x" * 5000, "x/" * 5000, "x" * 5000 + "*.jpg", "a\0b", "[" * 300, "~nobody_of_this_name/a"]
)
def test_names_that_no_file_has_are_refused_shortly(here, name):
    with pytest.raises(ValueError) as error:
        find_media(name)
    assert len(str(error.value)) < 800


def test_a_pipe_is_no_source(here):
    os.mkfifo(here / "pipe")
    with pytest.raises(ValueError, match="a pipe, a device"):
        find_media("pipe")


def test_a_video_is_a_file_or_the_only_match(here):
    assert find_media("film.mp4") == Video(Path("film.mp4"))
    assert find_media("f*.mp4") == Video(Path("film.mp4"))
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
def test_what_is_not_found_is_explained(here, source, message):
    if message is None:
        assert len(find_media(source)) == 2
        return
    with pytest.raises(ValueError) as error:
        find_media(source)
    assert str(error.value) == message


def test_a_folder_of_folders_says_how_to_reach_in(here):
    (here / "in" / "c d.jpg").unlink()
    with pytest.raises(ValueError, match=r"in/\*\*/\*.jpg"):
        find_media("in")
    (here / "void").mkdir()
    with pytest.raises(ValueError, match="It is empty"):
        find_media("void")
