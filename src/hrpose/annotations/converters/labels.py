"""What the reader of a format returns: images, and their instances with named keypoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hrpose.errors import DataError
from hrpose.media.source import is_photo

Point: TypeAlias = tuple[float, float, int]  # x, y in pixels, visibility 1 or 2
Pair: TypeAlias = tuple[str, str]


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
    bbox: tuple[float, float, float, float] | None = None
    category: str = "object"
    track_id: int | None = None
    where: str = ""


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
        """The images below the folder, by the last part of their path."""
        files: dict[str, list[Path]] = {}
        for file in sorted(self.folder.rglob("*")):
            if is_photo(file):
                files.setdefault(file.name, []).append(file)
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


def order_names(keypoints: Iterable[Mapping[str, Point]], given: Sequence[str] | None = None) -> list[str]:
    """Order keypoint names as the fullest instance lists them; names that only others have follow.

    Args:
        keypoints: of all instances.
        given: names in the wanted order.

    Raises:
        DataError: if a name is not among those given.
    """
    sets = [list(named) for named in keypoints]
    names: dict[str, None] = {}
    for named in sorted(sets, key=len, reverse=True):
        names.update(dict.fromkeys(named))
    if given is None:
        return list(names)
    unknown = [name for name in names if name not in given]
    if unknown:
        raise DataError(
            f"Expected `names` to list all keypoints of the labels, but {', '.join(unknown[:5])} is not among {list(given)}."
        )
    return list(given)


def names_by_category(instances: Sequence[Instance], given: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the keypoint names of each category, of labels that do not list them.

    Categories with a name in common have all names of both, since an instance need not have all labelled.

    Args:
        instances: of all images.
        given: names in the wanted order.

    Raises:
        DataError: if a name is not among those given.
    """
    used: dict[str, set[str]] = {}
    for instance in instances:
        used.setdefault(instance.category, set()).update(instance.keypoints)
    common = set.intersection(*(names for names in used.values() if names)) if any(used.values()) else set()
    if common or given is not None:
        names = order_names((instance.keypoints for instance in instances), given)
        return dict.fromkeys(used, names)
    return {
        category: order_names(instance.keypoints for instance in instances if instance.category == category)
        for category in used
    }


def unique(names: Iterable[str], where: str) -> None:
    """Raise DataError if a keypoint of an instance is labelled twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{where}: expected each keypoint of an instance once, but {repeated[0]!r} is there more than once. Group the points "
            "of each instance in your tool, or remove the copies."
        )
