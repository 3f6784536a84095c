"""The EXIF orientation is read as Pillow writes it, and images are rotated upright."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hrpose.media.headers import read_orientation
from hrpose.media.images import Reading, read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 17, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
OPTIONS = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}}


def encode(orientation: int | None, form: str) -> bytes:
    """Encode the picture, with other tags before and after the orientation."""
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x010F], exif[0x0131] = "maker", "software"
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(PICTURE).save(stream, form, exif=exif, **OPTIONS[form])
    return stream.getvalue()


def upright_of(content: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


@pytest.mark.parametrize("form", OPTIONS)
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_an_image_is_read_as_stored_or_upright(orientation, form, tmp_path) -> None:
    """Rows from the top are rows of the upright image, with every decoder."""
    content = encode(orientation, form)
    assert read_orientation(content) == (orientation or 1)
    file = tmp_path / "a"
    file.write_bytes(content)
    stored, upright = np.asarray(Image.open(file).convert("RGB")), upright_of(content)
    tolerance = 3 if form == "JPEG" else 0  # Pillow has another JPEG decoder
    np.testing.assert_allclose(read_image(file).astype(int), stored, atol=tolerance)
    size = upright.shape[1::-1]
    for num_rows in (None, 5, 30, len(upright)):
        found = read_image(file, size=size, num_rows=num_rows, reading=Reading(upright=True)).astype(int)
        count = num_rows or len(upright)
        np.testing.assert_allclose(found[:count], upright[:count], atol=tolerance)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP"]))
def test_any_bytes_have_an_orientation_from_1_to_8(content, start) -> None:
    assert 1 <= read_orientation(start + content) <= 8


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4), st.sampled_from(list(OPTIONS)))
def test_damaged_tags_have_an_orientation_from_1_to_8(place, damage, form) -> None:
    content = encode(6, form)
    assert 1 <= read_orientation(content[:place] + damage + content[place + len(damage) :]) <= 8
    assert 1 <= read_orientation(content[:place]) <= 8
