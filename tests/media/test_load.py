"""Images are loaded from every form, and other values are refused."""

import base64
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exif_image import jpeg

from hrpose.errors import DataError, MissingDataError
from hrpose.media.load import load_image

IMAGE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), IMAGE[..., ::-1])
    return file


def test_every_form_of_an_image_gives_the_same_pixels(png: Path) -> None:
    from PIL import Image  # an optional dependency

    with png.open("rb") as stream:
        forms = {
            "path": png,
            "name": str(png),
            "stream": stream,
            "bytes": png.read_bytes(),
            "memory": io.BytesIO(png.read_bytes()),
            "array": IMAGE,
            "Pillow": Image.fromarray(IMAGE),
            "Pillow RGBA": Image.fromarray(IMAGE).convert("RGBA"),
            "tensor": torch.from_numpy(IMAGE).permute(2, 0, 1),
            "fractions": torch.from_numpy(IMAGE).permute(2, 0, 1) / 255,
            "half": (torch.from_numpy(IMAGE).permute(2, 0, 1) / 255).double(),
        }
        for name, form in forms.items():
            image = load_image(form)
            assert image.dtype == np.uint8, name
            assert image.flags.c_contiguous, name
            np.testing.assert_array_equal(image, IMAGE, err_msg=name)


@pytest.mark.parametrize("grey", [IMAGE[..., 0], IMAGE[..., :1]])
def test_grey_becomes_three_equal_channels(grey: np.ndarray) -> None:
    np.testing.assert_array_equal(load_image(grey), np.stack([IMAGE[..., 0]] * 3, axis=-1))


def test_an_image_with_an_exif_orientation_is_rotated_upright_by_default() -> None:
    stored, turned = load_image(jpeg()), load_image(jpeg(orientation=6))
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))
    np.testing.assert_array_equal(load_image(jpeg(orientation=6), upright=False), stored)
    np.testing.assert_array_equal(load_image(jpeg(orientation=3)), np.rot90(stored, 2))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_16_bit_pillow_image_is_read_like_its_file(order: str) -> None:
    from PIL import Image  # an optional dependency

    deep = IMAGE[..., 0].astype(np.uint16) * 256 + 255
    stored = cv2.imencode(".png", deep)[1].tobytes()
    np.testing.assert_array_equal(load_image(stored)[..., 0], IMAGE[..., 0])
    np.testing.assert_array_equal(load_image(Image.fromarray(deep.astype(f"{order}u2"))), load_image(stored))


@pytest.mark.parametrize(
    ("values", "message"),
    [(IMAGE[..., 0] * np.int32(256), "mode I goes from .* to 6"), (IMAGE[..., 0] / np.float32(255), "mode F goes from 0")],
)
def test_values_that_pillow_would_clip_are_refused(values: np.ndarray, message: str) -> None:
    from PIL import Image  # an optional dependency

    with pytest.raises(DataError, match=message):
        load_image(Image.fromarray(values))


def test_a_file_opened_as_text_is_refused(png: Path) -> None:
    with png.open(encoding="utf-8") as stream, pytest.raises(DataError, match="binary mode"):
        load_image(stream)


def test_a_stream_at_its_end_is_refused(png: Path) -> None:
    stream = io.BytesIO(png.read_bytes())
    load_image(stream)
    with pytest.raises(DataError, match=r"\(0\)"):
        load_image(stream)


@pytest.mark.parametrize("address", ["https://a.org/b.jpg", "s3://a/b.jpg", Path("http://a.org/b.jpg")])
def test_a_url_is_refused(address) -> None:
    with pytest.raises(DataError, match="URL"):
        load_image(address)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (IMAGE / 255, r"uint8.*0.*float64.*1"),
        (IMAGE.astype(np.int32), r"uint8.*0.*255.*int32"),
        (IMAGE[None], r"\(1, 6, 8, 3\). Pass a list"),
        (np.concatenate([IMAGE, IMAGE[..., :1]], axis=-1), "Remove the opacity"),
        (IMAGE.transpose(2, 0, 1), "channels come first"),
        (IMAGE[:0], r"\(0, 8, 3\)"),
        (torch.zeros(6, 8, 3), r"\(3, H, W\).*\(6, 8, 3\)"),
        (torch.zeros(2, 3, 6, 8), "Pass a list of its images"),
        (torch.full((3, 2, 2), 1.5), r"0.*1.*1.5"),
        (torch.full((3, 2, 2), torch.nan), r"0.*1"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), "but got torch.int64"),
        (7, "Expected an image: a path.* but got int"),
        (b"", "the bytes given, but the file is empty"),
        (b"neither", "cannot be decoded"),
        (jpeg()[:200], "200"),
        (io.StringIO("text"), "binary mode"),
    ],
)
def test_other_values_are_refused(source, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_image(source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(MissingDataError, match=str(file)):
            load_image(file)


@pytest.mark.parametrize("text", [base64.b64encode(bytes(range(256)) * 99).decode(), "data:image/png;base64,iVBORw0KGgo="])
def test_a_base64_string_is_named_and_not_repeated(text: str) -> None:
    with pytest.raises(DataError, match="base64") as error:
        load_image(text)
    assert len(str(error.value)) < 300
    assert text[:40] not in str(error.value)
