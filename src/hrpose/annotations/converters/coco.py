"""Split a COCO keypoint file into train.json and val.json, or collect the split files of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrpose.annotations.converters import write
from hrpose.annotations.converters.source import Source, wrong
from hrpose.annotations.converters.split import SPLIT_NAMES, split_images
from hrpose.annotations.converters.write import Conversion, Target
from hrpose.errors import DataError
from hrpose.media.folders import match_files

_SECTIONS = ("images", "annotations", "categories")
_KEYS_OF_FIT = {"category": "data.category", "flip_pairs": "skeleton.flip_pairs", "bbox_margin": "data.bbox_from_keypoints"}
_VIDEO_KEYS = ("video_id", "vid_id")


def recognise(source: Source) -> bool:
    """Check for a JSON file with the three sections of COCO, or folders named train, valid, ... with one such file each."""
    if source.path.is_dir():
        return bool(_files(source))
    return any(map(_is_coco, source.samples))


def divide(source: Source, target: Target) -> Conversion:
    """Write train.json and val.json with the images and annotations of a COCO file, or of a folder with one file per split.

    Raises:
        DataError: if an entry has no file name or id, an option cannot be used, or an output file exists.
    """
    for name, key in _KEYS_OF_FIT.items():
        if getattr(target, name) is not None:
            raise DataError(f"Expected no `{name}` for a COCO file, which is only split. Set {key} in `hrpose fit`.")
    if source.path.is_dir():
        parts = {split: _with_folder(content, file, source.path) for split, (file, content) in _files(source).items()}
        folder: Path | None = source.images or source.path
        notes = [f"Split: from the folders. File names are relative to {source.path}."]
    else:
        parts, folder, notes = {"train": source.samples[0]}, source.images, []
    if "val" not in parts and "train" in parts:
        train, how = _divide(parts.pop("train"), source.path, target)
        parts, notes = {**train, **parts}, [*notes, how]
    if "train" not in parts:
        raise wrong(source.path, "images to train on", f"only {', '.join(parts)}")
    notes += [] if "val" in parts else [write.NO_VALIDATION]
    parts = {name: parts[name] for name in write.SPLITS if name in parts}
    names = {
        split: [_file_name(row, place, source.path) for place, row in enumerate(content["images"])]
        for split, content in parts.items()
    }
    folder = folder or _find_images(source.folder, names["train"])
    files = write.free_files(parts, target.out or source.folder)
    archives = _write_images(names, folder, replace(target, out=target.out or source.folder))
    counts = write.write_files(parts.items(), files, f"{source.path.name} (format=coco)", notes)
    command = write.make_command(files, folder or "<folder of the images>", archives)
    return Conversion(files=files, images=folder or source.folder, counts=counts, notes=notes, command=command, archives=archives)


def _write_images(names: Mapping[str, Sequence[str]], folder: Path | None, target: Target) -> dict[str, Path]:
    """Write archives of the named files, if the target has them."""
    if target.archive is None:
        return {}
    if folder is None:
        raise DataError("images: archives need the images, but their folder was not found. Give images=<folder>.")
    found = {split: match_files(own, folder)[0] for split, own in names.items()}
    files = {split: [found[split].get(place, name) for place, name in enumerate(own)] for split, own in names.items()}
    return write.write_images(files, folder, target)


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in _SECTIONS)


def _files(source: Source) -> dict[str, tuple[Path, Any]]:
    """Return the COCO files of the folders named after a split; empty unless each has one file."""
    files: dict[str, tuple[Path, Any]] = {}
    found, _ = source.json_files(_is_coco)
    for file, content in found:
        split = SPLIT_NAMES.get(file.parent.name.lower())
        if split is None or split in files:
            return {}
        files[split] = file, content
    return files


def _with_folder(content: Mapping[str, Any], file: Path, folder: Path) -> dict[str, Any]:
    """Return the content of a file with image names relative to a parent folder."""
    prefix = file.parent.relative_to(folder).as_posix()
    names = (_file_name(row, place, file) for place, row in enumerate(content["images"]))
    rows = zip(content["images"], names, strict=True)
    return {**content, "images": [{**row, "file_name": f"{prefix}/{name}".removeprefix("./")} for row, name in rows]}


def _divide(content: Mapping[str, Any], file: Path, target: Target) -> tuple[dict[str, dict[str, Any]], str]:
    """Split the images of a file and their annotations; return the content of each split, and a sentence for the notes."""
    images = content["images"]
    names = [_file_name(row, place, file) for place, row in enumerate(images)]
    key = next((key for key in _VIDEO_KEYS if images and key in images[0]), None)
    videos = None if key is None else [str(row.get(key)) for row in images]
    splits, how = split_images(
        names, [None] * len(names), share=target.split, by=target.split_by, seed=target.seed, videos=videos
    )
    split_of = {str(row["id"]): split for row, split in zip(images, splits, strict=True)}
    orphan = next((row for row in content["annotations"] if str(row.get("image_id")) not in split_of), None)
    if orphan is not None:
        where = f"{file}, annotation {orphan.get('id')}"
        raise wrong(where, "its image in `images`", f"image_id {orphan.get('image_id')}")
    parts = {}
    for split in dict.fromkeys(splits):
        rows = [row for row, own in zip(images, splits, strict=True) if own == split]
        annotations = [row for row in content["annotations"] if split_of[str(row["image_id"])] == split]
        parts[split] = {**content, "images": rows, "annotations": annotations}
    return parts, how


def _file_name(row: Any, place: int, file: Path) -> str:
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or "id" not in row:
        raise wrong(f"{file}, image {place} (counted from 0)", "an object with `id` and `file_name`", row)
    return str(row["file_name"]).replace("\\", "/")


def _find_images(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the folder that contains the first image: the folder of the file, its parent, or a subfolder of these."""
    candidates = [folder, folder.parent, *sorted(path for path in (*folder.iterdir(), *folder.parent.iterdir()) if path.is_dir())]
    return next((path for path in candidates if names and (path / names[0]).is_file()), None)
