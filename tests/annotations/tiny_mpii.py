"""A small MPII dataset on disk."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NUM_KEYPOINTS = 16


def person(number: int, **changes: Any) -> dict[str, Any]:
    """One entry of the JSON, counted from 1; every seventh keypoint is unlabelled."""
    rng = np.random.default_rng(number)
    points = rng.integers(20, 80, (NUM_KEYPOINTS, 2)).astype(float)
    labels = [0 if (k + number) % 7 == 6 else 1 for k in range(NUM_KEYPOINTS)]
    points[np.array(labels) == 0] = -1
    return {
        "image": f"photo {number // 2}.jpg",  # two persons in each image
        "center": [50.0 + number, 45.0],
        "scale": 0.4 + 0.01 * number,
        "joints": points.tolist(),
        "joints_vis": labels,
        **changes,
    }


def truth_of(persons: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the arrays of gt_valid.mat for these persons, with persons as last axis."""
    points = np.array([row["joints"] for row in persons], float)
    labelled = np.array([row["joints_vis"] for row in persons])
    boxes = np.stack([points[:, 9], points[:, 9] + [60.0, 80.0]], axis=1)  # a diagonal of 100: a head size of 60
    return {"pos_gt_src": points.transpose(1, 2, 0), "jnt_missing": 1.0 - labelled.T, "headboxes_src": boxes.transpose(1, 2, 0)}


def write_persons(file: Path, persons: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(persons))
    return file


def write_dataset(folder: Path, count: int = 6) -> Path:
    """Write annot/train.json, annot/valid.json, annot/gt_valid.npz and images/; return the folder."""
    persons = [person(number) for number in range(count)]
    write_persons(folder / "annot/train.json", persons)
    write_persons(folder / "annot/valid.json", persons)
    np.savez(folder / "annot/gt_valid.npz", **truth_of(persons))
    (folder / "images").mkdir()
    for name in {row["image"] for row in persons}:
        image = np.full((100, 110, 3), 40, np.uint8)
        for row in persons:
            if row["image"] == name:
                for k, (x, y) in enumerate(row["joints"]):
                    colour = (16 * k, 255 - 16 * k, 80 * (k % 3))
                    cv2.circle(image, (int(x) - 1, int(y) - 1), 4, colour, -1)
        cv2.imwrite(str(folder / "images" / name), image)
    return folder
