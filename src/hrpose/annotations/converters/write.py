"""Write labels as COCO keypoint files, train.json and val.json, with all assumptions in their `info`."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.annotations.converters.archives import ArchiveKind, write_archives
from hrpose.annotations.converters.labels import Instance, Labels
from hrpose.annotations.converters.source import MADE_BY
from hrpose.annotations.converters.split import SplitBy, split_images
from hrpose.errors import DataError, MissingDataError
from hrpose.files import dumps, write_json
from hrpose.media.images import read_size_and_orientation
from hrpose.skeletons import KNOWN_SKELETONS, Skeleton

_MOST_LISTED = 5
NO_VALIDATION = "There are no validation images. The command below validates on the training images, so its AP is not a result."
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Options of the COCO files; see `formats.convert_labels` for their meaning."""

    out: Path | None = None
    category: str | Sequence[str] | None = None
    flip_pairs: Sequence[Sequence[int | str]] | None = None
    bbox_margin: float | None = None
    split: float = 0.1
    split_by: SplitBy | None = None
    seed: int = 0
    archive: ArchiveKind | None = None
    archive_size: float = 1000.0


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        files: by split: "train", and "val" or "test" if there are such images.
        images: folder that the file names are relative to.
        counts: numbers of images, instances and labelled keypoints, by name, of each split.
        notes: one sentence for each assumption or omission.
        command: shell command that trains on the files.
        archives: by split, path pattern of the archives that were written; empty if none were.
    """

    files: Mapping[str, Path]
    images: Path
    counts: Mapping[str, Mapping[str, int]]
    notes: Sequence[str]
    command: str
    archives: Mapping[str, Path] = field(default_factory=dict)

    def describe(self) -> str:
        """Return the files, counts, notes and command, on several lines."""
        lines = [f"Wrote {', '.join(map(str, [*self.files.values(), *self.archives.values()]))}"]
        names = list(next(iter(self.counts.values())))
        width = max(map(len, names))
        lines.append(f"{'':{width}}" + "".join(f"{split:>9}" for split in self.counts))
        for name in names:
            lines.append(f"{name:{width}}" + "".join(f"{count[name]:9}" for count in self.counts.values()))
        lines += [f"- {note}" for note in self.notes]
        return "\n".join([*lines, "To train:", f"  {self.command}"])


def write(labels: Labels, target: Target, *, source: str) -> Conversion:
    """Write labels of a source, as it is described in `info`, as COCO keypoint files.

    Raises:
        DataError: if a required option is missing, an image cannot be read, or an output file exists.
    """
    _check_finite(labels)
    notes = [*labels.notes, *labels.folder.notes]
    labels = _select(labels, target.category, notes)
    labels = _present(labels, notes)
    skeleton = _skeleton(labels, target.flip_pairs, notes)
    labels = _with_boxes(labels, target.bbox_margin, notes)
    folder = labels.folder.path
    names = [image.file.relative_to(folder).as_posix() for image in labels.images]
    splits, how = split_images(
        names, [image.split for image in labels.images], share=target.split, by=target.split_by, seed=target.seed
    )
    read = [read_size_and_orientation(image.file) for image in labels.images]
    sizes = [size[::-1] if orientation > 4 else size for size, orientation in read]
    turned = sum(orientation > 1 for _, orientation in read)
    if turned:
        notes.append(f"{turned} images have an EXIF orientation; sizes and keypoints are upright (data.upright=true).")
    notes = [how, *notes]
    chosen_of = {name: [index for index, own in enumerate(splits) if own == name] for name in SPLITS if name in splits}
    if "train" not in chosen_of:
        raise DataError(f"Expected images to train on, but {source} has only {', '.join(chosen_of)} images.")
    files = free_files(chosen_of, target.out or folder)
    archives = write_images({name: [names[one] for one in own] for name, own in chosen_of.items()}, folder, target)
    categories = _categories(labels, skeleton)
    contents = ((split, _coco(labels, names, sizes, categories, chosen)) for split, chosen in chosen_of.items())
    counts = write_files(contents, files, source, notes)
    if "val" not in files:
        notes.append(NO_VALIDATION)
    overrides = ["data.category=all"] * (len(categories) > 1) + ["data.upright=true"] * (turned > 0)
    command = make_command(files, folder, archives, *overrides)
    return Conversion(files=files, images=folder, counts=counts, notes=notes, command=command, archives=archives)


def write_files(
    contents: Iterable[tuple[str, Mapping[str, Any]]], files: Mapping[str, Path], source: str, notes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Write the COCO content of each split with its provenance; count images, annotations and, by name, labelled keypoints."""
    counts = {}
    for split, content in contents:
        info = {"description": f"{MADE_BY} {source}", "split": split, "notes": notes}
        info |= {"source_info": content["info"]} if "info" in content else {}
        counts[split] = _count(content)
        write_json(files[split], {"info": info, **{key: value for key, value in content.items() if key != "info"}})
    return counts


