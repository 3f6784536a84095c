"""Time the keypoint evaluation, pycocotools and faster-coco-eval in one run.

python scripts/benchmarks/metric.py                                        the size of COCO val2017: a minute
python scripts/benchmarks/metric.py --num-detections 5000 --repeats 1
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from machine import describe_machine
from rich import box
from rich.console import Console
from rich.table import Table

from hrpose.annotations.coco import forget_annotations, read_annotations
from hrpose.files import dumps
from hrpose.metrics.functional import Detections, average_precision, keypoint_variances, oks_nms
from hrpose.metrics.functional.oks import Floats
from hrpose.metrics.results import read_results
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth

T = TypeVar("T")
_PEERS = {"pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
          "faster-coco-eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster")}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Print the seconds of evaluate + accumulate in memory, of OKS-NMS, and from two JSON files to AP.

    The time of hrpose is the fastest of the repeats; the other tools run once. Tools that are not installed are left out.

    Returns:
        Seconds by task and tool.

    Raises:
        RuntimeError: if a tool gives other numbers.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=5000, help="number of images, half of them with people")
    parser.add_argument("--num-persons", type=int, default=11_004, help="number of annotations, including crowds")
    parser.add_argument("--num-detections", type=int, default=104_125, help="detections, half of them near an annotation")
    parser.add_argument("--repeats", type=int, default=5, help="runs of hrpose; the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    truth, detections = draw_validation(options.num_images, options.num_persons, options.num_detections, options.seed)
    seconds, memory = compare_tools(truth, detections, options.repeats)
    table = Table(
        title=f"Keypoint AP of {len(truth):,} annotations and {len(detections):,} detections in {len(truth.image_ids):,} images",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    for column in ("task", "tool", "seconds", "times hrpose"):
        table.add_column(column, justify="left" if column in ("task", "tool") else "right")
    for task, tools in seconds.items():
        for tool, value in tools.items():
            table.add_row(task if tool == "hrpose" else "", tool, f"{value:.3f}", f"{value / tools['hrpose']:.1f}")
    console = Console()
    console.print(table)
    console.print(f"All tools give the same numbers. Peak memory of the process with hrpose: {memory / 1e9:.2f} GB.")
    console.print(describe_machine())
    return seconds


def compare_tools(truth: GroundTruth, detections: Detections, repeats: int) -> tuple[dict[str, dict[str, float]], float]:
    """Return the seconds by task and tool, and the peak memory in bytes after hrpose's part."""
    seconds: dict[str, dict[str, float]] = {"evaluate + accumulate": {}, "OKS-NMS": {}, "JSON files to AP": {}}
    ours, seconds["evaluate + accumulate"]["hrpose"] = _timed(lambda: average_precision(detections, truth, COCO.sigmas), repeats)
    poses = (detections.keypoints, detections.scores, detections.areas, detections.image_ids)
    kept, seconds["OKS-NMS"]["hrpose"] = _timed(lambda: oks_nms(*poses, COCO.sigmas), repeats)
    looped, seconds["OKS-NMS"]["plain loop"] = _timed(lambda: _suppress_one_by_one(*poses, threshold=0.9))
    _require_equal(kept.tolist(), looped, "the plain loop")
    with tempfile.TemporaryDirectory() as folder:
        files = _write_files(Path(folder), truth, detections)
        numbers, seconds["JSON files to AP"]["hrpose"] = _timed(lambda: _files_to_ap(*files), min(repeats, 2))
        _require_equal(list(numbers.values()), list(ours.values()), "hrpose from files")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        for tool in _PEERS:
            if importlib.util.find_spec(_PEERS[tool][0].partition(".")[0]) is not None:
                stats, alone, whole = _time_peer(tool, *files)
                _require_equal(stats, list(ours.values()), tool)
                seconds["evaluate + accumulate"][tool], seconds["JSON files to AP"][tool] = alone, whole
    return seconds, memory


