"""What the reader of a format returns: images, and their instances with named keypoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hrpose.annotations.converters.source import wrong
from hrpose.errors import DataError
from hrpose.media.source import is_photo

Point: TypeAlias = tuple[float, float, int]  # x, y in pixels, visibility 1 or 2
Pair: TypeAlias = tuple[str, str]
Box: TypeAlias = tuple[float, float, float, float]  # x, y, width, height in pixels
UNGROUPED = "ungrouped"  # category of points without a group beside others that have one


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One labelled object.

    Attributes:
        keypoints: the labelled ones by their names; what is not labelled is absent.
        bbox: (x, y, width, height) in pixels; None if the file has none.
        category: name of its class.
        track_id: of the object in a video.
        where: place in the source, for messages.
    """

    keypoints: Mapping[str, Point]
    bbox: Box | None = None
    category: str = "object"
    track_id: int | None = None
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A point or a rectangle of a tool that stores them apart.

    Attributes:
        label: name of the keypoint, or class of the rectangle.
        group: common to the shapes of an instance; empty if there is none.
        point: None for a rectangle.
        bbox: None for a point.
        track_id: of the object in a video.
    """

    label: str
    group: str = ""
    point: Point | None = None
    bbox: Box | None = None
    track_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image and its instances, perhaps none.

    Attributes:
        file: the image, below the folder of the labels; it may be missing.
        instances: in the order of the source.
        split: "train", "val" or "test" if the source says so.
    """

    file: Path
    instances: Sequence[Instance] = ()
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The content of a source.

    Attributes:
        folder: holds all images; file names are written relative to it.
        images: each once.
        keypoint_names: of each category, in the order of the source.
        edges: pairs of names, to be drawn.
        flip_pairs: pairs of names that are exchanged in the mirror; None if the source does not say.
        sigmas: OKS sigmas by name, if the source has them.
        notes: what was assumed or left out, one sentence each.
    """

    folder: Path
    images: Sequence[LabelledImage]
    keypoint_names: Mapping[str, Sequence[str]]
    edges: Sequence[Pair] = ()
    flip_pairs: Sequence[Pair] | None = None
    sigmas: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user adds to a source.

    Attributes:
        images: folder of the images; None takes the folder of the source.
        keypoint_names: of a source that has none, or their order.
    """

    images: Path | None = None
    keypoint_names: tuple[str, ...] | None = None


