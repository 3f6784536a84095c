"""Write COCO keypoint files from arrays, for labels in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels
from hrpose.annotations.converters.split import SplitBy
from hrpose.annotations.converters.write import Conversion, Target, write
from hrpose.errors import DataError


def write_coco(
    file_names: Sequence[str],
    keypoints: ArrayLike,
    names: Sequence[str],
    *,
    images: str | Path,
    out: str | Path | None = None,
    boxes: ArrayLike | None = None,
    bbox_margin: float | None = None,
    category: str = "object",
    edges: Sequence[Sequence[str]] = (),
    flip_pairs: Sequence[Sequence[int | str]] | None = None,
    sigmas: Sequence[float] | None = None,
    track_ids: Sequence[int] | None = None,
    splits: Sequence[str] | None = None,
    split: float = 0.1,
    split_by: SplitBy | None = None,
    seed: int = 0,
) -> Conversion:
    """Write train.json and val.json from one row per instance.

    Example:
        >>> conversion = hrpose.write_coco(
        ...     ["a.jpg", "a.jpg", "b.jpg"], keypoints, ["nose", "left_ear", "right_ear"], images="photos", bbox_margin=0.25
        ... )  # doctest: +SKIP
        >>> print(conversion.describe())  # doctest: +SKIP

    Args:
        file_names: N names relative to `images`; instances of one image have the same name.
        keypoints: (N, K, 2) x and y in pixels of the image, NaN where not labelled; or (N, K, 3) with the visibility 0, 1 or 2.
        names: of the K keypoints.
        images: folder of the images.
        out: folder of the JSON files; None uses the folder of the images.
        boxes: (N, 4) x, y, width and height in pixels.
        bbox_margin: without `boxes`: added on each side of the keypoints, as a share of their larger extent.
        category: name of the category.
        edges: pairs of names, for drawing.
        flip_pairs: mirror pairs by name or 0-based index; None finds them in the names.
        sigmas: K OKS sigmas.
        track_ids: N identities in a video.
        splits: N times "train", "val" or "test"; None splits the images.
        split: share of validation images.
        split_by: "folder" or "image"; None splits by folder if there are several.
        seed: of the split.

    Raises:
        MissingDataError: if no image exists.
        DataError: if the shapes of the arguments do not match, or a required argument is missing.
    """
    points = _with_visibility(keypoints, len(file_names), len(names))
    bbox = None if boxes is None else np.asarray(boxes, float)
    if bbox is not None and bbox.shape != (len(file_names), 4):
        raise DataError(f"Expected `boxes` to have the shape {(len(file_names), 4)}, but got {bbox.shape}.")
    folder = ImageFolder(Path(images))
    rows: dict[str, list[Instance]] = {}
    for index, name in enumerate(file_names):
        instance = Instance(
            keypoints={key: (float(x), float(y), int(v)) for key, (x, y, v) in zip(names, points[index], strict=True) if v},
            bbox=None if bbox is None else tuple(bbox[index].tolist()),
            category=category,
            track_id=None if track_ids is None else int(track_ids[index]),
            where=f"row {index} ({name})",
        )
        rows.setdefault(name, []).append(instance)
    split_of = dict.fromkeys(rows) if splits is None else {name: splits[index] for index, name in enumerate(file_names)}
    labels = Labels(
        folder=folder,
        images=[LabelledImage(file=folder.path / name, instances=own, split=split_of[name]) for name, own in rows.items()],
        keypoint_names={category: list(names)},
        edges=[(edge[0], edge[1]) for edge in edges],
        sigmas={} if sigmas is None else dict(zip(names, sigmas, strict=True)),
    )
    target = Target(
        out=None if out is None else Path(out),
        flip_pairs=flip_pairs,
        bbox_margin=bbox_margin,
        split=split,
        split_by=split_by,
        seed=seed,
    )
    return write(labels, target, source="arrays")


def _with_visibility(keypoints: ArrayLike, num_instances: int, num_keypoints: int) -> NDArray[np.float64]:
    """Return (N, K, 3); without given visibility, keypoints are visible unless NaN."""
    points = np.asarray(keypoints, float)
    if points.shape not in ((num_instances, num_keypoints, 2), (num_instances, num_keypoints, 3)):
        raise DataError(
            f"Expected `keypoints` of shape ({num_instances}, {num_keypoints}, 2 or 3), one row per file name and one column per "
            f"name, but got {points.shape}."
        )
    if points.shape[2] == 2:
        points = np.concatenate([points, 2.0 * ~np.isnan(points).any(axis=2, keepdims=True)], axis=2)
    wrong = ~np.isin(points[..., 2], (0, 1, 2))
    if wrong.any():
        raise DataError(f"Expected the visibility 0, 1 or 2 in `keypoints`, but found {points[..., 2][wrong][0]}.")
    return points
