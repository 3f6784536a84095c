"""The metric's bench: every tool comes to the same numbers, and the table tells who took how long."""

import pytest

from hrpose.tasks.bench_metric import bench_metric


def test_small_bench_prints_every_tool(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = bench_metric(num_images=30, num_persons=60, num_detections=300, repeats=1)
    shown = capsys.readouterr().out
    assert set(seconds) == {"evaluate + accumulate", "OKS-NMS", "JSON files to AP"}
    for task, tools in seconds.items():
        assert task in shown
        assert all(tool in shown and value > 0 for tool, value in tools.items())
    assert {"hrpose", "pycocotools"} <= set(seconds["evaluate + accumulate"])
    assert "All came to the same numbers" in shown