def _count(content: Mapping[str, Any]) -> dict[str, int]:
    names_of = {row.get("id"): row["keypoints"] for row in content["categories"] if isinstance(row.get("keypoints"), list)}
    labelled: Counter[str] = Counter()
    for row in content["annotations"]:
        names, values = names_of.get(row.get("category_id"), []), row.get("keypoints") or []
        labelled.update(str(name) for name, visibility in zip(names, values[2::3], strict=False) if visibility)
    names = dict.fromkeys(str(name) for names in names_of.values() for name in names)
    sizes = {"images": len(content["images"]), "instances": len(content["annotations"])}
    return sizes | {name: labelled[name] for name in names}


def _check_finite(labels: Labels) -> None:
    """Raise DataError for NaN and infinity, which JSON cannot store."""
    for instance in labels.instances:
        numbers = [*(instance.bbox or ()), *(value for point in instance.keypoints.values() for value in point)]
        if not all(map(math.isfinite, numbers)):
            raise DataError(f"{instance.where}: expected finite coordinates, but found {numbers}. Correct the labels.")


def _select(labels: Labels, category: str | Sequence[str] | None, notes: list[str]) -> Labels:
    """Keep the given categories, or all with keypoints. They must have the same keypoints."""
    counts = Counter(instance.category for instance in labels.instances)
    sets = {name: tuple(names) for name, names in labels.keypoint_names.items() if names}
    if not sets or not counts:
        raise DataError(
            f"Expected instances with keypoints, but the labels have {sum(counts.values())} instances and {len(sets)} categories "
            "with keypoints. Check that the file is an export of keypoints."
        )
    listing = ", ".join(f"{name} (K={len(names)}, {counts[name]} instances)" for name, names in sets.items())
    wanted = {category} if isinstance(category, str) else set(category or ())
    if not wanted <= set(sets):
        raise DataError(f"Expected `category` to be one of {listing}, but got {category!r}.")
    kept = wanted or {name for name in sets if counts[name]} or set(sets)
    if len({sets[name] for name in kept}) > 1:
        example = max((name for name in sets if name in kept), key=lambda name: counts[name])
        raise DataError(
            f"Expected one category, or several with the same keypoints, but found {listing}. "
            f"Set the categories to convert, for example category={shlex.quote(example)}."
        )
    others = ", ".join(f"{count} of {name}" for name, count in counts.items() if name not in kept)
    notes += [f"Instances of other categories are left out: {others}."] if others else []
    labels = _keep(labels, lambda instance: instance.category in kept)
    return replace(labels, keypoint_names={name: sets[name] for name in sets if name in kept})


def _keep(labels: Labels, wanted: Callable[[Instance], object]) -> Labels:
    images = [replace(image, instances=list(filter(wanted, image.instances))) for image in labels.images]
    return replace(labels, images=images)


def _present(labels: Labels, notes: list[str]) -> Labels:
    """Leave out images that do not exist, with a note."""
    present = [image for image in labels.images if image.file.is_file()]
    missing = [str(image.file) for image in labels.images if not image.file.is_file()]
    listing = ", ".join(missing[:_MOST_LISTED]) + (" ..." if len(missing) > _MOST_LISTED else "")
    if not present:
        raise MissingDataError(
            f"Expected the images of the labels in {labels.folder.path}, but all {len(missing)} are missing: {listing}. "
            "Set their folder: images=<folder>."
        )
    notes += [f"WARNING: {len(missing)} of {len(labels.images)} images are missing and left out: {listing}."] if missing else []
    return replace(labels, images=present)


