"""Hooks of MkDocs: generated pages, and links from docs/ to other files of the repository.

The home page is README.md. The pages of the command line and the configuration contain the output of `--help`. Notebooks are
shown with their outputs.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hrpose.cli import main
from hrpose.cli.arguments import VERBS
from hrpose.cli.help import group_sections, print_help, read_verb
from hrpose.files import conf_dir

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
SEARCH_BOOSTS = {"tutorial.md": 2, "changelog.md": 0.2}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the pictures of the notebooks."""
    pages = {page: relink((ROOT / name).read_text(), lambda target: from_root(target)) for name, page in PAGES.items()}
    contents: dict[str, str | bytes] = {**pages, "install.md": section(pages["index.md"], "Install")}
    contents["reference/command_line.md"] = command_line()
    contents["reference/configuration.md"] = configuration()
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        contents |= notebook(file)
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links to other files of the repository by links to their pages on the site, or by text. Set the search boost."""
    page.meta["search"] = {"boost": SEARCH_BOOSTS.get(page.file.src_uri, 1)}
    above = "../" * (page.file.src_uri.count("/") + 1)
    return relink(markdown, lambda target: from_root(target[len(above) :], above[3:]) if target.startswith(above) else target)


def section(markdown: str, heading: str) -> str:
    """Return a section of a page as a page."""
    return f"# {heading}\n" + markdown.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def from_root(target: str, up: str = "") -> str | None:
    """Return the page of the site for a path from the root of the repository; None if there is none."""
    path, _, anchor = target.partition("#")
    anchor = f"#{anchor}" if anchor else ""
    if "://" in target or not path:
        return target
    if path.startswith("docs/"):
        return up + path[len("docs/") :] + anchor
    if path.endswith(".ipynb"):
        return up + path.removesuffix(".ipynb") + ".md"
    return up + PAGES[path] + anchor if path in PAGES else None


def relink(markdown: str, target_of: Callable[[str], str | None]) -> str:
    """Replace the target of each link; a link without a target becomes its text."""

    def replace(match: re.Match[str]) -> str:
        target = target_of(match[3])
        return match[2] if target is None else f"{match[1]}[{match[2]}]({target})"

    return LINK.sub(replace, markdown)


def command_line() -> str:
    """Return a page with what `hrpose --help` and the help of each verb print."""
    lines = [
        "# Command line",
        "",
        "The output of `--help` for each command. [Configuration keys](configuration.md) lists the keys of each group.",
    ]
    for verb in ("", *VERBS):
        lines += ["", f"## hrpose {verb}", "", "```text", help_of(verb), "```"]
    return "\n".join(lines) + "\n"


def help_of(verb: str) -> str:
    """Return the help of a verb, or of the command if there is none."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print_help(verb) if verb else main(["--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return printed.getvalue().rstrip()


def configuration() -> str:
    """Return a page with the keys of each verb, and the options of each group with their keys."""
    lines = [
        "# Configuration keys",
        "",
        "All keys of `conf/` with their defaults, as `hrpose <verb> --help` prints them. Set a key with `key=value`, and choose "
        "an option of a group with `group=option`.",
    ]
    comments: dict[str, str] = {}
    for verb, purpose in VERBS.items():
        groups, keys = read_verb(verb)
        comments |= {group: comment for group, _, comment in groups if not comments.get(group)}
        links = ", ".join(f"[`{group}={option}`](#{anchor(group)})" for group, option, _ in groups)
        lines += ["", f"## {verb}", "", sentence(purpose), "", *table(keys)]
        lines += ["", f"Groups: {links}."] if links else []
    for group, comment in sorted(comments.items()):
        lines += ["", f"## Group {group} {{#{anchor(group)}}}", "", sentence(comment)]
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            (_, options), *keys_of_option = group_sections([conf_dir()], group, file.stem)
            lines += ["", f"### {group}={file.stem}", "", markdown_of(dict(options)[f"{group}={file.stem}"])]
            if keys_of_option and group != "experiment":  # an experiment sets keys of the groups
                lines += ["", *table((*row[0].partition("=")[::2], row[1]) for row in keys_of_option[0][1])]
    return "\n".join(lines) + "\n"


def anchor(group: str) -> str:
    """Return the anchor of a group."""
    return f"group-{group.replace('/', '-')}"


def sentence(text: str) -> str:
    """Return a comment as a sentence."""
    return markdown_of(f"{text[0].upper()}{text[1:]}.") if text else ""


def table(keys: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the lines of a table of keys, each with its default and its comment."""
    yield from ("| key | default | meaning |", "|---|---|---|")
    for name, value, comment in keys:
        default = "required" if value in ("", "???") else f"`{value}`".replace("|", "&#124;")
        yield f"| `{name}` | {default} | {markdown_of(comment.removeprefix('required: '))} |"


def markdown_of(comment: str) -> str:
    """Return a comment as Markdown, with links to the pages that it names."""
    text = re.sub(r"[|<>*_\[\]]", lambda match: f"&#{ord(match[0])};", " ".join(comment.split()))
    return re.sub(r"docs/([\w&#;]+)\.md", lambda match: f"[{match[0]}](../{html.unescape(match[1])}.md)", text)


def notebook(file: Path) -> dict[str, str | bytes]:
    """Return the page of a notebook, and its pictures, by their paths in the site."""
    contents: dict[str, str | bytes] = {}
    parts = []
    for cell in json.loads(file.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(relink(source, lambda target: from_root(target[3:], "../") if target.startswith("../") else target))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            kind = next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)
            if kind:
                name = f"notebooks/{file.stem}_{len(contents)}.{kind[6:]}"
                contents[name] = base64.b64decode("".join(data[kind]))
                parts.append(f"![Output of the cell above]({Path(name).name})")
            elif text := "".join(output.get("text", data.get("text/plain", ""))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    contents[f"notebooks/{file.stem}.md"] = "\n\n".join(parts) + "\n"
    return contents
