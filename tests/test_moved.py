"""Names of earlier versions lead to what replaces them."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hrpose.config import ConfigError, check
from hrpose.errors import DataError
from hrpose.moved import MOVED, new_name

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_what_a_name_moved_to_exists_and_is_on_the_page(old, new):
    parent, _, name = new.rpartition(".")
    assert hasattr(import_module(parent), name) or import_module(new)
    assert f"| `{old}` | `{new}` |" in PAGE


@pytest.mark.parametrize(
    "line",
    [
        "from hrpose.data.coco import read_annotations, read_detections",
        "from hrpose.data.errors import DataError",
        "from hrpose.data.images import decode_image, read_image",
        "from hrpose.data.photo_boxes import read_photo_boxes",
        "from hrpose.data.synthetic import write_dataset",
        "from hrpose.backends import open_exported",
    ],
)
def test_an_old_import_works_and_warns(line):
    done = subprocess.run([sys.executable, "-W", "default", "-c", line], capture_output=True, text=True, check=True)
    old = line.split()[1]
    assert f"DeprecationWarning: {old} is now {MOVED[old]}." in done.stderr


def test_what_is_imported_by_an_old_name_is_the_same_object():
    with pytest.warns(DeprecationWarning, match="is now hrpose.errors"):
        old = import_module("hrpose.data.errors")
    assert old.DataError is DataError
    with pytest.raises(ModuleNotFoundError):
        import_module("hrpose.data.nothing")


def test_names_below_a_module_move_with_it():
    assert new_name("hrpose.data.synthetic.write_dataset") == "hrpose.synthetic.write_dataset"
    assert new_name("hrpose.data.coco_rows") is None
    assert new_name("hrpose.data.datamodule.PoseDataModule") is None


def test_an_old_target_is_refused_with_its_new_name(tmp_path):
    with pytest.raises(ConfigError, match=r"prepare\._target_: .* is now hrpose\.synthetic\.write_dataset"):
        check("fit", ["prepare._target_=hrpose.data.synthetic.write_dataset", f"paths.run={tmp_path}"])
