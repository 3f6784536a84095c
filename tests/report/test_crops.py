"""Crops on a page: pixels, marks, names and the size limit."""

import re
from base64 import b64decode
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from html_checks import check
from shown_case import SIZE, crop, skeleton_of

from hrpose.codecs import HeatmapCodec
from hrpose.report.crops import draw_crops, draw_predictions, fit_size
from hrpose.report.page import html_document
from hrpose.skeletons import COCO, Skeleton


def draw(crops, skeleton=COCO, max_bytes=3_000_000) -> str:
    figures = draw_crops(crops, skeleton, key="c", max_bytes=max_bytes)
    check(html_document("crops", figures))
    return figures


def pixels(figures: str, kind: str) -> np.ndarray:
    content = re.search(rf"data:image/{kind};base64,([^\"]+)", figures)
    assert content
    return cv2.imdecode(np.frombuffer(b64decode(content[1]), np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_picture_has_the_pixels_of_the_crop() -> None:
    shown = crop()
    found = pixels(draw([shown]), "jpeg")[..., ::-1]
    assert found.shape == shown.image.shape
    assert np.abs(found.astype(int) - shown.image).mean() < 4


def test_a_mark_is_centered_on_its_pixel() -> None:
    keypoints = np.full((17, 2), 10.0)
    keypoints[0] = (24, 16)
    figures = draw([crop(keypoints=keypoints)])
    scale = fit_size(*SIZE)[0] / SIZE[0]
    assert f'cx="{24.5 * scale:.1f}" cy="{16.5 * scale:.1f}"' in figures


def test_marks_show_visibility_and_names() -> None:
    visibility = np.array([0, 1, *[2] * 15], np.uint8)
    figures = draw([crop(visibility=visibility)])
    assert figures.count("<circle") == 16
    assert figures.count(' occluded"') == 1
    assert "1 left_eye, occluded" in figures
    assert "Not labelled: nose." in figures


def test_a_keypoint_outside_the_crop_is_named_and_not_marked() -> None:
    keypoints = np.full((17, 2), 10.0)
    keypoints[0] = (24, -3)
    figures = draw([crop(keypoints=keypoints)])
    assert figures.count("<circle") == 16
    assert "Outside the crop: nose." in figures


@pytest.mark.parametrize("count", [1, 5, 17, 25])
def test_names_are_next_to_the_pose_and_do_not_overlap(count: int) -> None:
    figures = draw([crop(count)], skeleton_of(count))
    texts = re.findall(r'<text class="label ([a-z]*)" x="[-\d.]+" y="([\d.]+)"', figures)
    assert len(texts) == count
    for anchor in ("", "end"):
        heights = sorted(float(y) for side, y in texts if side == anchor)
        assert all(b - a > 12.8 for a, b in pairwise(heights))
    assert "<details>" not in figures


@pytest.mark.parametrize("count", [26, 294])
def test_many_names_are_tooltips_and_a_list(count: int) -> None:
    figures = draw_predictions([crop(count)], skeleton_of(count), note="")
    check(html_document("predictions", figures))
    assert "<text" not in figures
    assert figures.count("<title>") == count
    assert figures.count("<li>point ") == count


def test_names_and_titles_are_escaped() -> None:
    names = ["<script>alert(1)</script>", 'a "quoted" one', "b&b"]
    skeleton = Skeleton.from_names(names, sigmas=[0.05] * 3, flip_pairs=[])
    figures = draw([crop(3, title='<script>x</script>" onload="y', visibility=np.array([2, 1, 0], np.uint8))], skeleton)
    assert "<script" not in figures
    assert '" onload="' not in figures
    assert "Not labelled: b&amp;b." in figures


def test_an_unreadable_image_is_replaced_by_the_reason() -> None:
    figures = draw([crop(image=None, fault="<b>truncated"), crop()])
    assert figures.count("<figure>") == 2
    assert "No image: &lt;b&gt;truncated" in figures


def test_crops_beyond_the_size_are_left_out_and_counted() -> None:
    one = len(draw([crop()]))
    figures = draw([crop()] * 5, max_bytes=2 * one)
    assert figures.count("<figure>") == 2
    assert "3 more are left out" in figures


def test_a_cell_of_a_heatmap_covers_its_pixels() -> None:
    codec = HeatmapCodec(input_size=SIZE, heatmap_size=(12, 16), sigma=2)
    heatmaps = np.zeros((17, 16, 12), np.float32)
    heatmaps[3, 5, 2] = 1
    figures = draw([crop(heatmaps=heatmaps, grid=codec.grid)])
    layer = pixels(figures, "png")
    assert np.argwhere(layer[..., 3] == 255).tolist() == [[5, 2]]
    x, y, width, height = map(
        float, re.findall(r'<image x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"', figures)[0]
    )
    scale = fit_size(*SIZE)[0] / SIZE[0]
    assert x + 2.5 * width / 12 == pytest.approx((2 * 4 + 0.5) * scale, abs=0.1)
    assert y + 5.5 * height / 16 == pytest.approx((5 * 4 + 0.5) * scale, abs=0.1)


def test_a_prediction_has_crosses_scores_and_oks() -> None:
    predicted = np.random.default_rng(1).uniform(0, 40, (17, 2))
    shown = crop(predicted=predicted, scores=np.full(17, 0.25), oks=0.125)
    section = draw_predictions([shown, replace(shown, oks=0.5)], COCO, note="<i>of net")
    check(html_document("predictions", section))
    assert section.count(' cross"') == 34
    assert "0 nose, score 0.25" in section
    assert section.index("OKS 0.125") < section.index("OKS 0.500")
    assert "&lt;i&gt;of net" in section


def test_the_picture_is_stored_once() -> None:
    heatmaps = np.zeros((17, 16, 12), np.float32)
    figures = draw([crop(heatmaps=heatmaps), crop(predicted=np.zeros((17, 2)))])
    assert figures.count("data:image/jpeg") == 2
    assert re.findall(r'<use href="#([^"]+)"', figures) == re.findall(r'<image id="([^"]+)"', figures) == ["c-0", "c-1"]
