"""What a module asks of its metrics is what they offer."""

import inspect

import pytest

from hrpose.metrics import KeypointAveragePrecision, PCKh, PoseMetric

ASKED = [name for name, value in vars(PoseMetric).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("metric", [KeypointAveragePrecision, PCKh])
def test_a_metric_offers_what_a_module_asks(metric: type) -> None:
    assert set(ASKED) == {"update_poses", "logged", "results", "reset"}
    assert [name for name in ASKED if not callable(getattr(metric, name, None))] == []
    assert isinstance(metric.leading, str)
