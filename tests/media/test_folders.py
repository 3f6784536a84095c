"""Image folders: what is missing is counted and named, and nothing leads out of a folder."""

from pathlib import Path

import pytest
from tiny_coco import write_image

from hrpose.errors import DataError, MissingDataError
from hrpose.media.folders import check_images_exist


def test_all_missing_images_are_counted_and_three_named(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "b" / "there.jpg")
    names = ["b/there.jpg", "b/1.jpg", "a/2.jpg", "3.jpg", "4.jpg"]
    with pytest.raises(MissingDataError, match=r"5 images.*4.*a/2\.jpg.*3\.jpg"):
        check_images_exist(names, tmp_path / "photos")
    check_images_exist(names[:1], tmp_path / "photos")


def test_an_image_folder_one_step_off_is_found(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "train" / "1.jpg")
    with pytest.raises(MissingDataError, match=rf"train/1\.jpg.*{tmp_path}/photos\b"):
        check_images_exist(["train/1.jpg"], tmp_path / "photos" / "train")
    with pytest.raises(MissingDataError, match=rf"1\.jpg.*{tmp_path}/photos/train\b"):
        check_images_exist(["1.jpg"], tmp_path / "photos")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"image folder .*nowhere"):
        check_images_exist(["a.jpg"], tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["/a.jpg", "../a.jpg", "b/../../a.jpg", "b\\a.jpg", "", "C:/a.jpg", "a\0.jpg"])
def test_names_that_climb_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="below the image folder"):
        check_images_exist([name], tmp_path)


def test_links_may_stand_for_the_folder_but_not_lead_out_of_it(tmp_path: Path) -> None:
    write_image(tmp_path / "store" / "a.jpg")
    secret = write_image(tmp_path / "secret.jpg")
    (tmp_path / "photos").symlink_to(tmp_path / "store")
    check_images_exist(["a.jpg"], tmp_path / "photos")
    (tmp_path / "store" / "out.jpg").symlink_to(secret)
    (tmp_path / "store" / "in.jpg").symlink_to("a.jpg")
    check_images_exist(["in.jpg"], tmp_path / "photos")
    with pytest.raises(DataError, match=r"out\.jpg.*secret\.jpg"):
        check_images_exist(["out.jpg"], tmp_path / "photos")
    (tmp_path / "store" / "sub").symlink_to(tmp_path)
    with pytest.raises(DataError, match="symbolic link"):
        check_images_exist(["sub/secret.jpg"], tmp_path / "photos")


def test_images_without_the_folder_of_their_names_are_found(tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "1.jpg")
    with pytest.raises(MissingDataError, match=r"1\.jpg is there without 'images/'.*photos/images"):
        check_images_exist(["images/1.jpg"], tmp_path / "photos")
