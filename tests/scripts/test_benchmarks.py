"""The benchmarks run, compare like with like, and print a table and the machine."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hrpose.codecs import HeatmapCodec

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"
SMALL = {
    "archives": ["--num-images", "12", "--num-members", "50", "--repeats", "1"],
    "codecs": ["heatmap_128x96", "udp_128x96", "--num-points", "100", "--repeats", "1"],
    "data": ["--num-samples", "20", "--repeats", "1"],
    "inference": ["experiment=tiny", "model.width=4", "--repeats", "1", "--engines", "channels_last"],
    "metric": ["--num-images", "30", "--num-persons", "60", "--num-detections", "300", "--repeats", "1"],
    "train": ["experiment=tiny", "model.width=4", "--batch-size", "2", "--steps", "1", "--device", "cpu"],
}
pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*")


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a benchmark."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "machine", raising=False)

    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_every_benchmark_is_tested():
    assert {file.stem for file in FOLDER.glob("*.py")} == {*SMALL, "machine"}


@pytest.mark.parametrize("name", SMALL)
def test_help_is_the_docstring(load, name, capsys):
    module = load(name)
    with pytest.raises(SystemExit) as caught:
        module.main(["--help"])
    assert caught.value.code == 0
    assert module.__doc__.splitlines()[0] in capsys.readouterr().out


def test_the_table_of_codecs_separates_them(load, capsys):
    rows = {row["codec"]: row for row in load("codecs").main(SMALL["codecs"])}
    assert rows["heatmap_128x96"]["clean"] > 1 > 0.02 > rows["udp_128x96"]["clean"]
    assert all(row["noisy"] > row["clean"] and row["decode_us"] > 0 for row in rows.values())
    _check_output(capsys, *rows)


def test_every_source_of_images_is_timed_in_both_orders(load, capsys):
    figures = load("archives").main(SMALL["archives"])
    sources = [f"{name}, {order}" for name in ("files", "tar", "zip") for order in ("shuffled", "in blocks")]
    assert list(figures["samples"]) == sources
    assert all(value > 0 for row in figures["samples"].values() for value in row.values())
    assert figures["memory"]["batches"] == 1
    assert figures["memory"]["after_epoch"] > 0
    assert all(held < 50 * 60 for _, _, held in figures["index"].values())
    _check_output(capsys, "12 images", "tar, in blocks")


def test_the_stages_of_a_sample_add_up_to_the_total(load, capsys):
    threads = torch.get_num_threads()
    times = load("data").main(SMALL["data"])
    for side in (times.hrpose, times.reference):
        stages = [ms for stage, ms in side.items() if stage not in ("total", "device")]
        assert 0 < sum(stages) <= side["total"] * 1.001
    assert times.ratio > 0
    assert 0 < times.images <= 1
    assert torch.get_num_threads() == threads
    _check_output(capsys, "192x256", "read and decode", "target heatmaps", "device")


def test_the_reference_draws_the_same_heatmaps(load):
    codec = HeatmapCodec(input_size=(48, 64), heatmap_size=(12, 16), sigma=2)
    rng = np.random.default_rng(0)
    keypoints, visibility = rng.uniform(0, 60, (17, 2)), rng.integers(0, 3, 17)
    target, weight = load("data")._reference_target(keypoints, visibility, codec.input_size)
    expected, expected_weight = codec.encode(torch.tensor(keypoints)[None].float(), torch.tensor(visibility)[None])
    torch.testing.assert_close(target, expected[0])
    torch.testing.assert_close(weight, expected_weight[0])


def test_engines_have_their_ratio_and_differences(load, capsys):
    rows = load("inference").main(SMALL["inference"])
    assert [row["engine"] for row in rows] == ["torch", "channels_last"]
    for row in rows:
        assert row["ratio"] == pytest.approx(rows[0]["ms"] / row["ms"])
        assert row["heatmaps"] < 1e-5
        assert row["keypoints"] < 0.01
    _check_output(capsys, "torch fp32, channels_last", "HRNet")


def test_every_tool_gives_the_same_numbers(load, capsys):
    seconds = load("metric").main(SMALL["metric"])
    assert set(seconds) == {"evaluate + accumulate", "OKS-NMS", "JSON files to AP"}
    assert {"hrpose", "pycocotools"} <= set(seconds["evaluate + accumulate"])
    assert all(value > 0 for tools in seconds.values() for value in tools.values())
    _check_output(capsys, "pycocotools", "plain loop")


def test_a_tool_with_other_numbers_is_refused(load):
    with pytest.raises(RuntimeError, match="some tool"):
        load("metric")._require_equal([0.5], [0.6], "some tool")


def test_training_is_measured_or_refused_in_every_cell(load, capsys):
    module = load("train")
    rows = module.main(SMALL["train"])
    assert len(rows) == 8
    for row in rows:
        measured = [isinstance(row[side], float) and row[side] > 0 for side in ("hrpose", "plain")]
        assert all(measured) == (row["precision"] in ("fp32", "bf16")), row
        assert any(measured) or row["hrpose"] == row["plain"] == "needs a GPU"
    _check_output(capsys, "channels_last", "needs a GPU")


def test_a_cell_that_fails_says_why(load):
    def fail() -> float:
        raise RuntimeError("no compiler\nand more")

    assert load("train")._attempt(fail) == "not supported: RuntimeError: no compiler"


def _check_output(capsys, *texts: str) -> None:
    printed = capsys.readouterr().out
    assert all(text in printed for text in (*texts, "cores", torch.__version__)), printed
