"""COCO keypoint files as a source: one file is divided into training and validation, and nothing else of it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrpose.annotations.converters.source import MADE_BY, Source, wrong
from hrpose.annotations.converters.split import split_images
from hrpose.annotations.converters.write import (
    NO_VALIDATION,
    SPLITS,
    Conversion,
    Target,
    check_free,
    make_command,
)
from hrpose.errors import DataError
from hrpose.files import write_json

_SECTIONS = ("images", "annotations", "categories")
_VIDEO_KEYS = ("video_id", "vid_id")


def recognise(source: Source) -> bool:
    """Check for a JSON file with the three sections of COCO."""
    content = source.first_json if source.path.is_file() else None
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in _SECTIONS)


def divide(source: Source, target: Target, images: Path | None) -> Conversion:
    """Write train.json and val.json with the images of a COCO file and their annotations, unchanged.

    Args:
        source: the file.
        target: `category`, `flip_pairs` and `bbox_margin` must be None: `fit` has keys for them.
        images: folder of the images; None looks beside the file.

    Raises:
        DataError: if an entry has no file name or id, an option cannot be used, or a file is in the way.
    """
    _check_options(target)
    content, file = source.first_json, source.path
    names = [_file_name(row, place, file) for place, row in enumerate(content["images"])]
    videos = next(
        (_videos(content["images"], key) for key in _VIDEO_KEYS if key in (content["images"] or [{}])[0]), None
    )
    splits, how = split_images(
        names, [None] * len(names), share=target.split, by=target.split_by, seed=target.seed, videos=videos
    )
    split_of = {str(row["id"]): split for row, split in zip(content["images"], splits, strict=True)}
    orphan = next((row for row in content["annotations"] if str(row.get("image_id")) not in split_of), None)
    if orphan is not None:
        found = f"image_id {orphan.get('image_id')}"
        raise wrong(f"{file}, annotation {orphan.get('id')}", "its image under `images`", found)
    notes = [how] if "val" in splits else [how, NO_VALIDATION]
    files, counts = {}, {}
    kept = {name: value for name, value in content.items() if name != "info"}
    for split in [name for name in SPLITS if name in splits]:
        rows = [row for row, name in zip(content["images"], splits, strict=True) if name == split]
        annotations = [row for row in content["annotations"] if split_of[str(row["image_id"])] == split]
        info = {"description": f"{MADE_BY} {file.name} (format=coco)", "split": split, "notes": notes}
        info |= {"source_info": content["info"]} if "info" in content else {}
        files[split] = (target.out or source.folder) / f"{split}.json"
        counts[split] = _count(rows, annotations, content["categories"])
        check_free(files[split])
        write_json(files[split], {"info": info, **kept, "images": rows, "annotations": annotations})
    folder = images or _find_images(source.folder, names)
    command = make_command(files, folder or "<folder of the images>")
    return Conversion(files=files, images=folder or source.folder, counts=counts, notes=notes, command=command)


def _check_options(target: Target) -> None:
    """Raise for an option that would have no effect."""
    keys = {"category": "data.category", "flip_pairs": "skeleton.flip_pairs"}
    for name, key in keys.items():
        if getattr(target, name) is not None:
            raise DataError(f"{name}: a COCO file is only divided. Give `hrpose fit` the key {key} instead.")
    if target.bbox_margin is not None:
        raise DataError("bbox_margin: a COCO file is only divided, its boxes stay as they are. Leave it out.")


def _file_name(row: Any, place: int, file: Path) -> str:
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or "id" not in row:
        raise wrong(f"{file}, image {place} (counted from 0)", "an object with `id` and `file_name`", row)
    return str(row["file_name"]).replace("\\", "/")


def _videos(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return [str(row.get(key)) for row in rows]


def _count(
    images: Sequence[Any], annotations: Sequence[Mapping[str, Any]], categories: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Count images, annotations and, by name, labelled keypoints."""
    names_of = {row.get("id"): row["keypoints"] for row in categories if isinstance(row.get("keypoints"), list)}
    labelled: Counter[str] = Counter()
    for row in annotations:
        names, values = names_of.get(row.get("category_id"), []), row.get("keypoints") or []
        labelled.update(str(name) for name, visibility in zip(names, values[2::3], strict=False) if visibility)
    names = dict.fromkeys(str(name) for names in names_of.values() for name in names)
    return {"images": len(images), "instances": len(annotations), **{name: labelled[name] for name in names}}


def _find_images(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the folder in which the first image lies: that of the file, or one beside or above it."""
    around = [
        folder,
        folder.parent,
        *sorted(path for path in (*folder.iterdir(), *folder.parent.iterdir()) if path.is_dir()),
    ]
    return next((path for path in around if names and (path / names[0]).is_file()), None)
