"""Imitate a person detector: boxes a little off, some twice, some people missed, some boxes around nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hrpose.synthetic.body import Floats

_PROB_TWICE, _FALSE_ALARMS = 0.15, 1.2  # share of people found twice; mean number of false alarms in a photo


def detect_people(
    images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Return COCO detection rows {image_id, category_id, bbox, score} for photos and their person annotations.

    Half-hidden and small people are missed more often; the farther a box is off, the lower its score.
    """
    boxes: dict[int, list[Floats]] = {image["id"]: [] for image in images}
    hard: dict[int, list[float]] = {image["id"]: [] for image in images}
    for annotation in annotations:
        if not annotation["iscrowd"]:
            boxes[annotation["image_id"]].append(np.array(annotation["bbox"]))
            hard[annotation["image_id"]].append(1.0 if annotation["num_keypoints"] < 6 else 0.0)
    rows = []
    for image in images:
        rng = np.random.default_rng((seed, image["id"]))
        size = np.array([image["width"], image["height"]], float)
        found: list[tuple[Floats, float]] = []
        for bbox, difficulty in zip(boxes[image["id"]], hard[image["id"]], strict=True):
            if rng.random() > 0.03 + 0.35 * difficulty:
                found.append(_jitter(rng, bbox, 0.035 + 0.05 * difficulty, size))
            if rng.random() < _PROB_TWICE:
                bbox, score = _jitter(rng, bbox, 0.16, size)
                found.append((bbox, score * rng.uniform(0.2, 0.7)))
        found += [_false_alarm(rng, size) for _ in range(rng.poisson(_FALSE_ALARMS))]
        rows += [
            {
                "image_id": image["id"],
                "category_id": 1,
                "bbox": np.round(bbox, 2).tolist(),
                "score": round(float(score), 4),
            }
            for bbox, score in found
        ]
    return rows


def _jitter(rng: np.random.Generator, bbox: Floats, spread: float, size: Floats) -> tuple[Floats, float]:
    """Return the box moved and stretched by `spread` of its size, and a score that falls with the error."""
    move, stretch = rng.normal(0, spread, 2), rng.normal(0, spread, 2)
    extent = bbox[2:] * np.exp(stretch)
    corner = bbox[:2] + bbox[2:] / 2 + move * bbox[2:] - extent / 2
    error = float(np.abs(move).sum() + np.abs(stretch).sum())
    return _clip(corner, corner + extent, size), float(np.clip(1 - 1.3 * error + rng.normal(0, 0.06), 0.05, 0.999))


def _false_alarm(rng: np.random.Generator, size: Floats) -> tuple[Floats, float]:
    extent = size.min() * rng.uniform(0.15, 0.7) * np.array([rng.uniform(0.3, 0.9), 1.0])
    corner = rng.uniform(0, 1, 2) * (size - extent)
    return _clip(corner, corner + extent, size), float(0.02 + 0.7 * rng.beta(1.0, 4.0))


def _clip(low: Floats, high: Floats, size: Floats) -> Floats:
    low, high = np.clip(low, 0, size - 2), np.clip(high, 2, size)
    return np.concatenate([low, np.maximum(high - low, 2.0)])
