"""The page: well-formed, self-contained, with the numbers of the report."""

from dataclasses import replace

import numpy as np
import pytest
from html_checks import check
from small_case import evaluated

from hrpose.report import Report, analyse, draw_page
from hrpose.skeletons import Skeleton


@pytest.fixture(scope="module")
def report() -> Report:
    return analyse(evaluated(), title="res.json", num_samples=20)


def test_the_page_is_well_formed_and_self_contained(report: Report) -> None:
    assert {"svg", "polyline", "rect", "table", "style"} <= check(draw_page(report)).tags


def test_the_page_shows_numbers_keypoints_errors_and_protocol(report: Report) -> None:
    page = draw_page(report)
    assert all(f"<td>{value:.3f}</td>" in page for value in report.measurement.numbers.values() if value >= 0)
    assert all(f">{name}" in page for name in report.keypoints)
    assert all(kind in page for kind in report.anatomy.fixed)
    assert "flip test" in page
    assert "not stated" in page
    assert "gt.json (sha256 aaaaaaaa)" in page


def test_light_dark_and_print_are_styled(report: Report) -> None:
    page = draw_page(report)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_names_are_escaped() -> None:
    names = ["<b>nose", 'left "eye', "right & eye"]
    case = evaluated()
    first = replace(
        case,
        detections=replace(case.detections, keypoints=case.detections.keypoints[:, :3]),
        keypoint_scores=case.keypoint_scores[:, :3],
        truth=replace(case.truth, keypoints=case.truth.keypoints[:, :3], visibility=case.truth.visibility[:, :3]),
        skeleton=Skeleton.from_names(names, sigmas=[0.05] * 3),
    )
    page = draw_page(analyse(first, title="<script>alert(1)</script>", num_samples=5))
    check(page)
    assert "&lt;b&gt;nose" in page


def test_undefined_numbers_are_dashes_with_an_explanation() -> None:
    case = evaluated()
    page = draw_page(analyse(replace(case, truth=case.truth.select(slice(0))), title="nobody", num_samples=5))
    check(page)
    assert "<td>–</td>" in page
    assert "of that size" in page


def test_a_page_without_predictions_is_drawn() -> None:
    case = evaluated()
    nothing = {name: values[:0] for name, values in vars(case.detections).items()}
    empty = replace(case, detections=replace(case.detections, **nothing), keypoint_scores=np.zeros((0, 17)))
    assert "no pose is correct" in draw_page(analyse(empty, title="nothing", num_samples=5))
    check(draw_page(analyse(empty, title="nothing", num_samples=5)))
