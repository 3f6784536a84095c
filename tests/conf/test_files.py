"""What every file of conf/ keeps to."""

from compositions import CONF
from omegaconf import OmegaConf

FILES = sorted(CONF.rglob("*.yaml"))


def test_a_file_opens_with_what_it_is_for():
    for file in FILES:
        lines = file.read_text().splitlines()
        first = lines[1] if lines[0] == "# @package _global_" else lines[0]
        assert first.startswith("# "), file
        assert first.rstrip().endswith((".", ")")), file


def test_a_verb_overrides_no_group():
    for file in CONF.glob("*.yaml"):
        groups = [
            str(key) for entry in OmegaConf.load(file).get("defaults", []) if OmegaConf.is_dict(entry) for key in entry
        ]
        assert not [group for group in groups if group.startswith("override")], file  # it would beat the experiment