class ImageFolder:
    """Find the images that labels name, below one folder and nowhere else.

    Args:
        folder: of the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.found_by_name: list[str] = []

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """The images below the folder, by the last part of their path, with and without suffix."""
        files: dict[str, list[Path]] = {}
        for file in sorted(self.folder.rglob("*")):
            if is_photo(file):
                for name in (file.name, file.stem):
                    files.setdefault(name, []).append(file)
        return files

    def find(self, name: str, start: Path | None = None) -> Path:
        """Return the path of an image.

        Args:
            name: as the labels have it: relative, absolute on another machine, or an address.
            start: folder that the name is relative to; the image folder by default.

        Returns:
            The file at this place; else the only file below the folder with this name; else a path at which there is none.

        Raises:
            DataError: if several files of this name lie below the folder.
        """
        plain = name.replace("\\", "/")
        for base in (start or self.folder, self.folder):
            exact = (base / plain).resolve()
            if exact.is_relative_to(self.folder) and exact.is_file():
                return exact
        last = PurePosixPath(plain).name
        places = self.by_name.get(last, [])
        if len(places) > 1:
            raise DataError(
                f"Expected one image named {last} below {self.folder}, but found {len(places)}, among them {places[0]} and "
                f"{places[1]}, and the labels name {name!r}. Give the folder that this name is relative to: images=<folder>."
            )
        if places:
            self.found_by_name.append(name)
            return places[0]
        return self.folder / (plain if not plain.startswith("/") and ".." not in plain.split("/") else last)

    @property
    def notes(self) -> list[str]:
        """A sentence on the images that were not at the place that the labels name."""
        if not self.found_by_name:
            return []
        return [
            f"{len(self.found_by_name)} images are not at the path in the labels and were found by their file name, the first is "
            f"{self.found_by_name[0]!r}."
        ]


def collect(
    images: Sequence[LabelledImage],
    folder: ImageFolder,
    options: Options,
    notes: Sequence[str] = (),
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    edges: Sequence[Pair] = (),
) -> Labels:
    """Return labels whose keypoint names are those of the instances, or given.

    Args:
        images: with their instances.
        folder: of the images.
        options: with the names in the wanted order.
        notes: what was assumed.
        names: of the categories whose names the source lists.
        edges: pairs of names.

    Raises:
        DataError: if a name is not among those given, or ungrouped points have names of grouped ones.
    """
    instances = [instance for image in images for instance in image.instances]
    unlisted = [instance for instance in instances if instance.category not in (names or {})]
    return Labels(
        folder=folder.folder,
        images=images,
        keypoint_names={**_names_by_category(unlisted, options.keypoint_names), **(names or {})},
        edges=edges,
        notes=[*notes, *folder.notes],
    )


def _names_by_category(instances: Sequence[Instance], given: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the keypoint names of each category.

    Categories with a name in common have all names of both, since an instance need not have all labelled.
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
            raise wrong(where, "a group for all points, or for none of a name", "points without a group", _GROUP)
        names |= dict.fromkeys(group, _order(members, given))
    return {category: names[category] for category in used if used[category]}


def _order(instances: Sequence[Instance], given: Sequence[str] | None) -> list[str]:
    """Order keypoint names as given, or as the fullest instance lists them; names that only others have follow."""
    names: dict[str, None] = {}
    for instance in sorted(instances, key=lambda instance: len(instance.keypoints), reverse=True):
        names.update(dict.fromkeys(instance.keypoints))
    unknown = [name for name in names if name not in (given or names)]
    if unknown:
        raise DataError(
            f"Expected `names` to list all keypoints of the labels, but {unknown[0]!r} is not among {list(given or ())}."
        )
    return list(names if given is None else given)


_GROUP = "Group the points of each instance, and its rectangle, in your tool."


def join(shapes: Iterable[Shape], where: str, fix: str = _GROUP) -> list[Instance]:
    """Join points and rectangles of the same group.

    Shapes without a group are one instance. Beside groups they are so too, if the points have other names. Rectangles without
    points are instances without labelled keypoints.

    Args:
        shapes: of an image.
        where: place in the source.
        fix: how shapes are grouped in the tool.

    Raises:
        DataError: if it is unknown which points a rectangle belongs to, or a keypoint is labelled twice.
    """
    groups: dict[str, list[Shape]] = {}
    for shape in shapes:
        groups.setdefault(shape.group, []).append(shape)
    loose = {shape.label for shape in groups.get("", []) if shape.point}
    grouped = [{shape.label for shape in members if shape.point} for group, members in groups.items() if group]
    taken = set().union(*grouped)
    if loose & taken or (loose and set() in grouped):
        raise wrong(where, "a group for all points, or for none of a name", sorted(loose & taken or loose), fix)
    return [
        instance
        for group, members in groups.items()
        for instance in _join(members, UNGROUPED if not group and taken else "object", where, fix)
    ]


def _join(members: Sequence[Shape], category: str, where: str, fix: str) -> list[Instance]:
    """Make an instance of the shapes of a group; of rectangles without points one of each."""
    points = [shape for shape in members if shape.point]
    boxes = [shape for shape in members if shape.bbox]
    where = f"{where}, group {members[0].group}" if members[0].group else where
    if points and len(boxes) > 1:
        raise wrong(where, "one rectangle per instance", f"{len(boxes)} rectangles", fix)
    unique((shape.label for shape in points), where)
    keypoints = {shape.label: shape.point for shape in points if shape.point}
    return [
        Instance(keypoints=keypoints, bbox=box.bbox, category=box.label, track_id=members[0].track_id, where=where)
        for box in boxes or [Shape(label=category)]
    ]


def unique(names: Iterable[str], where: str) -> None:
    """Raise DataError if a keypoint of an instance is labelled twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{where}: expected each keypoint of an instance once, but {repeated[0]!r} is there more than once. Group the points "
            "of each instance in your tool, or remove the copies."
        )
