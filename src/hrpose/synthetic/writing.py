"""Write drawn images, their labels and simulated detections to disk as a COCO person keypoint dataset."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from hrpose.files import dumps
from hrpose.progress import show_progress
from hrpose.skeletons import COCO
from hrpose.synthetic.labels import Label
from hrpose.synthetic.people import Floats
from hrpose.synthetic.scene import draw_scene

logger = logging.getLogger(__name__)

VERSION = 2  # of the drawings; a dataset of another version is replaced
MARKER = "drawn_by_hrpose.json"
DETECTIONS = "COCO_val2017_detections_AP_H_56_person.json"
_MIN_POOL_IMAGES = 200  # fewer images are drawn in this process
_FIRST_ID = {"train": 1, "val": 100_001}
_PROB_LANDSCAPE = 0.75
_PROB_DUPLICATE, _MEAN_FALSE_POSITIVES = 0.15, 1.2  # per person; per image


Drawn: TypeAlias = tuple[tuple[int, int], list[Label]]  # (width, height) and labels of an image on disk


def write_dataset(
    folder: str | Path, *, num_train: int = 1000, num_val: int = 200, seed: int = 0, image_size: tuple[int, int] = (320, 240)
) -> Path:
    """Draw people and write them as a COCO dataset, unless the same dataset exists; return the folder.

    The layout is COCO's: annotations/person_keypoints_{train,val}2017.json, train2017/, val2017/ and person_detection_results/
    with the boxes of a simulated person detector for the val images. Files are written to a temporary folder, which is renamed
    when it is complete. The same arguments give the same pixels, on any number of cores.

    Args:
        folder: folder of the dataset; parents are created.
        num_train: number of training images.
        num_val: number of validation images, which show other people.
        seed: seed of the drawings.
        image_size: (width, height) in pixels of the landscape images; a quarter of the images is portrait.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if the folder contains files that this function did not write. It is not changed.
    """
    _check(num_train, num_val, image_size)
    target = Path(folder).absolute()
    arguments = {
        "version": VERSION, "num_train": num_train, "num_val": num_val, "seed": seed, "image_size": list(image_size)
    }  # fmt: skip
    if _is_complete(target, arguments):
        return Path(folder)
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.partial-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _write_all(unfinished, arguments)
        _take_place(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Path(folder)


def _check(num_train: int, num_val: int, image_size: tuple[int, int]) -> None:
    for name, value in (("num_train", num_train), ("num_val", num_val)):
        if not 1 <= value <= 99_999:
            raise ValueError(f"Expected `{name}` to be between 1 and 99999, but got {value}")
    if len(image_size) != 2 or min(image_size) < 64:
        raise ValueError(f"Expected `image_size` to be (width, height) of at least 64 pixels, but got {tuple(image_size)}")


def _is_complete(folder: Path, arguments: dict[str, Any]) -> bool:
    if _read_marker(folder) != arguments:
        return False
    files = [*_annotation_files(folder), folder / "person_detection_results" / DETECTIONS]
    counts = {split: len(list((folder / f"{split}2017").glob("*.jpg"))) for split in _FIRST_ID}
    complete = all(file.is_file() for file in files) and all(counts[split] == arguments[f"num_{split}"] for split in counts)
    if not complete:
        logger.warning("%s is incomplete; drawing all images again", folder)
    return complete


def _read_marker(folder: Path) -> Any:
    try:
        return json.loads((folder / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _refuse_foreign(target: Path) -> None:
    if (target / MARKER).is_file() or not target.exists():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise FileExistsError(
            f"Expected a new folder or a dataset of write_dataset, but {target} exists without {MARKER}. "
            "It is not changed; choose another folder, or remove this one."
        )


def _take_place(unfinished: Path, target: Path) -> None:
    """Rename the finished folder to `target`; an earlier dataset is removed afterwards."""
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    if target.exists():
        target.rename(old)
    unfinished.rename(target)
    if old.exists():
        shutil.rmtree(old)


def _annotation_files(folder: Path) -> list[Path]:
    return [folder / "annotations" / f"person_keypoints_{split}2017.json" for split in _FIRST_ID]


def _write_all(folder: Path, arguments: dict[str, Any]) -> None:
    for name in ("annotations", "train2017", "val2017", "person_detection_results"):
        (folder / name).mkdir(parents=True)
    files = [
        folder / f"{split}2017" / f"{number:012d}.jpg"
        for split, first in _FIRST_ID.items()
        for number in range(first, first + arguments[f"num_{split}"])
    ]
    drawn = {}
    with show_progress("Drawing people", len(files), "images") as advance:
        for file, result in zip(files, _draw_all(files, arguments["seed"], tuple(arguments["image_size"])), strict=True):
            drawn[file] = result
            advance()
    for split, file in zip(_FIRST_ID, _annotation_files(folder), strict=True):
        content = _to_coco({path: image for path, image in drawn.items() if path.parent.name == f"{split}2017"})
        file.write_text(dumps(content))
    detections = detect_people(content["images"], content["annotations"], arguments["seed"])
    (folder / "person_detection_results" / DETECTIONS).write_text(dumps(detections))
    (folder / MARKER).write_text(dumps(arguments))


def _draw_all(files: Sequence[Path], seed: int, image_size: tuple[int, int]) -> Iterator[Drawn]:
    draw = partial(_draw, seed=seed, image_size=image_size)
    num_workers = min(len(os.sched_getaffinity(0)), 16)
    if len(files) < _MIN_POOL_IMAGES or num_workers < 2:
        yield from map(draw, files)
        return
    with ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_start_worker) as pool:
        with _signals_blocked():  # the workers start here
            drawn = pool.map(draw, files, chunksize=8)
        yield from drawn


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start processes that ignore Ctrl-C and SIGTERM; this process ends them. Otherwise each prints a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Limit OpenCV to one thread, because the processes use all cores, and end this process with its parent."""
    cv2.setNumThreads(0)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _draw(file: Path, seed: int, image_size: tuple[int, int]) -> Drawn:
    """Draw one image, write it, and return its labels, which depend on the seed and the image id, its name, only."""
    rng = np.random.default_rng((seed, int(file.stem)))
    size = image_size if rng.random() < _PROB_LANDSCAPE else image_size[::-1]
    scene = draw_scene(rng, size)
    quality = int(rng.integers(60, 96))
    _, data = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    file.write_bytes(data.tobytes())
    return size, list(scene.labels.values())


