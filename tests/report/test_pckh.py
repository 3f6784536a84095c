"""PCKh: its table, its protocol, its file."""

import json
import math
from pathlib import Path

from rich.console import Console

from hrpose.metrics.functional import PCKH_COLUMNS
from hrpose.report import FileStamp, PckhProtocol, show_pckh, write_pckh

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


def test_the_table_names_both_thresholds_that_are_called_a_tenth(capsys) -> None:
    show_pckh(NUMBERS, PROTOCOL, Console(width=120))
    printed = capsys.readouterr().out
    header, row = (printed.splitlines()[place].split() for place in (2, 4))
    assert header == list(PCKH_COLUMNS)
    assert row == ["97.1", "95.9", "90.3", "86.4", "89.1", "83.3", "90.3", "37.7", "33.4"]  # no knee, no number
    assert "valid.json (sha256 aaaaaaaa), 3 images and 5 persons of gt_valid.mat (sha256 bbbbbbbb)" in printed
    assert "box padding 1.25, flip test on, HeatmapCodec 192x256" in printed
    assert "at most 0.5 head sizes" in " ".join(printed.split())


def test_the_file_has_the_numbers_and_how_they_were_measured(tmp_path: Path) -> None:
    write_pckh(NUMBERS, PROTOCOL, tmp_path / "results/pckh_gt.json")
    content = json.loads((tmp_path / "results/pckh_gt.json").read_text())
    assert content["numbers"] == {**NUMBERS, "Knee": None}
    assert content["protocol"] == json.loads(json.dumps(PROTOCOL.to_dict()))
    assert content["protocol"]["input_size"] == [192, 256]
    assert "0.6 of the diagonal" in content["protocol"]["rules"]
