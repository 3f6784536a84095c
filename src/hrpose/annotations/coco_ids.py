"""Replace ids of a COCO file that are text or missing by integers.

A row that needs no change stays the same object, so a file with integer ids costs a look at their types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrpose.annotations.coco_rows import Row, list_first
from hrpose.errors import DataError


def unify_ids(content: Mapping[str, list[Row]], file: Path) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the rows of a COCO file with integer ids.

    Ids that are text become the integer that they spell; if one of them spells none, all of the section are numbered in the
    order of the file. Annotations without `id` are numbered.

    Returns:
        The sections, and what was assumed, a phrase for each.

    Raises:
        DataError: if ids that are text and ids that are integers spell the same number.
    """
    notes: list[str] = []
    images, categories, rows = content["images"], content["categories"], content["annotations"]
    images, rows = _unify_links(images, rows, "images", "image_id", file, notes)
    categories, rows = _unify_links(categories, rows, "categories", "category_id", file, notes)
    rows = _unify_own(rows, file, notes)
    return {**content, "images": images, "categories": categories, "annotations": rows}, notes


def _unify_links(
    entries: list[Row], rows: list[Row], section: str, key: str, file: Path, notes: list[str]
) -> tuple[list[Row], list[Row]]:
    """Replace ids that are text, in a section and where annotations refer to it."""
    if not any(type(row.get("id")) is str for row in entries) and not any(type(row.get(key)) is str for row in rows):
        return entries, rows
    new_ids = _new_ids([row.get("id") for row in entries], section, file, notes)
    renamed = [{**row, "id": new} if "id" in row else row for row, new in zip(entries, new_ids, strict=True)]
    texts = {row.get("id"): new for row, new in zip(entries, new_ids, strict=True) if type(row.get("id")) in (int, str)}
    texts |= {str(old): new for old, new in texts.items() if type(old) is int}  # 1 and "1" are the same image
    return renamed, [{**row, key: _linked(row[key], texts)} if key in row else row for row in rows]


def _linked(value: Any, texts: Mapping[Any, Any]) -> Any:
    return texts.get(value, value) if type(value) in (int, str) else value


def _unify_own(rows: list[Row], file: Path, notes: list[str]) -> list[Row]:
    """Number annotations that have no id, and replace ids that are text."""
    ids = [row.get("id") for row in rows]
    if any(type(value) is str for value in ids):
        ids = _new_ids(ids, "annotations", file, notes)
        rows = [{**row, "id": new} if "id" in row else row for row, new in zip(rows, ids, strict=True)]
    missing = [place for place, value in enumerate(ids) if value is None]
    if not missing:
        return rows
    start = 1 + max((value for value in ids if isinstance(value, int)), default=0)
    numbered = dict(zip(missing, range(start, start + len(missing)), strict=True))
    notes.append(f"{len(missing)} of {len(rows)} annotations have no `id` and are numbered from {start}")
    return [{**row, "id": numbered[place]} if place in numbered else row for place, row in enumerate(rows)]


def _new_ids(ids: Sequence[Any], section: str, file: Path, notes: list[str]) -> list[Any]:
    """Return an integer for each id that is text: the one it spells, or else numbers from 1 for all."""
    texts = [value for value in ids if type(value) is str]
    spelled = {text: int(text) for text in texts if text.isascii() and text.isdecimal() and str(int(text[:20])) == text}
    if len(spelled) == len(set(texts)):
        both = [value for value in ids if type(value) is int and value in set(spelled.values())]
        if both:
            raise DataError(
                f"{file}: expected every `id` of `{section}` to differ, but {list_first(both)} stand there both as a number and "
                "as text. Number the entries anew."
            )
        return [spelled.get(value, value) if type(value) is str else value for value in ids]
    numbers: dict[Any, int] = {}
    for value in ids:
        if type(value) in (int, str):
            numbers.setdefault(value, len(numbers) + 1)
    examples = list_first([repr(text) for text in texts if text not in spelled], 2)
    notes.append(f"the ids of {len(numbers)} {section} are text ({examples}) and are numbered from 1 in their order")
    return [numbers.get(value, value) if type(value) in (int, str) else value for value in ids]