def _skeleton(labels: Labels, given: Sequence[Sequence[int | str]] | None, notes: list[str]) -> Skeleton:
    """Return the skeleton with the given mirror pairs, those of the source, or those found in the names."""
    names = tuple(next(iter(labels.keypoint_names.values())))
    place = {name: index for index, name in enumerate(names)}
    pairs = given if given is not None else labels.flip_pairs
    edges = [(place[one], place[two]) for one, two in labels.edges if one in place and two in place]
    dropped = len(labels.edges) - len(edges)
    notes += [f"{dropped} edges between unknown keypoints are left out; edges are used for drawing only."] if dropped else []
    skeleton = Skeleton(
        name=next(iter(labels.keypoint_names)),
        keypoint_names=names,
        edges=tuple(edges),
        sigmas=tuple(labels.sigmas.get(name, 1.0) for name in names),
        upper_body=(),
        flip_pairs=pairs,  # type: ignore[arg-type]  # the constructor resolves names
    )
    if skeleton.lacks_flip_pairs:
        raise DataError(
            "Expected mirror pairs (left and right keypoints that a flip swaps), but neither the labels nor the keypoint names "
            f"({', '.join(names[:_MOST_LISTED])}{', ...' if len(names) > _MOST_LISTED else ''}) state them. Set "
            "flip_pairs=[[a,b],...] by name or index from 0, or flip_pairs=[] for none."
        )
    in_names = replace(skeleton, flip_pairs=None).flip_pairs  # type: ignore[arg-type]  # the constructor finds them
    if given is None and pairs is not None and in_names and not skeleton.flip_pairs:
        notes.append(
            "WARNING: the source has no mirror pairs, but the keypoint names indicate some. To use them, set "
            f"flip_pairs={dumps([list(pair) for pair in in_names]).replace(' ', '')}."
        )
    provenance = "given" if given is not None else "from the source" if pairs is not None else "found in the names"
    listing = ", ".join(f"{names[one]} - {names[two]}" for one, two in skeleton.flip_pairs)
    notes.append(f"Mirror pairs ({provenance}): {listing or 'none'}.")
    return skeleton


def _with_boxes(labels: Labels, margin: float | None, notes: list[str]) -> Labels:
    """Compute missing boxes from the keypoints, and leave out instances without box and keypoints."""
    total = len(labels.instances)
    labels = _keep(labels, lambda instance: instance.bbox is not None or instance.keypoints)
    empty = total - len(labels.instances)
    notes += [f"{empty} instances without a box and without labelled keypoints are left out."] if empty else []
    boxless = [instance for instance in labels.instances if instance.bbox is None]
    if not boxless:
        return labels
    if margin is None:
        raise DataError(
            f"Expected a box for each instance, but {len(boxless)} of {total} have none, such as {boxless[0].where}. "
            "Set bbox_margin=0.25 to compute boxes from the keypoints, with 0.25 of their extent added on each side."
        )
    sides = [side for instance in boxless if (side := _extent(instance)) > 0]
    if not sides:
        raise DataError(
            f"Expected boxes for instances with a single point, but {len(boxless)} have none, such as {boxless[0].where}. Draw a "
            "box around each instance in your tool."
        )
    single, typical = len(boxless) - len(sides), float(np.median(sides))
    notes.append(f"{len(boxless)} boxes are computed from the keypoints, with a margin of {margin:g} of the larger side.")
    notes += [f"{single} instances have a single point; their box has the median size of the others."] if single else []
    images = [replace(image, instances=[_boxed(one, margin, typical) for one in image.instances]) for image in labels.images]
    return replace(labels, images=images)


def _boxed(instance: Instance, margin: float, typical: float) -> Instance:
    return instance if instance.bbox is not None else replace(instance, bbox=box_around(instance, margin, typical))


def _extent(instance: Instance) -> float:
    points = np.array([point[:2] for point in instance.keypoints.values()])
    return float(np.ptp(points, axis=0).max())


