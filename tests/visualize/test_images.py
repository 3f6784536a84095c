"""Pictures on disk."""

import cv2
import numpy as np
import pytest

from hrpose.visualize import save_image


def test_a_saved_picture_comes_back_in_rgb(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_image(tmp_path / "new" / "folder" / "picture.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "folder" / "picture.png"))[..., ::-1], image)


@pytest.mark.parametrize("name", ["picture", "picture.xyz"])
def test_an_unknown_format_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        save_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))


def test_floats_are_refused_with_advice(tmp_path):
    with pytest.raises(ValueError, match="astype"):
        save_image(tmp_path / "picture.png", np.zeros((4, 4, 3)))
