"""The documents keep their promises: links lead somewhere, and the commands they quote compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import hrpose
from hrpose.cli import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
FLAGS = {"-m", "--multirun"}


def commands() -> list[str]:
    """Collect the lines `hrpose <verb> ...` of all shell blocks, continued lines joined, comments dropped."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("hrpose "):
                    found.append(" ".join(shlex.split(line, comments=True)))
    return found


def first_of_sweep(override: str) -> str:
    """Keep the first value of a swept key: "a=1,2" -> "a=1"; lists in brackets stay."""
    key, _, value = override.partition("=")
    return override if value.startswith("[") else f"{key}={value.split(',')[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_there_are_commands_to_check():
    assert len(commands()) > 5


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_quoted_command_composes(command):
    _, verb, *words = command.split()
    if any(word in FLAGS for word in words):
        words = [first_of_sweep(word) for word in words if word not in FLAGS]
    assert hrpose.compose(verb, parse(verb, words).overrides).task == verb


@pytest.mark.parametrize("words", re.findall(r"`(\+experiment=[^`]*)`", (ROOT / "docs" / "recipes.md").read_text()))
def test_the_words_of_a_row_of_mmpose_compose(words):
    assert hrpose.compose("fit", parse("fit", words.split()).overrides).rules == "mmpose"


def test_the_readme_lists_the_papers_table():
    readme = (ROOT / "README.md").read_text()
    networks = ("w32", "w48", "res50", "res101", "res152")
    names = [f"{network}_{size}" for network in networks for size in ("256x192", "384x288")]
    assert [name for name in [*names, "hourglass_8_256x192"] if f"| `{name}` |" not in readme] == []
