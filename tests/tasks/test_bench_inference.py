"""hrpose bench inference: a row for each engine, ratios within the run, differences beside them."""

from __future__ import annotations

import pytest
from small_network import write_checkpoint
from tiny_export import CODECS, Patches

from hrpose.config import compose, validate
from hrpose.tasks import run
from hrpose.tasks.bench_inference import bench_inference


def make(num_keypoints: int) -> Patches:
    return Patches(num_keypoints)


def test_a_row_for_each_engine_with_its_ratio_and_its_differences(capsys):
    names = ["channels_last", "frozen"]
    rows = bench_inference(model=make, codec=CODECS["dark"], num_keypoints=5, repeats=1, threads=1, backends=names)
    assert [row["backend"] for row in rows] == ["torch", *names]
    for row in rows:
        assert row["ratio"] == pytest.approx(rows[0]["ms"] / row["ms"])
        assert row["heatmaps"] < 1e-5
        assert row["keypoints"] < 0.01
    printed = capsys.readouterr().out
    assert "torch fp32, folded" in printed
    assert "Patches 48x64, 1 crops at once, 1 threads" in printed


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match="`batch_size`, `repeats` and `threads` to be at least 1, but got 0"):
        bench_inference(model=make, codec=CODECS["dark"], batch_size=0)


def test_the_verb_takes_networks_codecs_and_weights(tmp_path):
    weights = write_checkpoint(tmp_path / "small.ckpt")
    small = [
        "model=hrnet_tiny",
        "codec=heatmap",
        "size=128x96",
        "model.width=4",
        "model.stem_width=8",
        "model.stage1_width=4",
    ]
    words = ["bench=inference", *small, "bench.repeats=1", "bench.backends=[channels_last]", f"bench.weights={weights}"]
    cfg = compose("bench", words)
    validate(cfg)
    assert len(run("bench", cfg)) == 2
