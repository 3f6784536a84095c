"""The report on the screen."""

from dataclasses import replace

import numpy as np
from rich.console import Console
from small_case import evaluated

from hrpose.report import analyse
from hrpose.report.table import show_report


def printed(case) -> str:
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as captured:
        show_report(analyse(case, title="a case", num_samples=10), console)
    return captured.get()


def test_errors_are_shown_with_what_their_cure_would_gain() -> None:
    lines = printed(evaluated()).splitlines()
    (row,) = [line.split() for line in lines if line.startswith(" false negatives")]
    assert row[:3] == ["false", "negatives", "3"]
    assert 0 < float(row[4]) == float(row[4][1:])
    assert "20 images and 40 persons of gt.json" in "".join(lines)


def test_without_any_pose_no_gain_is_claimed_of_persons_left_out() -> None:
    case = evaluated()
    nothing = {name: values[:0] for name, values in vars(case.detections).items()}
    case = replace(
        case, detections=replace(case.detections, **nothing), keypoint_scores=np.zeros((0, 17), dtype=np.float32)
    )
    (row,) = [line.split() for line in printed(case).splitlines() if line.startswith(" false negatives")]
    assert row == ["false", "negatives", "40", "-1"]
