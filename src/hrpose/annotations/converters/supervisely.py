"""Read Supervisely: a project with meta.json, and a JSON file with graphs per image.

https://docs.supervisely.com/customization-and-integration/00_ann_format_navi
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, Pair
from hrpose.annotations.converters.source import Source, expecting, read_json_file, wrong
from hrpose.annotations.converters.split import SPLIT_NAMES


def find_file(source: Source) -> Path | None:
    """Return the meta.json of a project, if it lists classes with graphs; None for a folder without it."""
    file = source.folder / "meta.json"
    if not file.is_file() or (source.path.is_file() and source.path != file):
        return None
    content = read_json_file(file)
    classes = content.get("classes") if isinstance(content, dict) else None
    return file if isinstance(classes, list) and any(_is_graph(entry) for entry in classes) else None


def read(source: Source) -> Labels:
    """Read a project; the first invalid value raises DataError, with file and object."""
    file = find_file(source)
    if file is None:
        raise wrong(source.path, "a project with meta.json", "none")
    graphs = {str(entry["title"]): entry["geometry_config"] for entry in read_json_file(file)["classes"] if _is_graph(entry)}
    names = {title: {key: str(node["label"]) for key, node in graph["nodes"].items()} for title, graph in graphs.items()}
    folder = ImageFolder(source.images or file.parent)
    images, others = [], 0
    for labels in sorted(file.parent.glob("**/ann/*.json")):
        content = read_json_file(labels)
        objects = [row for row in content.get("objects", []) if row.get("classTitle") in names]
        others += len(content.get("objects", [])) - len(objects)
        dataset = labels.parent.parent
        image, split = folder.find(f"img/{labels.stem}", dataset), SPLIT_NAMES.get(dataset.name.lower())
        instances = [_instance(row, names[row["classTitle"]], f"{labels}, object {row.get('id')}") for row in objects]
        images.append(LabelledImage(file=image, instances=instances, split=split))
    notes = ["Disabled nodes are unlabelled, all others are visible."]
    notes += [f"{others} objects that are not graphs, such as rectangles, are left out."] if others else []
    return Labels(
        folder=folder,
        images=images,
        keypoint_names={title: list(nodes.values()) for title, nodes in names.items()},
        edges=_edges(graphs, names),
        notes=notes,
    )


def _is_graph(entry: Any) -> bool:
    config = entry.get("geometry_config") if isinstance(entry, dict) else None
    nodes = config.get("nodes") if isinstance(config, dict) else None
    return isinstance(nodes, dict) and all(isinstance(node, dict) and "label" in node for node in nodes.values())


def _edges(graphs: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]) -> list[Pair]:
    ends = [
        (names[title].get(edge.get("src")), names[title].get(edge.get("dst")))
        for title, graph in graphs.items()
        for edge in graph.get("edges", [])
    ]
    return list(dict.fromkeys((one, two) for one, two in ends if one and two))


def _instance(row: Mapping[str, Any], names: Mapping[str, str], where: str) -> Instance:
    with expecting(where, "nodes of the class, each with `loc`", str(row.get("nodes"))):
        nodes = [(names[key], node["loc"]) for key, node in row["nodes"].items() if not node.get("disabled")]
        keypoints = {name: (float(place[0]), float(place[1]), 2) for name, place in nodes}
    return Instance(keypoints=keypoints, category=str(row["classTitle"]), where=where)
