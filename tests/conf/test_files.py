"""What every file of conf/ keeps to."""

import pytest
from compositions import CONF

FILES = sorted(CONF.rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONF).as_posix())
def test_a_file_opens_with_what_it_is_for(file):
    lines = file.read_text().splitlines()
    first = lines[1] if lines[0] == "# @package _global_" else lines[0]
    assert first.startswith("# ")
    assert first.rstrip().endswith((".", ")"))


@pytest.mark.parametrize("file", CONF.glob("*.yaml"), ids=lambda file: file.name)
def test_a_verb_overrides_no_group(file):
    assert "- override" not in file.read_text()  # it would beat the experiment in silence
