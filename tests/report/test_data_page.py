"""The page of a data set: well-formed, self-contained, small, with the numbers of the tables."""

import re
from dataclasses import replace

import numpy as np
import pytest
from html_checks import check
from shown_case import crop, skeleton_of

from hrpose.annotations.checks import Finding
from hrpose.report import data_page
from hrpose.report.data_page import DataPage, draw_data_page, write_data_page
from hrpose.skeletons import COCO
from hrpose.structures import InstanceTable, PackedStrings


def table(count: int = 20, num_keypoints: int = 17, num_images: int = 8) -> InstanceTable:
    rng = np.random.default_rng(count)
    bbox = np.column_stack([rng.uniform(0, 50, (count, 2)), rng.uniform(20, 90, (count, 2))])
    keypoints = bbox[:, None, :2] + rng.random((count, num_keypoints, 2)) * bbox[:, None, 2:]
    return InstanceTable(
        image_ids=np.arange(num_images),
        image_sizes=np.full((num_images, 2), 200, np.int32),
        file_names=PackedStrings([f"{i}.jpg" for i in range(num_images)]),
        image_index=(np.arange(count) % max(num_images - 1, 1)).astype(np.int32),
        instance_ids=np.arange(count),
        bbox=bbox,
        bbox_scores=np.ones(count),
        area=np.full(count, 900, np.float32),
        keypoints=keypoints.astype(np.float32),
        visibility=rng.integers(0, 3, (count, num_keypoints)).astype(np.uint8),
    )


def finding(severity: str, **changes) -> Finding:
    content = {
        "check": f"some-{severity}",
        "file": "train.json",
        "count": 3,
        "total": 20,
        "ids": (1, 2),
        "what": "annotations are odd",
        "consequence": "Bad.",
        "fix": "Mend them.",
        "severity": severity,
    }
    return Finding(**{**content, **changes})


def page(**changes) -> DataPage:
    content = {
        "title": "Data of train.json",
        "findings": [],
        "tables": {"train": table()},
        "skeleton": COCO,
        "input_size": (192, 256),
        "bbox_padding": 1.25,
    }
    return DataPage(**{**content, **changes})


def test_a_page_is_well_formed_and_self_contained() -> None:
    whole = page(
        findings=[finding("note"), finding("error")],
        tables={"train": table(), "val": table(7)},
        training_crops=[crop()],
        predicted_crops=[crop(predicted=np.zeros((17, 2)), oks=0.5)],
        note="of it",
    )
    html = draw_data_page(whole)
    assert {"svg", "figure", "image", "table", "details"} - check(html).tags == {"details"}
    titles = re.findall(r"<h2>([^<]+)</h2>", html)
    assert titles[:2] == ["Findings", "Data"]
    assert titles[-2:] == ["Training crops", "Worst predictions"]
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_every_picture_has_an_alternative_text() -> None:
    html = draw_data_page(page(training_crops=[crop()]))
    pictures = re.findall(r"<svg [^>]*viewBox[^>]*>", html)
    assert len(pictures) == 7
    assert all(re.search(r'role="img" aria-label="[^"]+"', picture) for picture in pictures)


def test_findings_are_sorted_by_severity() -> None:
    html = draw_data_page(page(findings=[finding("note"), finding("warning"), finding("error"), finding("error", fix="")]))
    assert re.findall(r'<span class="tag">(\w+)', html) == ["error", "error", "warning", "note"]
    assert "2 errors, 1 warning, 1 note." in html
    assert "3 of 20 annotations are odd (1, 2, ...). Bad." in html
    assert html.count("<b>Fix:</b>") == 3


def test_text_from_files_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    texts = dict.fromkeys(("check", "file", "what", "consequence", "fix"), evil)
    html = draw_data_page(page(title=evil, findings=[finding("error", ids=(evil,), **texts)], training_note=evil))
    check(html)
    assert "&lt;script&gt;" in html


def test_without_readable_data_the_page_has_findings_only() -> None:
    html = draw_data_page(page(tables={}, skeleton=None, findings=[finding("error")]))
    check(html)
    assert re.findall(r"<h2>([^<]+)</h2>", html) == ["Findings"]


def test_without_a_skeleton_the_counts_are_shown() -> None:
    html = draw_data_page(page(skeleton=None))
    check(html)
    titles = re.findall(r"<h2>([^<]+)</h2>", html)
    assert "Data" in titles
    assert "Training crops" not in titles


@pytest.mark.parametrize("count", [1, 5, 294])
def test_any_number_of_keypoints_is_drawn(count: int) -> None:
    html = draw_data_page(page(tables={"train": table(20, count)}, skeleton=skeleton_of(count)))
    check(html)
    assert html.count("visible, ") == count


@pytest.mark.parametrize("count", [0, 1])
def test_few_or_no_instances(count: int) -> None:
    check(draw_data_page(page(tables={"train": table(count)})))


def test_counts_are_those_of_the_table() -> None:
    instances = table()
    html = draw_data_page(page(tables={"train": instances}))
    labelled = (instances.visibility > 0).sum(axis=1).mean()
    width, height = np.median(instances.bbox[:, 2:], axis=0)
    cells = re.findall(r"<td>([^<]*)</td>", html)
    assert cells[:5] == ["8", "1", "20", f"{labelled:.1f} of 17", f"{width:.0f} x {height:.0f}"]
    visible = (instances.visibility[:, 0] == 2).sum()
    assert f"0 nose: {visible} visible, " in html


def test_a_box_with_the_shape_of_the_input_fills_the_crop_except_the_padding() -> None:
    bbox = np.tile([0.0, 0.0, 30.0, 40.0], (20, 1))
    html = draw_data_page(page(tables={"train": replace(table(), bbox=bbox)}, bbox_padding=2.0))
    assert "<td>25%</td>" in html


def test_the_mean_pose_is_that_of_the_labelled_keypoints_in_their_boxes() -> None:
    bbox = np.tile([10.0, 20.0, 40.0, 40.0], (20, 1))
    keypoints = np.tile(np.float32([[20, 50]]), (20, 17, 1))
    keypoints[10:, 0] = (40, 50)
    visibility = np.full((20, 17), 2, np.uint8)
    visibility[:, 1] = 0
    instances = replace(table(), bbox=bbox, keypoints=keypoints, visibility=visibility)
    html = draw_data_page(page(tables={"train": instances}))
    assert "nose: x 0.50 ± 0.25, y 0.75 ± 0.00 of the box" in html
    assert "left_eye: x" not in html


def test_the_page_stays_below_its_size(tmp_path, monkeypatch) -> None:
    crops = [crop(predicted=np.zeros((17, 2)), oks=0.1)] * 12
    whole = page(training_crops=[crop()] * 12, predicted_crops=crops, note="n")
    size = len(draw_data_page(whole).encode())
    limit = size - 60_000
    monkeypatch.setattr(data_page, "MAX_BYTES", limit)
    write_data_page(whole, tmp_path / "page.html")
    assert limit - 40_000 < (tmp_path / "page.html").stat().st_size <= limit + 20_000
    assert "more are left out" in (tmp_path / "page.html").read_text()


def test_the_tables_can_be_large() -> None:
    check(draw_data_page(page(tables={"train": table(30_000, 5, 9_000)}, skeleton=skeleton_of(5))))
