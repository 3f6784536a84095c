"""Write result files of `hrpose predict` or COCO files as YOLO-pose or labelme files, to correct them in a labelling tool."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

import yaml  # type: ignore[import-untyped]

from hrpose.annotations.converters.labels import Instance
from hrpose.annotations.converters.source import Source, expecting, one_error, read_json_file, wrong
from hrpose.annotations.converters.write import box_around
from hrpose.errors import DataError, check_choice
from hrpose.files import dumps, write_atomically
from hrpose.skeletons import Skeleton

Tool: TypeAlias = Literal["yolo", "labelme"]
_LARGEST = 2**31  # of coordinates and sizes


def write_labels(
    source: str | Path,
    to: Tool,
    *,
    images: str | Path,
    out: str | Path | None = None,
    bbox_margin: float | None = None,
    keypoint_score_threshold: float = 0.2,
) -> str:
    """Write poses as the labels of a tool, one file per image.

    Args:
        source: poses.json of `hrpose predict`, with its images.json in the same folder, or a COCO annotation file.
        to: "yolo" or "labelme", which X-AnyLabeling reads too.
        images: folder of the images.
        out: folder of the labels; None creates one named after the tool in the folder of the source.
        bbox_margin: for poses without a box: added on each side of the keypoints, as a share of their larger extent.
        keypoint_score_threshold: keypoints with a lower score are left out; not applied to annotations.

    Returns:
        A sentence with the number of poses and the folder.

    Raises:
        DataError: if a file cannot be used, a box is missing, or a label file exists already.
        ValueError: for another tool.
    """
    check_choice("to", to, get_args(Tool))
    with one_error(source):
        return _write(Source(Path(source)), to, Path(images), out, bbox_margin, keypoint_score_threshold)


def _write(
    source: Source, to: Tool, images: Path, out: str | Path | None, bbox_margin: float | None, keypoint_score_threshold: float
) -> str:
    content = read_json_file(source.path)
    is_result = isinstance(content, list)
    coco = read_json_file(source.folder / "images.json") if is_result else content
    rows = content if is_result else _section(content, "annotations", source.path)
    category = _category(coco, source.path)
    least = keypoint_score_threshold if is_result else 0.0
    instances: dict[str, list[Instance]] = {}
    for place, row in enumerate(rows):
        where = f"{source.path}, entry {place} (counted from 0)"
        instance = _instance(row, category, where, least, bbox_margin)
        if instance is not None:
            instances.setdefault(str(row["image_id"]), []).append(instance)
    entries = [(row, _name_and_size(row, source.path)) for row in _section(coco, "images", source.path)]
    folder = Path(out) if out is not None else source.folder / to
    files: dict[Path, str] = {}
    for row, (name, size) in entries:
        poses = instances.get(str(row.get("id")), [])
        if poses and to == "yolo":
            files[folder / "labels" / Path(name).with_suffix(".txt")] = _yolo(poses, category["keypoints"], size)
        elif poses:
            file = folder / Path(name).with_suffix(".json")
            image = os.path.relpath(images.resolve() / name, file.resolve().parent).replace("\\", "/")
            files[file] = _labelme(poses, image, size)
    if to == "yolo":
        files[folder / "data.yaml"] = _data_yaml(category)
    existing = next((file for file in files if file.exists()), None)
    if existing is not None:
        raise DataError(f"Expected to write {existing}, but this file exists already. Set another folder: out=<folder>.")
    for file, text in files.items():
        with write_atomically(file, durable=False) as partial:
            partial.write_text(text, encoding="utf-8")
    count = sum(map(len, instances.values()))
    hint = f" YOLO expects the images in {folder / 'images'}: move or link {images} there." if to == "yolo" else ""
    return f"Wrote {count} poses of {len(entries)} images to {folder}.{hint}"


def _section(content: Any, name: str, file: Path) -> list[Any]:
    section = content.get(name) if isinstance(content, dict) else None
    if not isinstance(section, list):
        raise wrong(file, f"a COCO file with {name}, or a result file with images.json in its folder", content)
    return section


def _category(coco: Any, file: Path) -> Mapping[str, Any]:
    """Return the only category with keypoints."""
    found = [row for row in _section(coco, "categories", file) if isinstance(row, dict) and row.get("keypoints")]
    if len(found) != 1:
        raise wrong(file, "one category with keypoints", f"{len(found)} of them")
    category: Mapping[str, Any] = found[0]
    names = category["keypoints"]
    if not {"id", "name"} <= category.keys() or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wrong(file, "a category with id, name and the names of its `keypoints`", category)
    return category


def _instance(row: Any, category: Mapping[str, Any], where: str, least: float, margin: float | None) -> Instance | None:
    """Read a row; None for another category, or if no keypoint is left."""
    if not isinstance(row, dict):
        raise wrong(where, "a JSON object", row)
    if row.get("category_id") != category["id"]:
        return None
    names, bbox = category["keypoints"], row.get("bbox")
    values: Any = row.get("keypoints")
    if not _are_numbers(values, 3 * len(names)) or "image_id" not in row:
        raise wrong(where, f"image_id and {3 * len(names)} finite numbers in `keypoints`", values)
    if bbox is not None and not _are_numbers(bbox, 4):
        raise wrong(where, "`bbox` to be x, y, width and height", bbox)
    triplets = zip(names, values[::3], values[1::3], values[2::3], strict=True)
    is_label = "score" not in row  # 1 is occluded
    keypoints = {name: (float(x), float(y), 1 if v == 1 and is_label else 2) for name, x, y, v in triplets if v > least}
    if not keypoints:
        return None
    instance = Instance(keypoints=keypoints, bbox=bbox, category=str(category["name"]), where=where)
    if bbox is None and margin is None:
        raise DataError(f"{where}: expected a box, but there is none. Set bbox_margin=0.25 to compute it from the keypoints.")
    return instance if bbox is not None else replace(instance, bbox=box_around(instance, margin or 0))


def _are_numbers(values: Any, count: int) -> bool:
    """Check for a list of finite numbers."""
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    return numbers and len(values) == count and all(abs(value) < _LARGEST for value in values)


def _name_and_size(row: Any, file: Path) -> tuple[str, tuple[int, int]]:
    """Return the file name, width and height of an image."""
    with expecting(file, "images with file_name, width and height", row):
        name, size = str(row["file_name"]).replace("\\", "/"), (int(row["width"]), int(row["height"]))
    if name.startswith("/") or ".." in PurePosixPath(name).parts or not PurePosixPath(name).name or "\0" in name:
        raise wrong(file, "file names below the image folder", name)
    if not all(0 < side < _LARGEST for side in size):
        raise wrong(file, f"positive width and height of {name}", size)
    return name, size


def _yolo(poses: Sequence[Instance], names: Sequence[str], size: tuple[int, int]) -> str:
    """Return one line per pose: class, box and keypoints as shares of the image."""
    lines = []
    for pose in poses:
        x, y, width, height = pose.bbox or (0, 0, 0, 0)
        box = ((x + width / 2) / size[0], (y + height / 2) / size[1], width / size[0], height / size[1])
        points = [pose.keypoints.get(name, (0.0, 0.0, 0)) for name in names]
        texts = [f"{px / size[0]:.6f} {py / size[1]:.6f} {v}" for px, py, v in points]
        lines.append(" ".join(["0", *(f"{value:.6f}" for value in box), *texts]))
    return "\n".join(lines) + "\n"


def _data_yaml(category: Mapping[str, Any]) -> str:
    names = [str(name) for name in category["keypoints"]]
    count = len(names)
    skeleton = Skeleton("labels", tuple(names), (), (1.0,) * count, (), category.get("flip_pairs"))  # type: ignore[arg-type]  # names are resolved
    content = {
        **{"path": ".", "train": "images", "val": "images", "kpt_shape": [count, 3]},
        "flip_idx": list(skeleton.flip_permutation),
        "names": {0: str(category["name"])},
        "kpt_names": {0: names},
    }
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _labelme(poses: Sequence[Instance], image: str, size: tuple[int, int]) -> str:
    """Return the JSON of an image: a rectangle and points per pose, with a common group number."""
    shapes = []
    for group, pose in enumerate(poses, 1):
        x, y, width, height = pose.bbox or (0, 0, 0, 0)
        shapes.append(_shape(pose.category, [[x, y], [x + width, y + height]], group, "rectangle"))
        for name, (px, py, visibility) in pose.keypoints.items():
            shapes.append(_shape(name, [[px, py]], group, "point") | ({"difficult": True} if visibility == 1 else {}))
    content = {
        **{"version": "5.4.1", "flags": {}, "shapes": shapes},
        **{"imagePath": image, "imageData": None, "imageHeight": size[1], "imageWidth": size[0]},
    }
    return dumps(content, indent=2)


def _shape(label: str, points: list[list[float]], group: int, kind: str) -> dict[str, Any]:
    return {
        **{"label": label, "points": points, "group_id": group},
        **{"description": "", "shape_type": kind, "flags": {}, "mask": None},
    }