def draw_validation(num_images: int, num_persons: int, num_detections: int, seed: int) -> tuple[GroundTruth, Detections]:
    """Draw annotations and detections with the crowding, unlabelled people and false positives of a real validation set."""
    rng = np.random.default_rng(seed)
    shape, image_size = (num_persons, COCO.num_keypoints, 2), np.array([640.0, 480.0])
    image_ids = np.sort(rng.integers(0, (num_images + 1) // 2, num_persons))
    side = np.exp(rng.normal(4.5, 0.8, num_persons))
    keypoints = np.round(rng.random((num_persons, 1, 2)) * image_size + rng.normal(size=shape) * 0.25 * side[:, None, None])
    visibility = 2 * (rng.random(shape[:2]) < 0.65).astype(np.uint8)
    visibility[rng.random(num_persons) < 0.4] = 0
    crowd = ~visibility.any(axis=1) & (rng.random(num_persons) < 0.1)
    low = keypoints.min(axis=1)
    truth = GroundTruth(
        np.arange(num_images), image_ids, np.arange(num_persons) + 1, np.ones(num_persons, dtype=np.int64), keypoints,
        visibility, np.concatenate([low, keypoints.max(axis=1) - low], axis=1), side**2 / 2, crowd,
    )  # fmt: skip
    near = np.sort(rng.integers(0, num_persons, num_detections // 2))
    spread = np.array(COCO.sigmas) * side[near, None] * rng.exponential(1.2, (len(near), 1))
    junk = num_detections - len(near)
    size = np.exp(rng.normal(4.5, 0.8, (junk, 1, 1)))
    found = keypoints[near] + rng.normal(size=(len(near), *shape[1:])) * spread[..., None]
    fake = rng.random((junk, 1, 2)) * image_size + rng.normal(size=(junk, *shape[1:])) * 0.25 * size
    poses = np.concatenate([found, fake])
    width, height = (poses.max(axis=1) - poses.min(axis=1)).T
    images = np.concatenate([image_ids[near], rng.integers(0, num_images, junk)])
    one = np.ones(num_detections, dtype=np.int64)
    return truth, Detections(images, one, poses, rng.random(num_detections), width * height)


def _suppress_one_by_one(keypoints: Floats, scores: Floats, areas: Floats, image_ids: Any, *, threshold: float) -> list[int]:
    """Compute OKS-NMS in a loop over images, kept poses and candidates."""
    variances, kept = keypoint_variances(COCO.sigmas), []
    by_image = np.argsort(image_ids, kind="stable")
    for rows in np.split(by_image, np.flatnonzero(np.diff(image_ids[by_image])) + 1):
        order = rows[np.argsort(-scores[rows], kind="stable")]
        while len(order):
            best, order = order[0], order[1:]
            kept.append(int(best))
            similar = np.zeros(len(order))
            for place, other in enumerate(order):
                dx, dy = (keypoints[other] - keypoints[best]).T
                errors = (dx**2 + dy**2) / variances / ((areas[best] + areas[other]) / 2 + np.spacing(1)) / 2
                similar[place] = np.sum(np.exp(-errors)) / len(errors)
            order = order[similar <= threshold]
    return kept


def _files_to_ap(annotations: Path, results: Path) -> dict[str, float]:
    forget_annotations()
    truth = read_annotations(annotations).ground_truth()
    return average_precision(read_results(results, truth), truth, COCO.sigmas)


def _time_peer(tool: str, annotations: Path, results: Path) -> tuple[list[float], float, float]:
    """Return the ten numbers of a tool, its seconds for evaluate + accumulate, and its seconds from files to AP."""
    coco_module, coco_name, eval_module, eval_name = _PEERS[tool]
    coco, evaluate = (getattr(importlib.import_module(m), n) for m, n in ((coco_module, coco_name), (eval_module, eval_name)))
    logging.getLogger(coco_module.partition(".")[0]).setLevel(logging.WARNING)  # its output would interrupt the table
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco(str(annotations))
        evaluation = evaluate(truth, truth.loadRes(str(results)), "keypoints")
        middle = time.perf_counter()
        evaluation.evaluate()
        evaluation.accumulate()
        alone = time.perf_counter() - middle
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:10]], alone, time.perf_counter() - start


def _write_files(folder: Path, truth: GroundTruth, detections: Detections) -> tuple[Path, Path]:
    """Write annotations and detections as COCO JSON."""
    persons = [
        {"id": int(truth.instance_ids[row]), "image_id": int(truth.object_image_ids[row]), "category_id": 1,
         "iscrowd": int(truth.iscrowd[row]), "bbox": truth.bbox[row].tolist(), "area": float(truth.area[row]),
         "num_keypoints": int((truth.visibility[row] > 0).sum()),
         "keypoints": np.column_stack([truth.keypoints[row], truth.visibility[row]]).ravel().tolist()}
        for row in range(len(truth))
    ]  # fmt: skip
    images = [{"id": int(i), "width": 640, "height": 480, "file_name": f"{i:012d}.jpg"} for i in truth.image_ids]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names), "skeleton": []}
    files = folder / "annotations.json", folder / "results.json"
    files[0].write_text(dumps({"images": images, "annotations": persons, "categories": [category]}))
    with files[1].open("w") as file:
        for row, score in enumerate(detections.scores.tolist()):
            triplets = np.column_stack([detections.keypoints[row], np.ones(COCO.num_keypoints)]).ravel().tolist()
            pose = {"image_id": int(detections.image_ids[row]), "category_id": 1, "keypoints": triplets, "score": score}
            file.write(f"{',' if row else '['}\n{dumps(pose)}")
        file.write("]")
    return files


def _timed(work: Callable[[], T], repeats: int = 1) -> tuple[T, float]:
    """Return the result of `work` and the seconds of its fastest run."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return result, best


def _require_equal(got: list[Any], wanted: list[Any], tool: str) -> None:
    if len(got) != len(wanted) or not np.allclose(got, wanted, rtol=0, atol=1e-9):
        raise RuntimeError(f"Expected {tool} and hrpose to give the same numbers, but got {got[:10]} and {wanted[:10]}.")


if __name__ == "__main__":
    main()
