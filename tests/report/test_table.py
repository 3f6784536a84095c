"""Reports on the terminal, and PCKh."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from small_case import evaluated

from hrpose.metrics.functional import PCKH_COLUMNS
from hrpose.report import FileStamp, PckhProtocol, analyse, show_pckh, write_pckh
from hrpose.report.table import show_report

PROTOCOL = PckhProtocol(
    annotations=FileStamp("valid.json", "a" * 64),
    ground_truth=FileStamp("gt_valid.mat", "b" * 64),
    num_images=3,
    num_instances=5,
    bbox_padding=1.25,
    input_size=(192, 256),
    codec="HeatmapCodec",
    flip_test=True,
)
NUMBERS = dict(zip(PCKH_COLUMNS, (97.1, 95.9, 90.3, 86.4, 89.1, math.nan, 83.3, 90.34, 37.7, 33.4), strict=True))


def printed(case) -> str:
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as captured:
        show_report(analyse(case, title="a case", num_samples=10), console)
    return captured.get()


def test_errors_are_shown_with_the_gain_of_a_fix() -> None:
    lines = printed(evaluated()).splitlines()
    (row,) = [line.split() for line in lines if line.startswith(" false negatives")]
    assert row[:3] == ["false", "negatives", "3"]
    assert 0 < float(row[4]) == float(row[4][1:])
    assert "20 images and 40 persons of gt.json" in "".join(lines)


def test_without_poses_no_gain_is_shown_for_missed_instances() -> None:
    case = evaluated()
    nothing = {name: values[:0] for name, values in vars(case.detections).items()}
    case = replace(case, detections=replace(case.detections, **nothing), keypoint_scores=np.zeros((0, 17), dtype=np.float32))
    (row,) = [line.split() for line in printed(case).splitlines() if line.startswith(" false negatives")]
    assert row == ["false", "negatives", "40", "-1"]


def test_the_table_of_pckh_has_both_thresholds_near_a_tenth(capsys) -> None:
    show_pckh(NUMBERS, PROTOCOL, Console(width=120))
    printed = capsys.readouterr().out
    header, row = (printed.splitlines()[place].split() for place in (2, 4))
    assert header == list(PCKH_COLUMNS)
    assert row == ["97.1", "95.9", "90.3", "86.4", "89.1", "83.3", "90.3", "37.7", "33.4"]  # without number for the knee
    assert "valid.json (sha256 aaaaaaaa), 3 images and 5 persons of gt_valid.mat (sha256 bbbbbbbb)" in printed
    assert "box padding 1.25, flip test on, HeatmapCodec 192x256" in printed
    assert "at most 0.5 head sizes" in " ".join(printed.split())


def test_the_file_of_pckh_has_the_numbers_and_the_protocol(tmp_path: Path) -> None:
    write_pckh(NUMBERS, PROTOCOL, tmp_path / "results/pckh_gt.json")
    content = json.loads((tmp_path / "results/pckh_gt.json").read_text())
    assert content["numbers"] == {**NUMBERS, "Knee": None}
    assert content["protocol"] == json.loads(json.dumps(PROTOCOL.to_dict()))
    assert content["protocol"]["input_size"] == [192, 256]
    assert "0.6 of the diagonal" in content["protocol"]["rules"]
