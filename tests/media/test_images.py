"""Images are read as OpenCV reads them, and unreadable ones are refused."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from exif_image import jpeg
from hypothesis import given
from hypothesis import strategies as st

from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.media.images import (
    Reading,
    _without_libjpeg,
    decode_image,
    decode_jpeg,
    decode_top,
    is_truncated,
    quiet_decoders,
    read_image,
    read_size,
)
from hrpose.media.load import load_image

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8), (131, 90))
TALL_PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (30, 13, 3), np.uint8), (131, 300))


def opencv_rgb(file: Path):
    return cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("options", [[], ["progressive"], ["444"], ["low"]])
def test_jpeg_pixels_equal_opencv(options: list[str], tmp_path: Path) -> None:
    flags = {
        "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "444": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
        "low": [cv2.IMWRITE_JPEG_QUALITY, 12],
    }
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), PICTURE, [flag for option in options for flag in flags[option]])
    np.testing.assert_array_equal(read_image(file), opencv_rgb(file))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "gray.jpg", "gray.png", "misnamed.jpg"])
def test_other_formats_are_read_as_rgb(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    picture = PICTURE[..., 0] if "gray" in name else PICTURE
    cv2.imwrite(str(tmp_path / "a.png" if "misnamed" in name else file), picture)
    if "misnamed" in name:
        (tmp_path / "a.png").rename(file)
    assert read_image(file).shape == (90, 131, 3)
    np.testing.assert_array_equal(read_image(file), opencv_rgb(file))


DEEP_FORMS = [(".png", 1), (".png", 3), (".png", 4), (".tiff", 1), (".tiff", 3), (".pgm", 1), (".ppm", 3)]


@given(st.integers(8, 16), st.integers(0, 2**32 - 1), st.sampled_from(DEEP_FORMS))
def test_16_bit_images_are_scaled_by_their_bit_depth(depth: int, seed: int, form: tuple[str, int]) -> None:
    """The highest bits become the pixels, more bits than `bit_depth` are refused, and opacity is ignored."""
    suffix, channels = form
    deep = np.random.default_rng(seed).integers(0, 2**depth, (5, 7, channels)).astype(np.uint16)
    deep[0, 0] = 2**depth - 1
    content = cv2.imencode(suffix, deep)[1].tobytes()
    colours = deep[..., 2::-1] if channels > 1 else deep.repeat(3, axis=2)
    found = decode_image(content, "a", Reading(bit_depth=depth))
    np.testing.assert_array_equal(found, colours >> (depth - 8))
    assert found.max() == 255
    if depth > 8:
        with pytest.raises(DataError, match=rf"{depth - 1} bits.*data\.bit_depth="):
            decode_image(content, "a", Reading(bit_depth=depth - 1))


@given(st.sampled_from([None, 8, 12, 16]), st.sampled_from([".png", ".bmp", ".jpg", ".webp", ".tiff"]))
def test_8_bit_images_are_not_scaled(depth: int | None, suffix: str) -> None:
    content = cv2.imencode(suffix, PICTURE)[1].tobytes()
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decode_image(content, "a", Reading(bit_depth=depth)), expected)


def test_a_dark_16_bit_image_is_scaled_by_the_bits_it_uses_with_a_warning() -> None:
    content = cv2.imencode(".png", PICTURE.astype(np.uint16) * 16)[1].tobytes()
    with pytest.warns(DataWarning, match=r"a\.png.*16 bits.*12"):
        found = decode_image(content, "a.png")
    np.testing.assert_array_equal(found, PICTURE[..., ::-1])


@pytest.mark.parametrize("suffix", [".hdr", ".pfm", ".tiff"])
def test_floating_point_images_are_refused(suffix: str) -> None:
    content = cv2.imencode(suffix, (PICTURE / 255).astype(np.float32))[1].tobytes()
    with pytest.raises(DataError, match=r"at a.*float32, from 0|at a.*cannot be decoded"):
        decode_image(content, "a")


@pytest.mark.parametrize("depth", [0, 7, 17, "12", 8.5])
def test_a_bit_depth_out_of_range_is_refused(depth) -> None:
    with pytest.raises(ValueError, match=r"`bit_depth`.*8.*16"):
        Reading(bit_depth=depth)


@pytest.mark.parametrize("upright", [False, True])
def test_a_size_swapped_by_the_exif_orientation_is_refused_with_the_key(upright: bool, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(orientation=6))
    size = (80, 60) if upright else (60, 80)
    with pytest.raises(DataError, match=rf"EXIF.*6.*data\.upright={str(not upright).lower()}"):
        read_image(tmp_path / "a.jpg", size=size, reading=Reading(upright))
    assert read_image(tmp_path / "a.jpg", size=size, reading=Reading(not upright)).shape[1::-1] == size


def test_the_exif_orientation_is_ignored_by_default(tmp_path: Path) -> None:
    plain = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    turned = bytes.fromhex("ffe100224578696600004d4d002a000000080001011200030000000100060000000000000000")[:36]
    file = tmp_path / "turned.jpg"
    file.write_bytes(plain[:2] + turned + plain[2:])
    assert cv2.imread(str(file)).shape[:2] == (131, 90)
    assert read_image(file).shape == (90, 131, 3)


def test_images_with_harmless_errors_are_read(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    trailing, stuffed = tmp_path / "trailing.jpg", tmp_path / "stuffed.jpg"
    trailing.write_bytes(content + b"\0\0 something after the end")
    stuffed.write_bytes(content[:20] + b"\0\0\0" + content[20:])  # extraneous bytes before a marker
    np.testing.assert_array_equal(read_image(trailing), cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), 1), 4))
    assert read_image(stuffed).shape == (90, 131, 3)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("progressive", [0, 1])
def test_a_truncated_jpeg_is_refused(part: float, progressive: int, tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    file = tmp_path / "cut.jpg"
    file.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=r"cut\.jpg.*\d+"):
        read_image(file)


@pytest.mark.parametrize("content", [b"hello, world", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<html>404</html>"])
def test_a_file_that_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_image(tmp_path / "a.jpg")


def test_a_truncated_png_is_refused(tmp_path: Path) -> None:
    content = cv2.imencode(".png", PICTURE)[1].tobytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_empty_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg"):
        read_image(tmp_path / "empty.jpg")
    for missing in (tmp_path / "none.jpg", tmp_path, tmp_path / ("long" * 100), tmp_path / "nul\0"):
        with pytest.raises(DataError, match="image"):
            read_image(missing)


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    """A pipe would block, and a device does not end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in (tmp_path / "pipe.jpg", "/dev/zero"):
        for read in (read_image, load_image, read_size):
            with pytest.raises(DataError, match="a pipe, a device"):
                read(name)


