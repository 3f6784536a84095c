"""Read SLEAP .slp files with sleap-io: labels of images, of videos or of embedded images.

https://io.sleap.ai
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, Point
from hrpose.annotations.converters.source import Source, write_embedded, wrong
from hrpose.errors import DataError, import_optional
from hrpose.media.video import extract_frames

_START = b"\x89HDF\r\n\x1a\n"  # of an HDF5 file


def find_file(source: Source) -> Path | None:
    """Return the .slp file, which is HDF5; None for a folder with several or none."""
    files = source.files(".slp")
    if len(files) != 1:
        return None
    with files[0].open("rb") as stream:
        return files[0] if stream.read(8) == _START else None


def read(source: Source) -> Labels:
    """Read an .slp file; embedded images and labelled frames of videos are written to a folder.

    Raises:
        MissingLibraryError: if sleap-io is not installed.
        DataError: if the file cannot be read, or a video is missing.
    """
    file = find_file(source)
    if file is None:
        raise wrong(source.path, "an .slp file", "none")
    content = _load(file)
    folder = ImageFolder(source.images or file.parent)
    written = folder.path / f"{file.name.partition('.')[0]}_frames"
    frames = list(content.labeled_frames)
    _write_frames(frames, file, folder, written)
    images = []
    for frame in frames:
        image = _image(frame, file, folder, written)
        where = f"{file}, frame {frame.frame_idx} of {image.name}"
        instances = [_instance(one, content.tracks, where) for one in frame.user_instances]
        images.append(LabelledImage(file=image, instances=instances))
    predicted = sum(len(frame.instances) - len(frame.user_instances) for frame in frames)
    notes = ["Points that are not visible in SLEAP are unlabelled, all others are visible."]
    notes += [f"{predicted} predicted instances are left out, because they were not corrected."] if predicted else []
    notes += [f"Embedded images and frames of videos were written to {written}."] if written.is_dir() else []
    skeletons = content.skeletons
    ends = [(skeleton.node_names, one, two) for skeleton in skeletons for one, two in skeleton.symmetry_inds]
    pairs = [(str(names[one]), str(names[two])) for names, one, two in ends]
    return Labels(
        folder=folder,
        images=images,
        keypoint_names={_category(skeleton): list(skeleton.node_names) for skeleton in skeletons},
        edges=[(edge.source.name, edge.destination.name) for skeleton in skeletons for edge in skeleton.edges],
        flip_pairs=list(dict.fromkeys(pairs)) or None,
        notes=notes,
    )


def _load(file: Path) -> Any:
    """Read the labels without opening the videos that the file names."""
    sleap_io = import_optional("sleap_io", str(file), "hrpose[sleap]")
    try:
        return sleap_io.load_slp(str(file), open_videos=False)
    except (KeyError, ValueError, OSError, TypeError, IndexError) as error:
        raise DataError(f"{file}: expected labels of SLEAP, but the file cannot be read: {error}. Save it again.") from error


def _write_frames(frames: Sequence[Any], file: Path, folder: ImageFolder, written: Path) -> None:
    """Write the labelled frames of videos."""
    wanted: dict[Path, set[int]] = {}
    for frame in filter(_is_video, frames):
        name = PurePosixPath(str(frame.video.filename).replace("\\", "/")).name
        video = next(iter(sorted(folder.path.rglob(glob.escape(name)))), None)
        if video is None:
            fix = (
                f"Copy it to {folder.path}, or set its folder, images=<folder>; or export the labels with their images in "
                "SLEAP (Predict > Export Labels Package) and convert the .pkg.slp file."
            )
            raise wrong(file, f"the video of frame {frame.frame_idx}", f"no {frame.video.filename}", fix)
        wanted.setdefault(video, set()).add(int(frame.frame_idx))
    for video, indices in wanted.items():
        extract_frames(video, indices, written)


def _is_video(frame: Any) -> bool:
    metadata = frame.video.backend_metadata or {}
    return not metadata.get("has_embedded_images") and not isinstance(frame.video.filename, list)


def _image(frame: Any, file: Path, folder: ImageFolder, written: Path) -> Path:
    """Return the image of a frame: from a list of images, from a video, or embedded in the file."""
    video, index = frame.video, int(frame.frame_idx)
    if _is_video(frame):
        return written / f"{PurePosixPath(str(video.filename)).stem}_{frame.frame_idx:06d}.png"
    if not isinstance(video.filename, list):
        return _extract(file, str(video.backend_metadata["dataset"]), index, written)
    if index >= len(video.filename):
        raise wrong(file, f"an image of frame {index}", f"a list of {len(video.filename)} images")
    return folder.find(str(video.filename[index]))


def _extract(file: Path, dataset: str, index: int, embedded: Path) -> Path:
    """Write an embedded image, a complete PNG or JPEG file."""
    # imported here because it is installed with sleap-io
    import h5py

    with h5py.File(file) as content:
        group = dataset.rpartition("/")[0]
        parts = (group, f"{group}/video", f"{group}/frame_numbers")
        if not all(isinstance(content.get(part, getlink=True), h5py.HardLink) for part in parts):  # the group first
            raise wrong(file, f"embedded images in {dataset}", "a link to another file")
        numbers = content[group]["frame_numbers"][:].tolist()
        if index not in numbers:
            raise wrong(file, f"an embedded image of frame {index}", f"images of {len(numbers)} other frames")
        data = content[group]["video"][numbers.index(index)].tobytes()
    return write_embedded(data, embedded / f"{group.replace('/', '_')}_{index:06d}")


def _instance(instance: Any, tracks: Any, where: str) -> Instance:
    points = zip(instance.skeleton.node_names, instance.numpy().tolist(), strict=True)
    keypoints: dict[str, Point] = {name: (float(x), float(y), 2) for name, (x, y) in points if x == x and y == y}
    track = None if instance.track is None else tracks.index(instance.track) + 1
    return Instance(keypoints=keypoints, category=_category(instance.skeleton), track_id=track, where=where)


def _category(skeleton: Any) -> str:
    return str(skeleton.name or "animal")
