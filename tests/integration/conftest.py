"""A few synthetic people, drawn once, and runs of a very small network on them."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from short_run import NO_PICTURES, SMALL

from hrpose.config import compose, validate
from hrpose.synthetic import write_dataset
from processes import run_module


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of COCO with drawn people."""
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=8, num_val=4, image_size=(320, 240))
    return folder


@pytest.fixture
def words(people: Path, tmp_path: Path) -> list[str]:
    """The words of a short run in the test's own folder."""
    return [*SMALL, f"paths.data={people}", f"paths.runs={tmp_path}/runs"]


@pytest.fixture
def fit(words: list[str], tmp_path: Path) -> Callable[..., float]:
    """Call the task of `hrpose fit` in this process; it leaves its files in tmp_path / run."""

    def call(*overrides: str, run: str = "run", pictures: bool = False) -> float:
        given = [word for word in words if not (pictures and word == NO_PICTURES)]
        cfg = compose("fit", [*given, f"paths.run={tmp_path / run}", *overrides])
        validate(cfg)
        # not before the configuration has been found sound: the task brings Lightning in
        from hrpose.tasks.fit import fit as task

        return task(cfg).score

    return call


@pytest.fixture
def hrpose(words: list[str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in the test's own folder."""

    def call(verb: str, *more: str, path: Sequence[Path] = (), pictures: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        given = [word for word in words if not (pictures and word == NO_PICTURES)]
        return run_module("hrpose", verb, *given, *more, cwd=tmp_path, environment=environment)

    return call
