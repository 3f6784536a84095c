"""What every test shares: quiet threads, the golden numbers, and the real data where it is at hand."""

import gc
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
from hypothesis import HealthCheck, settings

# Compositions and networks make many objects: the garbage collector took 15 % of the suite's time.
gc.set_threshold(100_000, 20, 20)

ROOT = Path(__file__).parents[1]

# Timing never fails a test, and the same tree gives the same verdict everywhere.
CALM = [HealthCheck.too_slow]
settings.register_profile("hrpose", deadline=None, derandomize=True, max_examples=50, suppress_health_check=CALM)
settings.load_profile("hrpose")


def pytest_collection_finish() -> None:
    """Take the libraries and the tests themselves out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def processor() -> None:
    """Use one thread, or as many as OMP_NUM_THREADS says, and fix the instructions of torch's oneDNN.

    oneDNN reads ONEDNN_MAX_CPU_ISA (`make test-processors`) at its first operation. OpenVINO has its own copy of oneDNN, which
    crashes when the limit contradicts the processor that OpenVINO has detected, so it must not see the variable.
    """
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3))
    os.environ.pop("ONEDNN_MAX_CPU_ISA", None)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Numbers that the official code gave; tests/golden/README.md tells how each was made."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images and labels beside the checkout; the test is skipped where there are none."""
    folder = Path(os.environ.get("HRPOSE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HRPOSE_SHARED_DATA to run this test")
    return folder
