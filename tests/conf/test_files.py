"""What every file of conf/ keeps to."""

from compositions import CONF


def test_a_file_opens_with_what_it_is_for():
    for file in sorted(CONF.rglob("*.yaml")):
        lines = file.read_text().splitlines()
        first = lines[1] if lines[0] == "# @package _global_" else lines[0]
        assert first.startswith("# "), file
        assert first.rstrip().endswith((".", ")")), file


def test_a_verb_overrides_no_group():
    for file in CONF.glob("*.yaml"):
        assert "- override" not in file.read_text(), file  # it would beat the experiment in silence
