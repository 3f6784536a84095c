"""Names of earlier versions lead to what replaces them."""

from importlib import import_module
from pathlib import Path

import pytest

from hrpose.config import ConfigError, check
from hrpose.config.moved import MOVED, new_name

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_what_a_name_moved_to_exists_and_the_old_name_is_gone(old, new):
    parent, _, name = new.rpartition(".")
    assert hasattr(import_module(parent), name) or import_module(new)
    with pytest.raises((ImportError, AttributeError)):
        getattr(import_module(old.rpartition(".")[0]), old.rpartition(".")[2])
    assert f"| `{old}` | `{new}` |" in PAGE


def test_names_below_a_module_move_with_it():
    assert new_name("hrpose.data.synthetic.write_dataset") == "hrpose.synthetic.write_dataset"
    assert new_name("hrpose.data.coco_rows") is None
    assert new_name("hrpose.data.datamodule.PoseDataModule") is None


def test_an_old_target_is_refused_with_its_new_name(tmp_path):
    with pytest.raises(ConfigError, match=r"prepare\._target_: .* is now hrpose\.synthetic\.write_dataset"):
        check("fit", ["prepare._target_=hrpose.data.synthetic.write_dataset", f"paths.run={tmp_path}"])
