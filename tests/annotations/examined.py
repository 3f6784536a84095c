"""Valid data for the tests of `hrpose doctor`: labels of the 17 keypoints of COCO, and small images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np

from hrpose.annotations.checks import Finding
from hrpose.annotations.coco import forget_annotations
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.examination import Split, examine_images, examine_labels, examine_pair, read_split
from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataError
from hrpose.media.images import Reading
from hrpose.skeletons import COCO

Content = dict[str, Any]
SIZE = (200, 300)  # of the images
# A standing person from the front, x and y as shares of the box: nose, then left and right of each pair.
_BODY = np.array(
    [(0.5, 0.1)]
    + [(0.5 + side * x, y) for x, y in ((0.08, 0.07), (0.15, 0.09), (0.3, 0.25), (0.38, 0.4), (0.4, 0.52))
       for side in (1, -1)]
    + [(0.5 + side * x, y) for x, y in ((0.2, 0.55), (0.22, 0.75), (0.22, 0.92)) for side in (1, -1)]
)  # fmt: skip
SIZES = {"160x96": (96, 160), "256x256": (256, 256)}


def people(seed: int = 0, num_images: int = 15, per_image: int = 2) -> Content:
    """Label people; every fourth is seen from behind, without a face, and every seventh keypoint is occluded."""
    rng = np.random.default_rng(seed)
    rows, number = [], 0
    for image in range(num_images):
        for place in range(per_image):
            number += 1
            low = np.array([10 + 95 * place, 20]) + rng.uniform(0, 8, 2)
            size = np.array([60, 180]) * rng.uniform(0.8, 1.2)
            body = _BODY + rng.normal(0, 0.01, _BODY.shape)
            labels = np.where(np.arange(17) % 7 == number % 7, 1, 2)
            if number % 4 == 0:
                body[:, 0] = 1 - body[:, 0]
                labels[:5] = 0
            points = np.where(labels[:, None] > 0, low + body * size, 0).round(2)
            rows.append(
                {
                    "id": number,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [*low.round(2).tolist(), *size.round(2).tolist()],
                    "area": round(float(size.prod()) * 0.6, 2),
                    "iscrowd": 0,
                    "num_keypoints": int((labels > 0).sum()),
                    "keypoints": np.column_stack([points, labels]).ravel().tolist(),
                }
            )
    images = [{"id": i, "file_name": f"{seed}_{i}.png", "width": SIZE[0], "height": SIZE[1]} for i in range(num_images)]
    edges = [[one + 1, other + 1] for one, other in COCO.edges]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names), "skeleton": edges}
    return {"images": images, "annotations": rows, "categories": [category]}


def points_of(row: Content) -> np.ndarray:
    """Return x, y, visibility, (K, 3)."""
    return np.reshape(row["keypoints"], (-1, 3)).astype(float)


def write_images(content: Content, folder: Path) -> Path:
    """Write an image of noise for each entry of a file."""
    folder.mkdir(exist_ok=True)
    for image in content["images"]:
        noise = np.random.default_rng(crc32(image["file_name"].encode())).integers(0, 255, (30, 20, 3), np.uint8)
        cv2.imwrite(str(folder / image["file_name"]), cv2.resize(noise, SIZE, interpolation=cv2.INTER_NEAREST))
    return folder


def examine(
    folder: Path, content: Content, val: Content | None = None, *, images: Path | None = None, **options: Any
) -> dict[str, Finding]:
    """Write one or two annotation files, and return what the checks find, by name.

    Args:
        folder: to write to.
        content: of the training file.
        val: of the validation file.
        images: image folder of both; its files are opened.
        options: of `InstanceFiles`.
    """
    forget_annotations()
    files = InstanceFiles(**options)
    findings: list[Finding] = []
    splits: list[Split] = []
    for name, part in (("train", content), ("val", val)):
        if part is not None:
            file = folder / f"{name}.json"
            file.write_text(json.dumps(part))
            split, found = read_split(name, file, images, files)
            splits.append(split)
            findings += [*found, *examine_labels(split, _skeleton(split), (96, 160), SIZES)]
    if val is not None:
        findings += examine_pair(splits[0], splits[1], files)
    if images is not None:
        findings += examine_images(splits, Reading(), orientation_matters=True, open_files=True)
    return {finding.check: finding for finding in findings}


def _skeleton(split: Split) -> Any:
    try:
        return split.annotations.skeleton() if isinstance(split.annotations, CocoAnnotations) else None
    except DataError:
        return None


def severities(findings: Sequence[Finding]) -> set[str]:
    """Return the severities among findings."""
    return {finding.severity for finding in findings}
