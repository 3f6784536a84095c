"""Videos of drawn people."""

import pytest

from hrpose.synthetic import Frame, draw_walk


@pytest.fixture(scope="session")
def films() -> list[list[Frame]]:
    """Videos of 2.4 seconds with two or three people who cross."""
    return [list(draw_walk(num_frames=60, num_people=2 + seed % 2, image_size=(192, 144), seed=seed)) for seed in range(5)]
