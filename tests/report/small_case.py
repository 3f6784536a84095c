"""A small evaluation with every kind of error, in memory and as COCO files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from known_errors import inject, pairs_of_people, predict

from hrpose.metrics.functional import Detections
from hrpose.report import Evaluated, FileStamp, Protocol
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth

KINDS = ("good", "jitter", "inversion", "swap", "miss")
PROTOCOL = Protocol(
    annotations=FileStamp("gt.json", "a" * 64),
    category="person",
    num_images=20,
    num_instances=40,
    sigmas="coco",
    max_detections=20,
)


def mixture() -> tuple[GroundTruth, Detections, dict[str, int]]:
    """Return 40 instances, 37 of them found, 5 false positives, and the counts of errors."""
    rng = np.random.default_rng(0)
    truth = pairs_of_people(20)
    kinds = rng.choice(KINDS, (40, 17), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    kinds[:, 0] = np.where(kinds[:, 0] == "inversion", "good", kinds[:, 0])
    found, junk = predict(truth, inject(truth, kinds)), predict(truth, truth.keypoints - 30_000)
    kept = np.ones(40, dtype=bool)
    kept[[3, 10, 27]] = False
    parts = {name: np.concatenate([values[kept], getattr(junk, name)[:5]]) for name, values in vars(found).items()}
    counts = {kind: int((kinds[kept] == kind).sum()) for kind in KINDS}
    return truth, Detections(**parts), {**counts, "false positives": 5, "false negatives": 3}


def evaluated() -> Evaluated:
    truth, detections, _ = mixture()
    scores = np.random.default_rng(1).random(detections.keypoints.shape[:2])
    return Evaluated(detections, scores, truth, COCO, PROTOCOL)


def annotation_content(truth: GroundTruth) -> dict[str, Any]:
    persons = [
        {
            "id": row + 1,
            "image_id": int(truth.object_image_ids[row]),
            "category_id": 1,
            "iscrowd": 0,
            "bbox": truth.bbox[row].tolist(),
            "area": float(truth.area[row]),
            "num_keypoints": int((truth.visibility[row] > 0).sum()),
            "keypoints": np.column_stack([truth.keypoints[row], truth.visibility[row]]).ravel().tolist(),
        }
        for row in range(len(truth))
    ]
    images = [{"id": int(i), "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in truth.image_ids]
    return {
        "images": images,
        "annotations": persons,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}],
    }


def result_rows(detections: Detections, scores: Any = 0.5) -> list[dict[str, Any]]:
    given = np.broadcast_to(scores, detections.keypoints.shape[:2])
    return [
        {
            "image_id": int(detections.image_ids[row]),
            "category_id": 1,
            "keypoints": np.column_stack([detections.keypoints[row], given[row]]).ravel().tolist(),
            "score": float(detections.scores[row]),
        }
        for row in range(len(detections))
    ]


def write_files(folder: Path) -> tuple[Path, Path]:
    """Write the mixture as gt.json and res.json."""
    truth, detections, _ = mixture()
    files = folder / "gt.json", folder / "res.json"
    files[0].write_text(json.dumps(annotation_content(truth)))
    files[1].write_text(json.dumps(result_rows(detections, np.linspace(0.1, 0.9, 17))))
    return files
