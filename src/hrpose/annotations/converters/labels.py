"""Labels of any source format: images, and their instances with named keypoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hrpose.annotations.converters.source import wrong
from hrpose.errors import DataError
from hrpose.media.source import is_image

Point: TypeAlias = tuple[float, float, int]  # x, y in pixels, visibility 1 or 2
Pair: TypeAlias = tuple[str, str]
Box: TypeAlias = tuple[float, float, float, float]  # x, y, width, height in pixels
UNGROUPED = "ungrouped"  # category of points without a group in an image with groups


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One labelled instance.

    Attributes:
        keypoints: labelled keypoints by name.
        bbox: (x, y, width, height) in pixels; None if the file has none.
        category: name of the category.
        track_id: identity in a video.
        where: position in the source, for messages.
    """

    keypoints: Mapping[str, Point] = field(default_factory=dict)
    bbox: Box | None = None
    category: str = "object"
    track_id: int | None = None
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image, whose file may be missing, its instances, and its split, "train", "val" or "test", if the source states one."""

    file: Path
    instances: Sequence[Instance] = ()
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The content of a source.

    Attributes:
        folder: contains all images; file names are written relative to it.
        images: without duplicates.
        keypoint_names: of the categories that the source lists, in its order.
        edges: pairs of names, for drawing.
        flip_pairs: mirror pairs of names; None if the source states none.
        sigmas: OKS sigmas by name, if the source has them.
        notes: one sentence for each assumption or omission.
    """

    folder: ImageFolder
    images: Sequence[LabelledImage]
    keypoint_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    edges: Sequence[Pair] = ()
    flip_pairs: Sequence[Pair] | None = None
    sigmas: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def instances(self) -> list[Instance]:
        """Return the instances of all images."""
        return [instance for image in self.images for instance in image.instances]


class ImageFolder:
    """Find the images of labels in one folder and its subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.found_by_name: list[str] = []

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Return the images in the folder and its subfolders by file name, with and without suffix."""
        files: dict[str, list[Path]] = {}
        for file in sorted(self.path.rglob("*")):
            if is_image(file):
                for name in (file.name, file.stem):
                    files.setdefault(name, []).append(file)
        return files

    def find(self, name: str, start: Path | None = None) -> Path:
        """Return the path of an image by its name in the labels, which may be relative to `start`, of another machine, or a URL.

        It is the file at this path; otherwise the only file in the folder with this file name; otherwise a path without file.

        Raises:
            DataError: if the folder has several files with this file name.
        """
        plain = name.replace("\\", "/")
        for base in (start or self.path, self.path):
            exact = (base / plain).resolve()
            if exact.is_relative_to(self.path) and exact.is_file():
                return exact
        last = PurePosixPath(plain).name
        places = self.by_name.get(last, [])
        if len(places) > 1:
            raise DataError(
                f"Expected one image named {last} in {self.path} for {name!r} of the labels, but found {len(places)}, such as "
                f"{places[0]} and {places[1]}. Set the folder that this name is relative to: images=<folder>."
            )
        if places:
            self.found_by_name.append(name)
            return places[0]
        return self.path / (plain if not plain.startswith("/") and ".." not in plain.split("/") else last)

    @property
    def notes(self) -> list[str]:
        """Return a sentence about the images that were found by file name only."""
        count = len(self.found_by_name)
        by_name = "images are not at the path in the labels and were found by file name, such as"
        return [f"{count} {by_name} {self.found_by_name[0]!r}."] if count else []


def name_keypoints(labels: Labels, given: Sequence[str] | None) -> Labels:
    """Add the keypoint names of categories that the source does not list, in the given order or in the order of their instances.

    Raises:
        DataError: if a name is not among those given, or a point without a group has the name of a grouped one.
    """
    unlisted = [instance for instance in labels.instances if instance.category not in labels.keypoint_names]
    return replace(labels, keypoint_names={**_names_by_category(unlisted, given), **labels.keypoint_names})


def _names_by_category(instances: Sequence[Instance], given: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the keypoint names of each category.

    Categories that share a name get the names of both, because an instance may lack some of them.
    """
    used: dict[str, set[str]] = {}
    for instance in instances:
        used.setdefault(instance.category, set()).update(instance.keypoints)
    alike: list[set[str]] = []
    for category in used:
        linked = [group for group in alike if any(used[category] & used[other] for other in group)]
        alike = [group for group in alike if group not in linked] + [{category}.union(*linked)]
    names: dict[str, list[str]] = {}
    for group in alike:
        members = [instance for instance in instances if instance.category in group]
        if UNGROUPED in group and len(group) > 1:
            where = next(instance.where for instance in members if instance.category == UNGROUPED)
            raise wrong(where, "a group for all points or for no point of a name", "points without a group", _GROUP)
        names |= dict.fromkeys(group, _order(members, given))
    return {category: names[category] for category in used if used[category]}


def _order(instances: Sequence[Instance], given: Sequence[str] | None) -> list[str]:
    """Order keypoint names as given, or as in the instance with most keypoints, followed by the names of the others."""
    ranked = sorted(instances, key=lambda instance: len(instance.keypoints), reverse=True)
    names = dict.fromkeys(name for instance in ranked for name in instance.keypoints)
    unknown = [name for name in names if name not in (given or names)]
    if unknown:
        raise DataError(
            f"Expected `names` to contain all keypoints of the labels, but {unknown[0]!r} is not in {list(given or ())}."
        )
    return list(names if given is None else given)


_GROUP = "Group the points of each instance, and its rectangle, in your tool."


def join(shapes: Iterable[tuple[str, Instance]], where: str, fix: str = _GROUP) -> list[Instance]:
    """Join points and rectangles of the same group to instances, for tools that store them separately.

    All shapes without a group are one instance; in an image with groups their points must have other names. Rectangles without
    points are instances without labelled keypoints.

    Args:
        shapes: of an image: the group, empty for none, and an instance of one keypoint, or of a rectangle and its category.
        where: position in the source, for messages.
        fix: how to group shapes in the tool, for messages.

    Raises:
        DataError: if the points of a rectangle are ambiguous, or a keypoint is labelled twice.
    """
    groups: dict[str, list[Instance]] = {}
    for group, shape in shapes:
        groups.setdefault(group, []).append(shape)
    names = {group: {name for shape in members for name in shape.keypoints} for group, members in groups.items()}
    loose = names.pop("", set())
    taken = set().union(*names.values())
    if loose & taken or (loose and set() in names.values()):
        raise wrong(where, "a group for all points or for no point of a name", sorted(loose & taken or loose), fix)
    instances = []
    for group, members in groups.items():
        place = f"{where}, group {group}" if group else where
        points = [point for shape in members for point in shape.keypoints.items()]
        boxes = [shape for shape in members if shape.bbox]
        if points and len(boxes) > 1:
            raise wrong(place, "one rectangle per instance", f"{len(boxes)} rectangles", fix)
        unique((name for name, _ in points), place)
        boxless = Instance(category=UNGROUPED if not group and taken else "object")
        keypoints, track = dict(points), members[0].track_id
        instances += [replace(box, keypoints=keypoints, track_id=track, where=place) for box in boxes or [boxless]]
    return instances


def unique(names: Iterable[str], where: str) -> None:
    """Raise DataError if a keypoint of an instance is labelled twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{where}: expected each keypoint of an instance once, but {repeated[0]!r} occurs more than once. Group the points "
            "of each instance in your tool, or remove the copies."
        )
