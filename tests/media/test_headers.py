"""Sizes and pages are read from the header; PNG files are decoded without warnings of libpng."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from hrpose.errors import DataError, DataWarning
from hrpose.media.headers import MAX_PIXELS, clean_png, has_more_pages, stated_size
from hrpose.media.images import decode_image, decode_pixels
from hrpose.media.load import load_image

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (40, 30))
HUGE = 40_000


def encode(suffix: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, suffix, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "gif", "tiff", "jpeg2000"])
def test_the_stated_size_is_that_of_the_pixels(suffix: str) -> None:
    content = encode(suffix)
    assert stated_size(content) == decode_pixels(content, "x").shape[1::-1] == (40, 30)


def test_the_stated_size_of_other_formats_is_read() -> None:
    big_tiff = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2) + struct.pack("<HHQQHHQQ", 256, 4, 1, 7, 257, 3, 1, 9) + bytes(8)
    assert stated_size(big_tiff) == (7, 9)
    assert stated_size(b"BM" + bytes(12) + struct.pack("<Iii", 40, 5, -6)) == (5, 6)
    assert stated_size(b"BM" + bytes(12) + struct.pack("<IHH", 12, 5, 6)) == (5, 6)
    assert stated_size(b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\x04\0\0\x05\0\0") == (5, 6)
    assert stated_size(encode("webp")) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0)),
        b"GIF89a" + struct.pack("<HH", HUGE, HUGE),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, HUGE, HUGE),
        encode("tiff").replace(struct.pack("<HHII", 256, 4, 1, 40), struct.pack("<HHII", 256, 4, 1, 2**31)),
        encode("jpeg2000").replace(struct.pack(">II", 40, 30), struct.pack(">II", HUGE, HUGE)),
        encode("jpeg").replace(struct.pack(">HH", 30, 40), struct.pack(">HH", HUGE, HUGE)),
        b"P6\n40000 40000\n255\n",  # a header that is not read here: OpenCV refuses it
    ],
)
def test_a_file_that_states_too_many_pixels_is_refused_before_decoding(content: bytes) -> None:
    with pytest.raises(DataError, match=r"bomb\.x"):
        decode_image(content, "bomb.x")


def test_the_limit_is_above_the_largest_cameras() -> None:
    assert 16_320 * 12_240 < MAX_PIXELS <= 2**30


@pytest.mark.parametrize("suffix", ["tiff", "gif", "webp", "png"])
def test_several_pages_are_reported(suffix: str) -> None:
    others = {"save_all": True, "append_images": [Image.fromarray(255 - PICTURE)]}
    assert not has_more_pages(encode(suffix))
    assert has_more_pages(encode(suffix, **others))
    with pytest.warns(DataWarning, match="the bytes given has several pages"):
        found = load_image(encode(suffix, **others))
    assert np.abs(found.astype(int) - load_image(encode(suffix))).mean() < 10  # the first


def test_a_thumbnail_does_not_count_as_a_page() -> None:
    entry = struct.pack("<HHHHII", 1, 254, 4, 0, 1, 0)
    assert has_more_pages(b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 14) + entry[:2] + bytes(16))
    thumbnail = struct.pack("<HHHIII", 1, 254, 4, 1, 1, 0)
    assert not has_more_pages(b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 14) + thumbnail)


def test_chunks_that_libpng_warns_about_are_removed_and_pixels_stay(capfd: pytest.CaptureFixture[str]) -> None:
    profile = encode("png", icc_profile=b"no profile" * 9, pnginfo=None)
    cleaned = clean_png(profile, "x")
    assert b"iCCP" in profile
    assert b"iCCP" not in cleaned
    np.testing.assert_array_equal(decode_image(profile, "x"), PICTURE)
    assert capfd.readouterr().err == ""
    assert clean_png(cleaned, "x") is cleaned


@pytest.mark.parametrize("change", [lambda png: png[:-20], lambda png: png[:60] + b"x" + png[61:], lambda png: png[:9]])
def test_a_damaged_png_is_refused_without_output_of_libpng(change, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"a\.png, but it is damaged or cut off"):
        decode_image(change(encode("png")), "a.png")
    assert capfd.readouterr().err == ""
