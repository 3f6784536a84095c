"""The benchmark of the data path: what it compares is comparable."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_coco import CODEC, datamodule, write_dataset

from hrpose.data.benchmark import _reference_target, time_samples


@pytest.fixture
def data(tmp_path: Path):
    data = datamodule(write_dataset(tmp_path))
    data.setup("fit")
    return data


def test_stages_add_up_to_the_total(data) -> None:
    times = time_samples(data, 20, batch_size=8)
    for side in (times.hrpose, times.reference):
        stages = [ms for stage, ms in side.items() if stage not in ("total", "device")]
        assert 0 < sum(stages) <= side["total"] * 1.001
    assert 4 / 8 <= times.photos <= 1
    assert times.ratio > 0


def test_reference_draws_the_same_heatmaps() -> None:
    rng = np.random.default_rng(0)
    keypoints, visibility = rng.uniform(0, 60, (17, 2)), rng.integers(0, 3, 17)
    target, weight = _reference_target(keypoints, visibility, CODEC.input_size)
    expected, expected_weight = CODEC.encode(torch.tensor(keypoints)[None].float(), torch.tensor(visibility)[None])
    torch.testing.assert_close(target, expected[0])
    torch.testing.assert_close(weight, expected_weight[0])


def test_threads_are_given_back(data) -> None:
    before = torch.get_num_threads()
    time_samples(data, 4)
    assert torch.get_num_threads() == before