def test_opencv_prints_nothing_in_the_block_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut = cv2.imencode(".tif", PICTURE)[1].tobytes()[:-40]
    level = cv2.utils.logging.getLogLevel()
    with quiet_decoders():
        cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR)
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level
    cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR)
    assert capfd.readouterr().err != ""  # else the test would hold for any file


def encode(*options: int) -> bytes:
    return cv2.imencode(".jpg", TALL_PICTURE, list(options))[1].tobytes()


SAMPLINGS = [
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_top_rows_equal_those_of_the_whole_image(sampling: int, restart: int) -> None:
    content = encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_RST_INTERVAL, restart)
    whole = decode_jpeg(content)
    for num_rows in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 200, 255]:
        top = decode_top(content, (131, 300), num_rows)
        assert num_rows <= len(top) < 300
        np.testing.assert_array_equal(top[:num_rows], whole[:num_rows])


def test_the_top_rows_of_a_grey_image_are_rgb() -> None:
    content = cv2.imencode(".jpg", TALL_PICTURE[..., 0])[1].tobytes()
    np.testing.assert_array_equal(decode_top(content, (131, 300), 50)[:50], decode_jpeg(content)[:50])


def test_unusual_files_are_not_decoded_from_the_top() -> None:
    content = encode()
    assert decode_top(content, (131, 300), 280) is None  # saves nothing
    assert decode_top(content, (131, 301), 50) is None  # another size
    assert decode_top(content[:-2], (131, 300), 50) is None  # cut off
    assert decode_top(content[: len(content) // 3], (131, 300), 50) is None
    assert decode_top(content[:30], (131, 300), 50) is None
    assert decode_top(encode(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (131, 300), 50) is None


def test_the_top_rows_are_decoded_without_a_given_size() -> None:
    content = encode()
    np.testing.assert_array_equal(decode_top(content, None, 50), decode_top(content, (131, 300), 50))
    assert decode_top(content, None, 280) is None  # saves nothing


def test_a_jpeg_without_end_marker_is_truncated() -> None:
    content = encode()
    assert not is_truncated(content)
    assert not is_truncated(content + b"\0\0 after the end")
    assert is_truncated(content[:-2])
    assert is_truncated(content[:100])


@pytest.mark.parametrize("name", ["a.jpg", "progressive.jpg", "a.png", "a.bmp", "a.webp", "misnamed.jpg"])
def test_read_size_is_the_size_of_the_pixels(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if "progressive" in name else []
    cv2.imwrite(str(tmp_path / "a.png" if "misnamed" in name else file), TALL_PICTURE, flags)
    if "misnamed" in name:
        (tmp_path / "a.png").rename(file)
    assert read_size(file) == (131, 300)


def test_read_size_applies_the_orientation_on_request(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(6))
    assert read_size(file) == (80, 60)
    assert read_size(file, upright=True) == (60, 80)


def test_the_size_of_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError):
        read_size(tmp_path / "a.jpg")
    with pytest.raises(MissingDataError):
        read_size(tmp_path / "b.jpg")


def test_output_of_libjpeg_is_suppressed_and_other_output_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    whole = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    place = whole.index(b"\xff\xda")
    odd = whole[:place] + b"four" + whole[place:]
    decode_image(odd, "odd.jpg")
    assert capfd.readouterr().err == ""
    cv2.imdecode(np.frombuffer(odd, np.uint8), cv2.IMREAD_COLOR)
    assert "Corrupt JPEG" in capfd.readouterr().err  # else the test would hold for any file
    with _without_libjpeg():
        os.write(2, b"Corrupt JPEG data\nanother line\n")
    assert capfd.readouterr().err == "another line\n"
