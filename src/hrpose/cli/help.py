"""`hrpose <verb> --help`: the keys of a verb with defaults and comments, its groups, and examples.

The files of conf/ are read as text, because Hydra takes ten times as long and drops their comments.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import TypeAlias

from hrpose.cli.arguments import VERBS, Command
from hrpose.files import conf_dir

EXAMPLES: Mapping[str, Sequence[str]] = {
    "fit": (
        "hrpose fit",
        "hrpose fit experiment=w32_256x192 paths.data=datasets/coco weights=hrnet_w32",
        "hrpose fit -m codec=heatmap,dark,udp optim.lr=1e-3,5e-4",
    ),
    "test": (
        "hrpose test ckpt_path=last report_images=true",
        "hrpose test experiment=w32_256x192 paths.data=datasets/coco weights=pose_hrnet_w32_256x192.pth",
        "hrpose test experiment=w32_256x192 paths.data=datasets/coco ckpt_path=last data.val_boxes=[gt,det]",
    ),
    "predict": (
        "hrpose predict source='images/*.jpg' ckpt_path=last",
        "hrpose predict source=walk.mp4 weights=best.ckpt smoothing=none",
        "hrpose predict source=camera weights=best.ckpt detector=rtdetr detect_every=5",
    ),
    "export": (
        "hrpose export ckpt_path=last",
        "hrpose export format=openvino precision=int8 weights=best.ckpt",
        "hrpose export weights=pose_hrnet_w32_256x192.pth codec=heatmap output=w32.onnx",
    ),
    "evaluate": (
        "hrpose evaluate annotations=gt.json results=results.json",
        "hrpose evaluate annotations=gt.json results=results.json protocol=crowdpose",
        "hrpose evaluate annotations=gt.json results=results.json num_samples=0",
    ),
    "convert": (
        "hrpose convert mice/data.yaml",
        "hrpose convert mice/data.yaml 'flip_pairs=[[left_ear,right_ear]]' split=0.2 split_by=image",
        "hrpose convert poses.json to=labelme images=images",
    ),
    "doctor": (
        "hrpose doctor data.train_annotations=train.json data.train_images=images",
        "hrpose doctor data=coco paths.data=datasets/coco size=256x192 images=false",
        "hrpose doctor",
    ),
    "compare": (
        "hrpose compare runs/a/2026-01-01_12-00-00 runs/b/2026-01-02_12-00-00",
        "hrpose compare a/report.json b/report.json boxes=det",
        "hrpose compare a.json b.json annotations=gt.json",
    ),
}
HELP_FLAGS = ("-h", "--help")
_WIDTH = 100  # maximum number of columns
_LEFT = 42  # columns of a key and its default
_LINE = re.compile(r"^( *)(?:- )?/?([\w/.]+)(?::(?: +((?!#)\S.*?))?)?(?: +# *(.*))?$")

_BOLD, _CYAN = "1", "36"  # of the terminal

Entry: TypeAlias = tuple[str, str, str]  # name, value as the file has it, comment
Section: TypeAlias = tuple[str, list[tuple[str, str]]]  # title, rows of two columns


def print_help(verb: str, arguments: Sequence[str] = ()) -> None:
    """Print the keys and groups of a verb, or the options of a group and the keys of an option.

    Args:
        verb: one of `VERBS`.
        arguments: those after the verb. After `--help`, `group` or `group=option` selects a group; `--config-dir` adds the
            options of a folder; others are ignored.
    """
    groups, keys = read_verb(verb)
    own = Command(verb, tuple(arguments), ()).config_dir
    folders = [conf_dir(), *([Path(own)] if own else [])]
    defaults = {name: value for name, value, _ in groups}
    after_flag = dropwhile(lambda text: text not in HELP_FLAGS, arguments)
    if topics := [text.partition("=") for text in after_flag if text.partition("=")[0] in defaults]:
        for group, _, option in topics:
            _print_sections(group_sections(folders, group, option or defaults[group]))
        return
    required = "".join(f" {name}=..." for name, value, _ in keys if value == "???")
    for line in textwrap.wrap(f"hrpose {verb}: {VERBS[verb]}", _columns()):
        print(_style(line, _BOLD))
    print(f"\n  hrpose {verb}{required} [key=value | group=option | flag] ...\n")
    _print_sections(_verb_sections(folders, verb))
    print(f"hrpose {verb} --help <group>           the options of a group and the keys of its default")
    print(f"hrpose {verb} --help <group>=<option>  the keys of an option")
    print("hrpose --help lists the flags.")


def read_verb(verb: str) -> tuple[list[Entry], list[Entry]]:
    """Return the groups and the keys of a verb, each as name, default and comment; those of included files come first."""
    file, groups, keys = conf_dir() / f"{verb}.yaml", [], []
    for name, value, comment in _defaults(file):
        if value is None and name != "_self_":
            included_groups, included_keys = read_verb(name)
            groups += included_groups
            keys += included_keys
        elif value is not None and name != "hydra":
            groups.append((name, value, comment))
    keys += [entry for entry in _keys(file) if "." not in entry[0] and entry[0] != "task" and entry[1]]
    return _last_of_each(groups), _last_of_each(keys)


def _last_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """Keep the last entry of each name, at the place of the first."""
    return list({entry[0]: entry for entry in entries}.values())


def _verb_sections(folders: Sequence[Path], verb: str) -> Iterator[Section]:
    groups, keys = read_verb(verb)
    yield "Keys and their defaults", [_show(entry) for entry in keys]
    rows = []
    for name, value, comment in groups:
        options = ", ".join(stem for folder in folders for stem in sorted(file.stem for file in (folder / name).glob("*.yaml")))
        rows.append((f"{name}={value}", "\n".join(text for text in (comment, options) if text not in ("", value))))
    if rows:
        yield "Groups, their defaults and options", rows
    yield "Examples", [(example, "") for example in EXAMPLES[verb]]


def group_sections(folders: Sequence[Path], group: str, option: str) -> Iterator[Section]:
    """Yield the options of a group, and the keys of one of them."""
    files = {file.stem: file for folder in folders for file in sorted((folder / group).glob("*.yaml"))}
    yield f"Options of {group}", [(f"{group}={name}", _purpose(file)) for name, file in files.items()]
    if keys := [_show(entry) for entry in _option_keys(files, group, option)]:
        yield f"Keys of {group}={option}", keys


def _option_keys(files: Mapping[str, Path], group: str, option: str) -> list[Entry]:
    """Return the keys of an option that have a value, including those of included options."""
    if option not in files:
        return []
    keys: dict[str, Entry] = {}
    for name, value, _ in _defaults(files[option]):
        if value is None and name != "_self_":
            keys |= {entry[0]: entry for entry in _option_keys(files, group, name)}
    prefix = "" if "@package _global_" in files[option].read_text() else f"{group.replace('/', '.')}."
    for name, value, comment in _keys(files[option]):
        if value == "null":
            keys = {key: entry for key, entry in keys.items() if not key.startswith(f"{prefix}{name}.")}
        included = keys.get(f"{prefix}{name}", ("", "", ""))
        keys[f"{prefix}{name}"] = (f"{prefix}{name}", value, comment or included[2])
    return [entry for entry in keys.values() if entry[1] and not entry[0].rpartition(".")[2].startswith("_")]


def _print_sections(sections: Iterable[Section]) -> None:
    """Print titles and rows; the right column is wrapped, and starts on the next line after a long left one."""
    width = _columns()
    for title, rows in sections:
        print(_style(title, _BOLD))
        lengths = [len(left) for left, right in rows if right]
        column = max((length for length in lengths if length <= _LEFT), default=_LEFT) + 4
        for left, right in rows:
            texts = [line for text in right.split("\n") for line in textwrap.wrap(text, max(width - column, 20)) or [""]]
            below = len(left) > column - 4 and right
            first = "" if below else f"{' ' * (column - 2 - len(left))}{texts[0]}"
            print(f"  {_style(left, _CYAN)}{first}".rstrip())
            for text in texts if below else texts[1:]:
                print(f"{' ' * column}{text}")
        print()


def _columns() -> int:
    return min(_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns)


def _style(text: str, code: str) -> str:
    """Colour a text for a terminal, unless NO_COLOR is set (no-color.org)."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def _show(entry: Entry) -> tuple[str, str]:
    name, value, comment = entry
    return (name, f"required: {comment}") if value == "???" else (f"{name}={value}", comment)


def _purpose(file: Path) -> str:
    """Return the first comment of a file that is not its package."""
    comments = (line[2:] for line in file.read_text().splitlines() if line.startswith("# "))
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def _defaults(file: Path) -> Iterator[tuple[str, str | None, str]]:
    """Read the defaults list: group, option and comment; the option of an included file is None."""
    inside = False
    for line in file.read_text().splitlines():
        inside = line == "defaults:" or (inside and line.startswith("  "))
        match = _LINE.match(line) if inside and line != "defaults:" else None
        if match and not line.lstrip().startswith("- override "):
            yield match[2], match[3], match[4] or ""


def _keys(file: Path) -> Iterator[Entry]:
    """Read the keys with their full names; a key of nested keys has no value."""
    above: list[tuple[int, str]] = []
    for line in file.read_text().splitlines():
        match = _LINE.match(line)
        if match is None or line.lstrip().startswith("- "):
            continue
        indent, name, value, comment = match.groups(default="")
        above = [*((column, key) for column, key in above if column < len(indent)), (len(indent), name)]
        if name != "defaults":
            yield ".".join(key for _, key in above), value, comment
