"""Read AnimalPose in its original format: an XML file per animal, or keypoints.json.

Cao et al., Cross-Domain Adaptation for Animal Pose Estimation, ICCV 2019; https://sites.google.com/view/animal-pose/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, Pair, Point
from hrpose.annotations.converters.source import Source, expecting, read_xml, wrong

_NAMES = (
    *("L_Eye", "R_Eye", "L_EarBase", "R_EarBase", "Nose", "Throat", "TailBase", "Withers"),
    *(f"{side}_{end}_{part}" for part in ("Elbow", "Knee", "Paw") for end in "FB" for side in "LR"),
)
_OTHER_NAMES = {"l_ear": "L_EarBase", "r_ear": "R_EarBase", "tail": "TailBase"}  # of the second part of the data
_BY_LOWER = {**{name.lower(): name for name in _NAMES}, **_OTHER_NAMES}
_EDGES: tuple[Pair, ...] = (
    *(("L_Eye", "R_Eye"), ("L_Eye", "L_EarBase"), ("R_Eye", "R_EarBase"), ("L_Eye", "Nose"), ("R_Eye", "Nose")),
    *(("Nose", "Throat"), ("Throat", "Withers"), ("TailBase", "Withers")),
    *((root, f"{side}_{end}_Elbow") for end, root in (("F", "Throat"), ("B", "TailBase")) for side in "LR"),
    *((f"{side}_{end}_Elbow", f"{side}_{end}_Knee") for end in "FB" for side in "LR"),
    *((f"{side}_{end}_Knee", f"{side}_{end}_Paw") for end in "FB" for side in "LR"),
)

# instances with their images, keypoint names by category, edges, notes
_Content: TypeAlias = tuple[list[tuple[Path, Instance]], Mapping[str, Sequence[str]], Sequence[Pair], list[str]]


def find(source: Source) -> object:
    """Return the XML files with `visible_bounds`, or keypoints.json, whose `images` is an object of names by id."""
    return _xml_files(source) or _content(source)


def read(source: Source) -> Labels:
    """Read XML files, or keypoints.json; the first invalid value raises DataError, with its file."""
    folder = ImageFolder(source.images or source.folder)
    found, names, edges, notes = _read_xml(source, folder) if _content(source) is None else _read_json(source, folder)
    rows: dict[Path, list[Instance]] = {}
    for image, instance in found:
        rows.setdefault(image, []).append(instance)
    return Labels(
        folder=folder,
        images=[LabelledImage(file=file, instances=instances) for file, instances in rows.items()],
        keypoint_names=names,
        edges=list(dict.fromkeys(edges)),
        notes=["Keypoints that are not marked visible are unlabelled, because the files do not store occlusion.", *notes],
    )


def _read_xml(source: Source, folder: ImageFolder) -> _Content:
    found, misnamed = [], 0
    for file in _xml_files(source):
        root = read_xml(file)
        name = root.findtext("image") or ""
        image = folder.find(name if Path(name).suffix else f"{name}.jpg")
        found.append((image, _xml_instance(root, file)))
        misnamed += "ymin" not in _bounds(root).attrib
    note = f"{misnamed} files store the top of the box as xmax, a known error of the second part of the data set."
    categories = sorted({instance.category for _, instance in found})
    return found, dict.fromkeys(categories, _NAMES), _EDGES, [note] if misnamed else []


def _xml_files(source: Source) -> list[Path]:
    return [file for file in source.files(".xml") if b"<visible_bounds" in file.read_bytes()]


def _content(source: Source) -> dict[str, Any] | None:
    keys = {"images", "annotations", "categories"}
    found = (content for content in source.samples if isinstance(content, dict) and keys <= set(content))
    return next((content for content in found if isinstance(content["images"], dict)), None)


def _bounds(root: Element) -> Element:
    bounds = root.find("visible_bounds")
    return bounds if bounds is not None else Element("visible_bounds")


def _xml_instance(root: Element, file: Path) -> Instance:
    box = _bounds(root).attrib
    with expecting(file, "a box of xmin, ymin, width and height, and keypoints with name, x, y and visible"):
        texts = box["xmin"], box["ymin" if "ymin" in box else "xmax"], box["width"], box["height"]
        x, y, width, height = map(float, texts)
        visible = [point.attrib for point in root.iter("keypoint") if point.attrib["visible"] != "0"]
        keypoints = {_name(point["name"], file): (float(point["x"]), float(point["y"]), 2) for point in visible}
    category = root.findtext("category") or "animal"
    return Instance(keypoints=keypoints, bbox=(x, y, width, height), category=category, where=str(file))


def _name(name: str, file: Path) -> str:
    if name.lower() not in _BY_LOWER:
        raise wrong(file, "the 20 keypoints of AnimalPose", name)
    return _BY_LOWER[name.lower()]


def _read_json(source: Source, folder: ImageFolder) -> _Content:
    """Read keypoints.json: boxes are two corners, keypoints nested, edges count from 0."""
    content, found = _content(source) or {}, []
    categories = {row["id"]: row for row in content["categories"]}
    for place, row in enumerate(content["annotations"]):
        where = f"{source.path}, annotation {place} (counted from 0)"
        with expecting(where, "image_id, category_id, bbox of two corners and keypoints [x, y, visible]"):
            category = categories[row["category_id"]]
            left, top, right, bottom = map(float, row["bbox"])
            points = [(float(x), float(y), float(v)) for x, y, v in row["keypoints"]]
            image, names = str(content["images"][str(row["image_id"])]), category["keypoints"]
        if len(points) != len(names):
            raise wrong(where, f"{len(names)} keypoints, as the category names", len(points))
        keypoints: dict[str, Point] = {name: (x, y, 2) for name, (x, y, v) in zip(names, points, strict=True) if v}
        box = (left, top, right - left, bottom - top)
        instance = Instance(keypoints=keypoints, bbox=box, category=str(category["name"]), where=where)
        found.append((folder.find(image), instance))
    edges = [
        (row["keypoints"][one], row["keypoints"][two])
        for row in categories.values()
        for one, two in row.get("skeleton", [])
        if max(one, two) < len(row["keypoints"])
    ]
    return found, {str(row["name"]): row["keypoints"] for row in categories.values()}, edges, []
