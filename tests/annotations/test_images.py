"""Orientation and bit depth are measured in a sample of the images."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from exif_image import jpeg

from hrpose.annotations.images import check_images, sample_images, settle_reading
from hrpose.media.images import Reading


def write_deep(folder: Path, depths: list[int]) -> list[str]:
    """Write PNG files of 16 bits per channel that use the given number of bits."""
    names = [f"{index:03d}.png" for index in range(len(depths))]
    for name, depth in zip(names, depths, strict=True):
        cv2.imwrite(str(folder / name), np.full((4, 5, 3), 2**depth - 1, np.uint16))
    return names


def found(sample, reading=Reading(), matters=True) -> dict[str, str]:  # noqa: B008 - it is frozen
    findings = check_images(sample, reading, orientation_matters=matters, key="data.bit_depth")
    return {finding.check: str(finding) for finding in findings}


def test_the_brightest_of_the_sample_sets_the_bit_depth(tmp_path) -> None:
    names = write_deep(tmp_path, [9, 12, 11])
    sample = sample_images(names, tmp_path)
    assert (sample.bit_depth, sample.deep, sample.turned) == (12, tuple(names), ())
    assert sample_images(names[:1], tmp_path).bit_depth == 10
    assert sample_images(names, tmp_path) == sample


def test_8_bit_images_have_no_bit_depth(tmp_path) -> None:
    picture = np.full((4, 5, 3), 255, np.uint8)
    names = [f"a{suffix}" for suffix in (".png", ".jpg", ".bmp", ".webp", ".tiff", ".gif")]
    for name in names:
        assert cv2.imwrite(str(tmp_path / name), picture)
    sample = sample_images([*names, "missing.png"], tmp_path)
    assert (sample.bit_depth, len(sample.names)) == (None, 7)
    assert found(sample) == {}
    assert settle_reading(sample, Reading(), orientation_matters=True) == Reading()


def test_a_sample_is_spread_over_all_images(tmp_path) -> None:
    names = [f"{index:04d}.png" for index in range(1000)]
    sample = sample_images(names, tmp_path)
    assert len(sample.names) == 256
    assert {sample.names[0], sample.names[-1]} == {names[0], names[-1]}
    gaps = np.diff([names.index(name) for name in sample.names])
    assert set(gaps.tolist()) <= {3, 4}
    assert sample_images([], tmp_path).names == ()


@pytest.mark.parametrize(
    ("used", "given", "text"),
    [
        (12, None, "read with 12 bits: 4095"),
        (16, None, None),
        (12, 12, None),
        (16, 16, None),
        (10, 12, "read with 12 bits.*dark"),
        (14, 12, "read with 12 bits.*brighter"),
    ],
)
def test_a_wrong_bit_depth_is_a_finding(tmp_path, used, given, text) -> None:
    sample = sample_images(write_deep(tmp_path, [used] * 4), tmp_path)
    warned = found(sample, Reading(bit_depth=given)).get("bit-depth")
    if text is None:
        assert warned is None
    else:
        shown = rf"4 of 4 sampled images have 16 bits per channel and use {used} of them \(000.png, 001.png, 002.png, \.\.\.\)"
        assert warned is not None
        assert re.search(shown, warned)
        assert re.search(text, warned)


def test_images_of_16_bits_are_counted_among_those_that_were_decoded(tmp_path) -> None:
    names = write_deep(tmp_path, [12] * 300)
    assert "64 of 64 sampled images have 16 bits" in found(sample_images(names, tmp_path))["bit-depth"]
    cv2.imwrite(str(tmp_path / "plain.tiff"), np.zeros((4, 5), np.uint8))
    assert "2 of 3 sampled images" in found(sample_images([*names[:2], "plain.tiff"], tmp_path))["bit-depth"]


def test_rotated_images_are_counted_and_named(tmp_path) -> None:
    for index, orientation in enumerate([None, 1, 3, 6]):
        (tmp_path / f"{index}.jpg").write_bytes(jpeg(orientation))
    sample = sample_images([f"{index}.jpg" for index in range(4)], tmp_path)
    assert sample.turned == ("2.jpg", "3.jpg")
    warned = found(sample)["exif-orientation"]
    assert "2 of 4 sampled images" in warned
    assert "(2.jpg, 3.jpg)" in warned
    assert "data.upright=true" in warned
    assert found(sample, matters=False) == {}
