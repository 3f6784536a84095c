"""Check the documents: links have targets, and quoted commands compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import hrpose
from hrpose.cli import parse
from hrpose.config import ConfigError, check, expand_jobs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
COMING_FROM = (ROOT / "docs" / "coming_from.md").read_text()
FLAGS = {"-m", "--multirun"}


def commands() -> list[str]:
    """Collect the lines `hrpose <verb> ...` of all shell blocks, continued lines joined, comments dropped."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("hrpose "):
                    found.append(shlex.join(shlex.split(line, comments=True)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_have_targets(page):
    targets = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_there_are_commands_to_check():
    assert len(commands()) > 5


def sampled(texts):
    """Let every third text run in the fast suite; the others are slow."""
    return [pytest.param(text, marks=pytest.mark.slow if row % 3 else ()) for row, text in enumerate(sorted(set(texts)))]


@pytest.mark.parametrize("command", sampled(commands()))
def test_a_quoted_command_composes(command):
    _, verb, *arguments = shlex.split(command)
    overrides = parse(verb, [argument for argument in arguments if argument not in FLAGS]).overrides
    job = expand_jobs(verb, overrides)[0] if FLAGS.intersection(arguments) else overrides
    assert hrpose.compose(verb, job).task == verb


@pytest.mark.parametrize("arguments", sampled(re.findall(r"`(\+experiment=[^`]*)`", (ROOT / "docs" / "recipes.md").read_text())))
def test_the_arguments_of_a_row_of_mmpose_compose(arguments):
    assert hrpose.compose("fit", parse("fit", arguments.split()).overrides).rules == "mmpose"


def test_source_and_configuration_name_pages_that_exist():
    """Messages, comments and docstrings refer to pages of docs/."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    named = {name for file in files for name in re.findall(r"(?<![\w/])docs/[\w/]+\.md", file.read_text())}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_public_name_is_on_one_page_of_the_reference():
    pages = [page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")]
    shown = [name for page in pages for name in re.findall(r"^::: hrpose\.(\w+)$", page, re.MULTILINE)]
    assert sorted(shown) == sorted(hrpose.__all__)


def test_the_page_of_experiments_lists_the_papers_table():
    page = (ROOT / "docs" / "experiments.md").read_text()
    networks = ("w32", "w48", "res50", "res101", "res152")
    names = [f"{network}_{size}" for network in networks for size in ("256x192", "384x288")]
    assert [name for name in [*names, "hourglass_8_256x192"] if f"| `experiment={name}` |" not in page] == []


@pytest.mark.parametrize("section", re.split(r"^## ", COMING_FROM, flags=re.MULTILINE)[2:], ids=lambda text: text.split()[0])
def test_the_error_for_an_option_of_another_tool_names_the_option_of_the_page(section):
    rows = re.findall(r"^\| `([^`]+=[^`]*)` \| `([^`]+)` \|$", section, re.MULTILINE)
    assert len(rows) > 2
    with pytest.raises(ConfigError) as caught:
        check("fit", [other for other, _ in rows])
    faults = {fault.partition(": ")[0]: fault for fault in caught.value.faults}
    assert [other for other, option in rows if option not in faults[other.partition("=")[0]]] == []


def test_the_version_is_the_same_in_all_files():
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert project
    assert citation
    assert {project[1], citation[1]} == {hrpose.__version__}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
