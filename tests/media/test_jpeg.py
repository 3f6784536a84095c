"""Decoding the top of a JPEG: the same pixels as the whole, or not at all."""

import cv2
import numpy as np
import pytest

from hrpose.media.jpeg import decode_jpeg, decode_top, is_truncated

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (30, 13, 3), np.uint8), (131, 300))


def encode(*options: int) -> bytes:
    return cv2.imencode(".jpg", PICTURE, list(options))[1].tobytes()


SAMPLINGS = [
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_top_rows_equal_those_of_the_whole(sampling: int, restart: int) -> None:
    content = encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_RST_INTERVAL, restart)
    whole = decode_jpeg(content)
    for num_rows in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 200, 255]:
        top = decode_top(content, (131, 300), num_rows)
        assert num_rows <= len(top) < 300
        np.testing.assert_array_equal(top[:num_rows], whole[:num_rows])


def test_gray_comes_as_rgb() -> None:
    content = cv2.imencode(".jpg", PICTURE[..., 0])[1].tobytes()
    np.testing.assert_array_equal(decode_top(content, (131, 300), 50)[:50], decode_jpeg(content)[:50])


def test_what_is_out_of_the_ordinary_is_left_to_the_whole_decoder() -> None:
    content = encode()
    assert decode_top(content, (131, 300), 280) is None  # not worth while
    assert decode_top(content, (131, 301), 50) is None  # another size
    assert decode_top(content[:-2], (131, 300), 50) is None  # cut short
    assert decode_top(content[: len(content) // 3], (131, 300), 50) is None
    assert decode_top(content[:30], (131, 300), 50) is None
    assert decode_top(encode(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (131, 300), 50) is None


def test_the_size_need_not_be_told() -> None:
    content = encode()
    np.testing.assert_array_equal(decode_top(content, None, 50), decode_top(content, (131, 300), 50))
    assert decode_top(content, None, 280) is None  # not worth while


def test_truncation_is_told_by_the_end_marker() -> None:
    content = encode()
    assert not is_truncated(content)
    assert not is_truncated(content + b"\0\0 behind the end")
    assert is_truncated(content[:-2])
    assert is_truncated(content[:100])
