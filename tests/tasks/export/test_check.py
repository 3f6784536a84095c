"""The result of a check, and its JSON."""

import json
import math
from dataclasses import replace

import pytest

from hrpose.export import Comparison
from hrpose.files import dumps
from hrpose.tasks.export.check import CheckResult


def result(off: float) -> CheckResult:
    """Return a check with one difference."""
    comparison = Comparison(
        **{"num_crops": 1, "num_keypoints": 17, "largest": off, "median": 0.0, "moved": 0.0, "undecided": 0.0},
        **{"largest_score": 0.0, "not_finite": 0.0, "num_confident": 17, "shifted": 0.0, "median_shift": 0.0},
    )
    return CheckResult("photos", comparison, None, None, 0.001, exact=True)


@pytest.mark.parametrize("off", [math.inf, math.nan])
def test_an_infinite_difference_is_null_in_json_and_a_fault(off):
    written = json.loads(dumps(result(off).to_dict(), undefined_as_null=True))
    assert written["comparison"]["largest"] is None
    assert written["comparison"]["num_keypoints"] == 17
    assert len(written["faults"]) == 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"not_finite": 0.25}, "25.0% of its keypoints or scores are NaN or infinite"),
        ({"shifted": 0.2}, "20.0% of the confident keypoints"),
        ({"num_confident": 0}, "no keypoint"),
    ],
)
def test_a_file_of_lower_precision_has_bounds(changes, fault):
    sound = replace(result(0.5), exact=False, max_shifted=0.1)
    assert sound.faults == []
    (text,) = replace(sound, comparison=replace(sound.comparison, **changes)).faults
    assert fault in text


def test_equal_keypoints_have_no_fault():
    assert result(0.0).to_dict()["faults"] == []
