"""Mutated files and arguments give a result or one clear error; `run.py` calls the same with any number of inputs."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from entry_points import ENTRY_POINTS, call  # noqa: E402 - beside this file

from hrpose.media.images import quiet_decoders  # noqa: E402

NUM_INPUTS = {"stored_config": 40, "labels": 200}  # of the slower ones


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_mutated_input_gives_a_result_or_a_clear_error(name, tmp_path):
    faults = {}
    for seed in range(NUM_INPUTS.get(name, 500)):
        folder = tmp_path / f"fuzz_{seed}"
        folder.mkdir()
        with quiet_decoders():
            fault = call(name, seed, folder)
        if fault is not None:
            faults[seed] = fault
    assert faults == {}