def _to_coco(drawn: dict[Path, Drawn]) -> dict[str, Any]:
    images, annotations = [], []
    for file, (size, labels) in drawn.items():
        image_id = int(file.stem)
        images.append({"id": image_id, "file_name": file.name, "width": size[0], "height": size[1], "license": 1})
        annotations += [_to_row(label, image_id, 100 * image_id + number, size) for number, label in enumerate(labels, start=1)]
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(COCO.keypoint_names),
        "skeleton": [[start + 1, end + 1] for start, end in COCO.edges],
    }
    return {
        "info": {"description": "People drawn by hrpose", "version": str(VERSION)},
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }


def _to_row(label: Label, image_id: int, annotation_id: int, image_size: tuple[int, int]) -> dict[str, Any]:
    """Make the COCO row of a label; one without keypoints has a segmentation, which losses on whole images leave out."""
    unlabelled = not label.visibility.any()
    segmentation = {"segmentation": {"size": list(image_size[::-1]), "counts": label.runs}} if unlabelled else {}
    keypoints = np.concatenate([np.round(label.keypoints, 2), label.visibility[:, None]], axis=1)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": int(label.iscrowd),
        "bbox": list(label.bbox),
        "area": float(label.area),
        "num_keypoints": int((label.visibility > 0).sum()),
        **segmentation,
        "keypoints": [int(value) if value == int(value) else value for value in keypoints.ravel().tolist()],
    }


def detect_people(images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Simulate a person detector: return COCO rows {image_id, category_id, bbox, score} for images and person annotations.

    Boxes are inexact, some people are detected twice or not at all, and some boxes contain no person. People with few labelled
    keypoints are missed more often; the larger the error of a box, the lower its score.
    """
    people: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for annotation in annotations:
        if not annotation["iscrowd"]:
            people[annotation["image_id"]].append(annotation)
    rows = []
    for image in images:
        rng = np.random.default_rng((seed, image["id"]))
        size = np.array([image["width"], image["height"]], float)
        found: list[tuple[Floats, float]] = []
        for annotation in people[image["id"]]:
            bbox, difficulty = np.array(annotation["bbox"]), 1.0 if annotation["num_keypoints"] < 6 else 0.0
            if rng.random() > 0.03 + 0.35 * difficulty:
                found.append(_jitter(rng, bbox, 0.035 + 0.05 * difficulty, size))
            if rng.random() < _PROB_DUPLICATE:
                bbox, score = _jitter(rng, bbox, 0.16, size)
                found.append((bbox, score * rng.uniform(0.2, 0.7)))
        found += [_false_positive(rng, size) for _ in range(rng.poisson(_MEAN_FALSE_POSITIVES))]
        rows += [
            {"image_id": image["id"], "category_id": 1, "bbox": np.round(bbox, 2).tolist(), "score": round(float(score), 4)}
            for bbox, score in found
        ]
    return rows


def _jitter(rng: np.random.Generator, bbox: Floats, spread: float, size: Floats) -> tuple[Floats, float]:
    """Return the box, randomly moved and scaled by about `spread` of its size, and a score that decreases with the error."""
    move, stretch = rng.normal(0, spread, 2), rng.normal(0, spread, 2)
    extent = bbox[2:] * np.exp(stretch)
    corner = bbox[:2] + bbox[2:] / 2 + move * bbox[2:] - extent / 2
    error = float(np.abs(move).sum() + np.abs(stretch).sum())
    return _clip(corner, corner + extent, size), float(np.clip(1 - 1.3 * error + rng.normal(0, 0.06), 0.05, 0.999))


def _false_positive(rng: np.random.Generator, size: Floats) -> tuple[Floats, float]:
    extent = size.min() * rng.uniform(0.15, 0.7) * np.array([rng.uniform(0.3, 0.9), 1.0])
    corner = rng.uniform(0, 1, 2) * (size - extent)
    return _clip(corner, corner + extent, size), float(0.02 + 0.7 * rng.beta(1.0, 4.0))


def _clip(low: Floats, high: Floats, size: Floats) -> Floats:
    low, high = np.clip(low, 0, size - 2), np.clip(high, 2, size)
    return np.concatenate([low, np.maximum(high - low, 2.0)])
