"""hrpose export of a bottom-up network: heatmaps and tags of images of any size."""

import json

import numpy as np
import pytest
from small_network import write_bottom_up_checkpoint

from hrpose import PoseEstimator
from hrpose.config import ConfigError, compose
from hrpose.export import ExportedMaps, open_exported
from hrpose.tasks import run

pytestmark = pytest.mark.slow  # recording the network takes a while


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    weights = write_bottom_up_checkpoint(folder / "small.ckpt")
    result = run("export", compose("export", [f"weights='{weights}'", f"paths.run={folder}", f"paths.data={folder}/none"]))
    return weights, result


def test_the_file_is_checked_and_describes_itself(files):
    report = json.loads(files[1].report.read_text())
    assert report["faults"] == []
    assert 0 <= report["largest"] < 1e-4
    opened = open_exported(files[1].file)
    assert isinstance(opened, ExportedMaps)
    assert opened.record.flip_test


def test_the_file_estimates_images_of_any_size(files):
    estimator = PoseEstimator.from_checkpoint(files[1].file)
    for size in ((90, 120), (64, 200)):
        assert len(estimator(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))) > 0


def test_half_precision_is_refused(files, tmp_path):
    overrides = [f"weights='{files[0]}'", f"paths.run={tmp_path}", "precision=fp16", f"paths.data={tmp_path}/none"]
    with pytest.raises(ConfigError, match="precision"):
        run("export", compose("export", overrides))
    assert not list(tmp_path.glob("*.onnx"))