def box_around(instance: Instance, margin: float, typical: float = 0.0) -> tuple[float, float, float, float]:
    """Return a box around the keypoints with a margin, a share of the larger side; `typical` is the extent of a single point."""
    points = np.array([point[:2] for point in instance.keypoints.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    added = margin * _extent(instance) if _extent(instance) else (0.5 + margin) * typical
    (x, y), (width, height) = low - added, high - low + 2 * added
    return float(x), float(y), float(width), float(height)


def _categories(labels: Labels, skeleton: Skeleton) -> list[dict[str, Any]]:
    """Return the categories, with sigmas if the source has them or the names are those of a known skeleton."""
    names = skeleton.keypoint_names
    known = next((known for known in KNOWN_SKELETONS.values() if known.keypoint_names == names), None)
    sigmas = list(skeleton.sigmas) if set(names) <= set(labels.sigmas) else list(known.sigmas) if known else None
    common = {
        "keypoints": list(names),
        "skeleton": [[one + 1, two + 1] for one, two in skeleton.edges],
        "flip_pairs": [[names[one], names[two]] for one, two in skeleton.flip_pairs],
        **({} if sigmas is None else {"sigmas": sigmas}),
    }
    return [{"id": number, "name": name, **common} for number, name in enumerate(labels.keypoint_names, 1)]


def _coco(
    labels: Labels,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    categories: list[dict[str, Any]],
    chosen: Iterable[int],
) -> dict[str, Any]:
    """Return the content of a file; image ids are positions in the source, from 1."""
    ids = {category["name"]: category["id"] for category in categories}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in chosen:
        images.append({"id": index + 1, "file_name": names[index], "width": sizes[index][0], "height": sizes[index][1]})
        for instance in labels.images[index].instances:
            row = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": ids[instance.category]}
            annotations.append(row | _annotation(instance, categories[0]["keypoints"], sizes[index]))
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(instance: Instance, names: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    flat = [value for name in names for value in instance.keypoints.get(name, (0, 0, 0))]
    x, y, width, height = instance.bbox or (0.0, 0.0, 0.0, 0.0)
    left, top = max(x, 0.0), max(y, 0.0)
    box = [left, top, min(x + width, size[0]) - left, min(y + height, size[1]) - top]
    bbox = [x, y, width, height] if (left, top) == (x, y) and box[2] == width and box[3] == height else box
    row = {"keypoints": flat, "num_keypoints": len(instance.keypoints), "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0}
    return row if instance.track_id is None else {**row, "track_id": instance.track_id}


def free_files(splits: Iterable[str], folder: Path) -> dict[str, Path]:
    """Return the files to write; raise DataError if one exists and was not written by an earlier conversion."""
    files = {split: folder / f"{split}.json" for split in splits}
    for file in filter(Path.exists, files.values()):
        try:
            description = json.loads(file.read_bytes())["info"]["description"]
        except (ValueError, KeyError, TypeError, RecursionError):
            description = ""
        if not str(description).startswith(MADE_BY):
            raise DataError(f"Expected to write {file}, but another file of this name exists. Set another folder: out=<folder>.")
    return files


def write_images(names: Mapping[str, Sequence[str]], images: Path, target: Target) -> dict[str, Path]:
    """Write the images of each split into archives beside the JSON files, if the target has them; see `write_archives`."""
    if target.archive is None:
        return {}
    out, size = target.out or images, target.archive_size
    return write_archives(names, images, out, kind=target.archive, size=size, seed=target.seed)


def make_command(files: Mapping[str, Path], images: Path | str, archives: Mapping[str, Path], *overrides: str) -> str:
    """Return the command that trains a small network; without images for validation it validates on those for training."""
    arguments = [
        *("data=coco", "model=hrnet_tiny"),
        f"data.train_annotations={files['train']}",
        f"data.train_images={archives.get('train', images)}",
        f"data.val_annotations={files.get('val', files['train'])}",
        f"data.val_images={archives.get('val', archives.get('train', images))}",
        "data.val_boxes=[gt]",
    ]
    return shlex.join(["hrpose", "fit", *arguments, *overrides])
