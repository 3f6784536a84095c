"""The names of annotated pictures."""

from pathlib import Path

import pytest

from hrpose.tasks.predict.images import ImageTask, check_pictures


def tasks(*names):
    return [ImageTask(Path(name), name, number) for number, name in enumerate(names, start=1)]


def test_pictures_of_other_formats_get_a_suffix():
    check_pictures(tasks("a.tif", "a.jpg", "a.webp", "b/a.tif.jpg", "A.JPG"))


def test_two_images_with_the_same_picture_are_refused():
    with pytest.raises(ValueError, match=r"x/a\.tif.*x/a\.tif\.jpg.*pictures/x/a\.tif\.jpg"):
        check_pictures(tasks("x/a.tif", "x/b.jpg", "x/a.tif.jpg"))
