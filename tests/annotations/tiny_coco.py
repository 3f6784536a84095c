"""A COCO dataset of a few random images and persons, for the tests of the data path."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hrpose.codecs import HeatmapCodec
from hrpose.data.datamodule import PoseDataModule
from hrpose.skeletons import COCO

CODEC = HeatmapCodec(input_size=(48, 64), heatmap_size=(12, 16), sigma=2)
CATEGORY = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names), "skeleton": [[1, 2]]}


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    """One person; every fifth keypoint is unlabelled, every third occluded."""
    rng = np.random.default_rng(number)
    points = rng.integers(5, 60, (17, 2))
    labels = [0 if k % 5 == 4 else 1 if k % 3 == 2 else 2 for k in range(17)]
    triplets = [[0, 0, 0] if v == 0 else [int(x), int(y), v] for (x, y), v in zip(points, labels, strict=True)]
    row = {
        "id": 100 + number,
        "image_id": 1 + number % 4,
        "category_id": 1,
        "bbox": [4, 6, 50 + number, 60 - number],
        "area": 1200.5,
        "iscrowd": 0,
        "keypoints": [value for triplet in triplets for value in triplet],
    }
    return {**row, **changes}


def content(num_instances: int = 11) -> dict[str, Any]:
    """Four images of 90 x 70 pixels and some persons on them."""
    images = [{"id": i, "file_name": f"photo {i}.jpg", "width": 90, "height": 70} for i in range(1, 5)]
    return {"images": images, "annotations": [annotation(i) for i in range(num_instances)], "categories": [CATEGORY]}


def write_json(file: Path, what: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(what))
    return file


def write_image(file: Path, seed: int = 0, size: tuple[int, int] = (90, 70)) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 10, size[0] // 10, 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC))
    return file


def write_dataset(folder: Path, num_instances: int = 11) -> Path:
    """Write persons.json, detections.json and images/; return the folder."""
    document = content(num_instances)
    write_json(folder / "persons.json", document)
    detections = [{"image_id": 1 + i % 4, "category_id": 1, "bbox": [3.5, 4.25, 40, 50], "score": 0.1 * i} for i in range(1, 8)]
    write_json(folder / "detections.json", detections)
    for image in document["images"]:
        write_image(folder / "photos" / image["file_name"], seed=image["id"])
    return folder


def datamodule(folder: Path, **changes: Any) -> PoseDataModule:
    """A data module of what `write_dataset` wrote."""
    defaults = {
        "codec": CODEC,
        "train_annotations": folder / "persons.json",
        "train_images": folder / "photos",
        "val_annotations": folder / "persons.json",
        "val_images": folder / "photos",
        "batch_size": 2,
        "val_batch_size": 4,
        "seed": 3,
    }
    return PoseDataModule(skeleton=COCO, **{**defaults, **changes})
