"""Names of earlier versions and their replacements."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from omegaconf import open_dict

from hrpose import moved
from hrpose.cli import VERBS, main
from hrpose.config import ConfigError, check, compose, conf_dir, validate
from hrpose.errors import DataError
from hrpose.moved import GONE, GONE_DEFAULTS, MOVED, new_name

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()


def test_new_names_exist_and_are_on_the_page():
    for old, new in MOVED.items():
        parent, _, name = new.rpartition(".")
        assert hasattr(import_module(parent), name) or import_module(new)
        assert f"| `{old}` | `{new}` |" in PAGE


def test_an_old_import_works_and_warns():
    lines = [
        "from hrpose.data.coco import read_annotations, read_detections",
        "from hrpose.data.errors import DataError",
        "from hrpose.data.images import decode_image, read_image",
        "from hrpose.data.photo_boxes import read_photo_boxes",
        "from hrpose.data.synthetic import write_dataset",
        "from hrpose.backends import open_exported",
    ]
    command = [sys.executable, "-W", "default", "-c", "; ".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for old in (line.split()[1] for line in lines):
        assert f"DeprecationWarning: {old} is now {MOVED[old]}." in done.stderr


def test_an_old_name_imports_the_same_object():
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
    with pytest.raises(ConfigError, match=r"prepare\._target_.*hrpose\.synthetic\.write_dataset"):
        check("fit", ["prepare._target_=hrpose.data.synthetic.write_dataset", f"paths.run={tmp_path}"])


def test_removed_names_are_on_the_page():
    rows = re.findall(r"^\| (.*) \| (.*) \|$", PAGE.split("## Verbs, experiments, options and keys")[1].replace("`", ""), re.M)
    assert rows[1:] == list(GONE.items())


def test_removed_names_do_not_exist_and_their_replacements_do():
    for old, new in GONE.items():
        group, _, option = old.partition("=")
        assert not (conf_dir() / group / f"{option}.yaml").is_file(), old
        assert old.removeprefix("hrpose ") not in VERBS, old
        for word in new.split():
            group, equals, option = word.partition("=")
            if equals and (conf_dir() / group).is_dir():
                assert (conf_dir() / group / f"{option}.yaml").is_file(), new


@pytest.fixture
def gone(monkeypatch):
    """Return some entries of the table."""
    table = {
        "model=old_net": "model=hrnet_w32 seed=1",
        "old_key": "seed",
        "schedule_interval=era": "schedule_interval=epoch",
        "hrpose rehearse": "make bench",
    }
    monkeypatch.setattr(moved, "GONE", table)
    return table


@pytest.mark.parametrize(
    ("override", "key", "old"),
    [
        ("model=old_net", "model", "model=old_net"),
        ("old_key=3", "old_key", "old_key"),
        ("+old_key=3", "old_key", "old_key"),
        ("schedule_interval=era", "schedule_interval", "schedule_interval=era"),
    ],
)
def test_removed_names_are_refused_with_their_replacements(gone, override, key, old):
    with pytest.raises(ConfigError) as caught:
        check("fit", [override])
    (fault,) = caught.value.faults
    assert fault.startswith(f"{key}: ")
    assert f"Use {gone[old]}." in fault


def test_a_removed_verb_is_refused_with_its_replacement(gone, capsys):
    assert main(["rehearse"]) == 2
    assert f"Use {gone['hrpose rehearse']}." in capsys.readouterr().err


def test_a_stored_configuration_may_have_a_removed_key_with_its_default(gone, monkeypatch):
    monkeypatch.setitem(GONE_DEFAULTS, "old_key", 5)
    cfg = compose("fit")
    with open_dict(cfg):
        cfg.old_key = 5
    validate(cfg)
    cfg.old_key = 6
    with pytest.raises(ConfigError, match=r"^old_key: "):
        validate(cfg)
