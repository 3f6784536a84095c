"""The reference implementation of the COCO keypoint evaluation, and random cases."""

import contextlib
import io
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrpose.metrics import KeypointAveragePrecision
from hrpose.metrics.functional import Detections
from hrpose.structures import GroundTruth, Poses


def coco_numbers(annotations: dict[str, Any], results: list[dict[str, Any]], sigmas: Any) -> list[float]:
    """Return AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM and ARL of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = annotations
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in results]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def truth_from_coco(annotations: dict[str, Any], num_keypoints: int = 17) -> GroundTruth:
    objects = annotations["annotations"]
    keypoints = np.array([row["keypoints"] for row in objects], dtype=np.float64).reshape(-1, num_keypoints, 3)
    return GroundTruth(
        image_ids=np.array([row["id"] for row in annotations["images"]], dtype=np.int64),
        object_image_ids=np.array([row["image_id"] for row in objects], dtype=np.int64),
        instance_ids=np.array([row["id"] for row in objects], dtype=np.int64),
        category_ids=np.array([row["category_id"] for row in objects], dtype=np.int64),
        keypoints=keypoints[..., :2],
        visibility=keypoints[..., 2].astype(np.uint8),
        bbox=np.array([row["bbox"] for row in objects], dtype=np.float64).reshape(-1, 4),
        area=np.array([row["area"] for row in objects], dtype=np.float64),
        iscrowd=np.array([row["iscrowd"] for row in objects], dtype=bool),
        num_keypoints=np.array([row["num_keypoints"] for row in objects], dtype=np.int64),
    )


def detections_from_coco(results: list[dict[str, Any]], num_keypoints: int = 17) -> Detections:
    keypoints = np.array([row["keypoints"] for row in results], dtype=np.float64).reshape(-1, num_keypoints, 3)[..., :2]
    width, height = (keypoints.max(axis=1) - keypoints.min(axis=1)).T
    return Detections(
        image_ids=np.array([row["image_id"] for row in results], dtype=np.int64),
        category_ids=np.array([row["category_id"] for row in results], dtype=np.int64),
        keypoints=np.ascontiguousarray(keypoints),
        scores=np.array([row["score"] for row in results], dtype=np.float64),
        areas=width * height,
    )


def poses_from_coco(results: list[dict[str, Any]], num_keypoints: int = 17) -> Poses:
    number = len(results)
    triplets = np.array([row["keypoints"] for row in results], dtype=np.float64).reshape(-1, num_keypoints, 3)
    return Poses(
        keypoints=triplets[..., :2],
        keypoint_scores=triplets[..., 2].astype(np.float32),
        scores=np.array([row["score"] for row in results], dtype=np.float64),
        bbox_scores=np.ones(number, dtype=np.float32),
        center=np.zeros((number, 2)),
        scale=np.full((number, 2), 100.0),
        image_ids=np.array([row["image_id"] for row in results], dtype=np.int64),
        instance_ids=np.arange(number),
    )


def numbers(metric: KeypointAveragePrecision) -> list[float]:
    return [value.item() for value in metric.compute().values()]


def image_dicts(annotations: dict[str, Any], results: list[dict[str, Any]], num_keypoints: int = 17) -> tuple[list, list]:
    """Return one dict per image in the order of image ids, the input of torchmetrics."""
    preds, target = [], []
    for image_id in sorted(image["id"] for image in annotations["images"]):
        found = [row for row in results if row["image_id"] == image_id]
        there = [row for row in annotations["annotations"] if row["image_id"] == image_id]

        def column(rows: list[dict[str, Any]], name: str, *shape: int) -> torch.Tensor:
            kind = torch.int64 if name in {"category_id", "iscrowd", "num_keypoints"} else torch.float64
            return torch.tensor([row[name] for row in rows], dtype=kind).reshape(len(rows), *shape)

        preds.append(
            {
                "keypoints": column(found, "keypoints", num_keypoints, 3),
                "scores": column(found, "score"),
                "labels": column(found, "category_id"),
            }
        )
        target.append(
            {
                "keypoints": column(there, "keypoints", num_keypoints, 3),
                "area": column(there, "area"),
                "iscrowd": column(there, "iscrowd"),
                "num_keypoints": column(there, "num_keypoints"),
                "boxes": column(there, "bbox", 4),
                "labels": column(there, "category_id"),
            }
        )
    return preds, target


def random_case(
    seed: int, *, num_keypoints: int = 17, num_images: int = 6, num_categories: int = 1, distinct: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]], np.ndarray]:
    """Annotations, results and sigmas: crowds, persons without keypoints or area, near and far predictions, duplicates.

    With `distinct` no two scores are equal; else many are.
    """
    rng = np.random.default_rng(seed)
    sigmas = rng.uniform(0.02, 0.2, num_keypoints)
    persons, predictions = int(rng.integers(0, 30)), int(rng.integers(1, 90))
    area = rng.choice([0.0, 500.0, 1024.0, 3000.0, 9216.0, 9216.5, 20000.0], persons)
    side = np.sqrt(area) + 1
    shape = (persons, num_keypoints, 2)
    keypoints = np.round(rng.uniform(0, 300, (persons, 1, 2)) + rng.normal(size=shape) * side[:, None, None] * 0.3)
    visibility = rng.integers(0, 3, shape[:2])
    visibility[rng.random(persons) < 0.2] = 0
    image, category = rng.integers(0, num_images, persons), rng.integers(1, num_categories + 1, persons)
    ids = rng.permutation(persons) + 1
    annotations = {
        "images": [{"id": 7 * index + 3} for index in range(num_images)],
        "categories": [{"id": index + 1} for index in range(num_categories)],
        "annotations": [
            {
                "id": int(ids[row]),
                "image_id": 7 * int(image[row]) + 3,
                "category_id": int(category[row]),
                "iscrowd": int(rng.random() < 0.15),
                "bbox": [*keypoints[row].min(axis=0).tolist(), *np.ptp(keypoints[row], axis=0).tolist()],
                "area": float(area[row]),
                "num_keypoints": int((visibility[row] > 0).sum()),
                "keypoints": np.column_stack([keypoints[row], visibility[row]]).reshape(-1).tolist(),
            }
            for row in range(persons)
        ],
    }
    scores = rng.permutation(predictions) / predictions if distinct else np.round(rng.random(predictions), 1)
    results: list[dict[str, Any]] = []
    for row in range(predictions):
        if persons and rng.random() < 0.8:
            near = int(rng.integers(persons))
            noise = rng.normal(size=(num_keypoints, 2)) * sigmas[:, None] * side[near] * rng.choice([0, 0.3, 1.0, 2.0])
            pose, place, kind = keypoints[near] + noise, int(image[near]), int(category[near])
        else:
            pose, place = rng.uniform(0, 300, (num_keypoints, 2)), int(rng.integers(num_images))
            kind = int(rng.integers(1, num_categories + 1))
        triplets = np.column_stack([pose, np.ones(num_keypoints)]).reshape(-1).tolist()
        results.append({"image_id": 7 * place + 3, "category_id": kind, "keypoints": triplets, "score": float(scores[row])})
        if not distinct and rng.random() < 0.1:
            results.append(dict(results[int(rng.integers(len(results)))]))
    return annotations, results, sigmas


def contradict(annotations: dict[str, Any], seed: int) -> dict[str, Any]:
    """Set `num_keypoints` of a third of the objects to 0, 1 or 99, regardless of their labels."""
    rng = np.random.default_rng(seed)
    rows = [
        {**row, "num_keypoints": int(rng.choice([0, 1, 99]))} if rng.random() < 0.34 else row
        for row in annotations["annotations"]
    ]
    return {**annotations, "annotations": rows}
