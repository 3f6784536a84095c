"""Choose the categories of a COCO file, and the annotations that belong to them."""

import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import Row, check_unique, integers
from hrpose.errors import DataError

_MOST_LISTED = 12  # categories in a message


def choose_category(categories: Sequence[Row], name: str | None, file: Path) -> Row:
    """Find the category of a name, or the one that has keypoints.

    Raises:
        DataError: if there is none, or more than one to choose from.
    """
    return choose_categories(categories, name, None, file)[0]


def choose_categories(
    categories: Sequence[Row], wanted: str | Sequence[str] | None, rows: Sequence[Row] | None, file: Path
) -> list[Row]:
    """Find categories by name.

    Args:
        categories: of the file.
        wanted: a name or several; "all" for all categories that have keypoints; None for the one that has keypoints, or "person".
        rows: the annotations, which the message counts; None if there are none to count.
        file: of the rows.

    Raises:
        DataError: if there are none, or too many to choose from, or several without the same keypoints.
    """
    integers(categories, "id", "category", file)
    names = [entry.get("name") for entry in categories]
    named = [entry for entry in categories if entry.get("keypoints")] or list(categories)
    if wanted is None:
        persons = [entry for entry in named if entry.get("name") == "person"]
        chosen = persons if len(named) > 1 and len(persons) == 1 else named
        if len(chosen) != 1:
            raise DataError(f"{file}: expected one category with `keypoints`. {_list_categories(categories, rows)}")
        return chosen
    if wanted == "all" and wanted not in names:
        chosen = named
    else:
        chosen = []
        for name in [wanted] if isinstance(wanted, str) else wanted:
            found = [entry for entry in categories if entry.get("name") == name]
            if len(found) != 1:
                raise DataError(
                    f"{file}: expected one category named {name!r}, but found {len(found)}. {_list_categories(categories, rows)}"
                )
            chosen += found
    if not chosen or len({tuple(entry.get("keypoints") or ()) for entry in chosen}) > 1:
        raise DataError(
            f"{file}: expected categories with the same keypoints in the same order. {_list_categories(categories, rows)}"
        )
    return chosen


def select_objects(
    rows: list[Row], chosen: Sequence[Row], categories: list[Row], image_ids: NDArray[np.int64], file: Path
) -> tuple[list[Row], NDArray[np.int32]]:
    """Check how annotations refer to images and categories; keep those of the chosen categories, image by image.

    Returns:
        The rows, and the index of the image of each, (M,).

    Raises:
        DataError: if an id is missing or repeats, or refers to nothing.
    """
    ids = integers(rows, "id", "annotation", file)
    check_unique(ids, "annotation", file)
    links = {
        "image_id": ("images", {image_id: index for index, image_id in enumerate(image_ids.tolist())}),
        "category_id": ("categories", {entry["id"]: index for index, entry in enumerate(categories)}),
    }
    places = {}
    for key, (section, index_of) in links.items():
        values = integers(rows, key, "annotation", file).tolist()
        places[key] = np.array([index_of.get(value, -1) for value in values], np.int32)
        for place in np.flatnonzero(places[key] < 0)[:1]:
            raise DataError(
                f"{file}: expected `{key}` of annotation {ids[place]} to be the `id` of an entry of `{section}`, but got "
                f"{values[place]}, which none of them has. Add the entry, or remove the annotation."
            )
    image_index = places["image_id"]
    own_places = [place for place, entry in enumerate(categories) if any(entry is one for one in chosen)]
    own = np.flatnonzero(np.isin(places["category_id"], own_places))
    order = own[np.argsort(image_index[own], kind="stable")]
    return [rows[place] for place in order.tolist()], image_index[order]


def find_other_categories(content: Mapping[str, list[Row]], own_ids: Collection[int]) -> dict[str, NDArray[np.int64]]:
    """Collect the ids of annotations that have keypoints but belong to another category, by the name of the category."""
    names = {entry["id"]: str(entry.get("name")) for entry in content["categories"] if entry["id"] not in own_ids}
    found: dict[str, list[int]] = {}
    for row in content["annotations"] if names else []:
        if row["category_id"] in names and any(row.get("keypoints") or ()):
            found.setdefault(names[row["category_id"]], []).append(row["id"])
    return {name: np.array(ids, np.int64) for name, ids in found.items()}


def _list_categories(categories: Sequence[Row], rows: Sequence[Row] | None) -> str:
    """List the categories with the number of keypoints and of instances that have some, and the argument that takes each."""
    if not categories:
        return "It has no `categories`: none to choose from. Add an entry with `id`, `name` and `keypoints`."
    counts: Counter[Any] = Counter()
    lengths: dict[Any, int] = {}
    for row in rows or ():
        values, owner = row.get("keypoints"), row.get("category_id")
        if isinstance(values, list | array.array) and len(values) and isinstance(owner, int):
            counts[owner] += 1
            lengths[owner] = max(lengths.get(owner, 0), len(values) // 3)
    lines = ["Its categories, each with the argument of fit and test that takes it (`category` elsewhere):"]
    for entry in categories[:_MOST_LISTED]:
        number = len(entry.get("keypoints") or ()) or lengths.get(entry["id"], 0)
        instances = "" if rows is None else f", {counts[entry['id']]} instances with keypoints"
        lines.append(f"  {entry.get('name')!r}: {number} keypoints{instances}: {_argument(entry.get('name'))}")
    if len(categories) > _MOST_LISTED:
        lines.append(f"  ... and {len(categories) - _MOST_LISTED} more")
    if len(categories) > 1 and len({repr(entry["keypoints"]) for entry in categories if entry.get("keypoints")}) == 1:
        lines.append("  all that have keypoints, as one: data.category=all")
    if rows is not None and not rows:
        lines.append("The file has no annotations.")
    elif rows is not None and not counts:
        lines.append(
            "No annotation has keypoints: export them as one skeleton with several keypoints, not as single points."
        )
    return "\n".join(lines)


def _argument(name: Any) -> str:
    text = str(name)
    plain = text.isascii() and text.replace("_", "").isalnum() and not text[:1].isdigit()
    return f"data.category={text}" if plain else f"'data.category=\"{text}\"'"
