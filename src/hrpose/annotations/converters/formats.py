"""The formats that can be converted, and their recognition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrpose.annotations.converters import (
    animalpose,
    coco,
    cvat,
    darwin,
    deeplabcut,
    label_studio,
    labelme,
    sleap,
    supervisely,
    via,
    yolo,
)
from hrpose.annotations.converters.archives import ArchiveKind
from hrpose.annotations.converters.labels import Labels, name_keypoints
from hrpose.annotations.converters.source import Source, one_error
from hrpose.annotations.converters.split import SplitBy
from hrpose.annotations.converters.write import Conversion, Target, write
from hrpose.errors import DataError

_WEIGHTS = {".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".tar", ".bin"}


@dataclass(frozen=True)
class Format:
    """A format of labels.

    Attributes:
        title: of the tool.
        find: returns what a source has of this format, from its content; nothing if it has another format.
        read: reads a source.
    """

    title: str
    find: Callable[[Source], object]
    read: Callable[[Source], Labels]


def _json(is_format: Callable[[Any], bool]) -> Callable[[Source], bool]:
    """Return a function that checks the JSON files of a source."""
    return lambda source: any(map(is_format, source.samples))


FORMATS: Mapping[str, Format] = {
    "yolo": Format("YOLO-pose (Ultralytics)", yolo.find_file, yolo.read),
    "deeplabcut": Format("DeepLabCut, Lightning Pose", deeplabcut.find_files, deeplabcut.read),
    "labelme": Format("labelme, X-AnyLabeling", _json(labelme.is_labelme), labelme.read),
    "label_studio": Format("Label Studio JSON", _json(label_studio.is_export), label_studio.read),
    "cvat": Format("CVAT XML 1.1", cvat.find_file, cvat.read),
    "via": Format("VGG Image Annotator 1 to 3", _json(via.is_via), via.read),
    "darwin": Format("V7 Darwin JSON 2.0", _json(darwin.is_darwin), darwin.read),
    "supervisely": Format("Supervisely project", supervisely.find_file, supervisely.read),
    "animalpose": Format("AnimalPose, original form", animalpose.find, animalpose.read),
    "sleap": Format("SLEAP .slp", sleap.find_file, sleap.read),
}
"""The formats by the name that `format=` takes."""
COCO = "coco"  # is split by `coco.divide` instead of being read


def recognise(source: str | Path) -> str | None:
    """Return the format of a file or folder, from its content; None if no format or several match.

    Raises:
        MissingDataError: if there is no such file or folder.
    """
    opened = Source(Path(source))
    with one_error(source):
        found = [name for name, format_ in FORMATS.items() if format_.find(opened)]
        found += [COCO] if coco.recognise(opened) else []
    return found[0] if len(found) == 1 else None


def conversion_of(file: Path) -> str:
    """Return a sentence with the command that converts a file; "" if its format is unknown."""
    try:
        name = recognise(file)
    except DataError:
        return ""
    known = FORMATS.get(name or "")
    return f"`hrpose convert {file}` reads this ({known.title})." if known else ""


def advise_conversion(file: Path) -> str:
    """Return a sentence on how to use a file that is not COCO's: the command that converts it, or the function for arrays."""
    other = "For labels of other tools see `hrpose convert --help`; for your own format write a COCO file with hrpose.write_coco."
    return conversion_of(file) or other


def convert_labels(
    source: str | Path,
    *,
    out: str | Path | None = None,
    format: str | None = None,
    images: str | Path | None = None,
    names: Sequence[str] | None = None,
    category: str | Sequence[str] | None = None,
    flip_pairs: Sequence[Sequence[int | str]] | None = None,
    bbox_margin: float | None = None,
    split: float = 0.1,
    split_by: SplitBy | None = None,
    seed: int = 0,
    archive: ArchiveKind | None = None,
    archive_size: float = 1000.0,
) -> Conversion:
    """Convert labels of an annotation tool to COCO keypoint files.

    Args:
        source: file or folder of the labels.
        out: folder of train.json and val.json; None uses the folder of the images.
        format: one of `FORMATS`; None recognises it.
        images: folder of the images; None uses the folder of the source.
        names: of the keypoints, if the source has none, or their order.
        category: one or several with the same keypoints; None keeps all with keypoints.
        flip_pairs: mirror pairs by name or 0-based index, empty for none; None uses those of the source or of the names.
        bbox_margin: for instances without a box: added on each side of the keypoints, as a share of their larger extent.
        split: share of validation images, if the source states no split.
        split_by: "folder", "video" or "image"; None splits by video or folder if there are several.
        seed: of the split, and of the order of the images in archives.
        archive: "tar" or "zip": write the images into archives beside the JSON files; None leaves them where they are.
        archive_size: of an archive, in MB.

    Raises:
        MissingDataError: if the source or all of its images do not exist.
        DataError: if the format is unknown, the labels cannot be used, or a required option is missing.
    """
    if Path(source).suffix.lower() in _WEIGHTS:
        raise DataError(
            f"{source}: expected labels, but this is a weight file. `python scripts/convert_weights.py <file> <new file>` in a "
            "checkout converts weights; `hrpose export weights=<file>` exports them."
        )
    folder = None if images is None else Path(images)
    opened = Source(Path(source), folder, None if names is None else tuple(names))
    name = format or recognise(opened.path) or ""
    if name not in (*FORMATS, COCO):
        listing = ", ".join(f"{key} ({value.title})" for key, value in FORMATS.items())
        raise DataError(
            f"{source}: expected labels of a known format, but {f'got format={format}' if format else 'did not recognise it'}. "
            f"Set format= to one of {listing}, {COCO} (to split a file), or write a COCO file from arrays with hrpose.write_coco."
        )
    target = Target(
        out=None if out is None else Path(out),
        category=category,
        flip_pairs=flip_pairs,
        bbox_margin=bbox_margin,
        split=split,
        split_by=split_by,
        seed=seed,
        archive=archive,
        archive_size=archive_size,
    )
    if name == COCO and names is not None:
        raise DataError("Expected no `names` for a COCO file, which is only split. Set skeleton.names in `hrpose fit`.")
    with one_error(source):
        if name == COCO:
            return coco.divide(opened, target)
        labels = name_keypoints(FORMATS[name].read(opened), opened.names)
        return write(labels, target, source=f"{opened.path.name} (format={name})")
