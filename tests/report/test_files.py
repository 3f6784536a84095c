"""Reports on disk: what is written is what is read."""

from pathlib import Path

import numpy as np
import pytest
from small_case import evaluated

from hrpose.report import analyse, read_measurement, write_report


def test_a_measurement_comes_back(tmp_path: Path) -> None:
    report = analyse(evaluated(), title="res.json", num_samples=20, seed=3)
    page = write_report(report, tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    got, wanted = read_measurement(tmp_path / "run" / "report.json"), report.measurement
    assert (got.protocol, got.numbers, got.seed) == (wanted.protocol, wanted.numbers, 3)
    np.testing.assert_array_equal(got.samples, wanted.samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "it holds a list"), ("{}", "it has no 'bootstrap'"), ("{", "Expecting property name")],
)
def test_another_file_is_no_report(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ValueError, match=f"report.json to be a report of hrpose, but .*{message}"):
        read_measurement(tmp_path / "report.json")
