"""The packages that pip installs: complete, and at work without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONF_FILES = {file.relative_to(ROOT / "conf").as_posix() for file in (ROOT / "conf").rglob("*.yaml")}

pytest.importorskip("hatchling", reason="the development tools are not installed")


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run a command away from the checkout, with nothing but ``path`` added to what Python finds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, folder: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder, cwd=ROOT)
    (package,) = folder.iterdir()
    return package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder into which pip has put the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    run(*pip, "--target", folder, wheel, cwd=folder)
    return folder


def test_the_wheel_holds_the_configuration_the_licence_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.removeprefix("hrpose/conf/") for name in names if name.startswith("hrpose/conf/")} == CONF_FILES
    assert {"hrpose/py.typed", "hrpose/report/page.css", "hydra_plugins/hrpose_optuna.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "scripts", "src", "conf")) for name in names)


def test_the_sdist_holds_what_the_wheel_is_built_from(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"conf/{name}" for name in CONF_FILES} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "src/hrpose/__init__.py", "tests/test_wheel.py"} <= names


def test_the_wheel_finds_its_own_configuration(installed, tmp_path):
    code = "import hrpose; print(hrpose.__file__); print(hrpose.conf_dir())"
    for line in run(sys.executable, "-c", code, cwd=tmp_path, path=installed).splitlines():
        assert Path(line).is_relative_to(installed)


@pytest.mark.parametrize("start", [("-m", "hrpose"), ("-c", "from hrpose.cli import main; main()")], ids=["module", "script"])
def test_the_command_runs_outside_the_checkout(installed, tmp_path, start):
    printed = run(sys.executable, *start, "fit", "+experiment=w32_256x192", "--cfg", "job", cwd=tmp_path, path=installed)
    assert "width: 32" in printed
    assert str(ROOT) not in printed
