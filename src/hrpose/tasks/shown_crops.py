"""Crops for HTML pages: training crops, and predictions with their annotations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.codecs import Codec
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.dataset import PoseDataset
from hrpose.errors import DataError
from hrpose.estimator.engine import Engine
from hrpose.geometry import invert_affine, transform_points
from hrpose.metrics.functional.matching import keypoint_similarity
from hrpose.metrics.functional.oks import keypoint_variances, oks_pairs
from hrpose.metrics.rows import Predictions
from hrpose.progress import show_progress
from hrpose.report.crops import ShownCrop
from hrpose.structures import GroundTruth, InstanceTable, Poses, Sample

NUM_CROPS = 12
NUM_PREDICTED = 128  # instances that `predicted_crops` estimates to find the worst


def spread_rows(count: int, number: int, seed: int) -> NDArray[np.int64]:
    """Choose at most `number` of `count` rows: one at random from each of equal intervals."""
    edges = np.linspace(0, count, min(number, count) + 1)
    draws = np.random.default_rng(seed).random(len(edges) - 1)
    return np.floor(edges[:-1] + draws * np.diff(edges)).astype(np.int64).clip(0, max(count - 1, 0))


def training_crops(datamodule: PoseDataModule, table: InstanceTable, *, number: int = NUM_CROPS) -> list[ShownCrop]:
    """Make training crops of instances spread over a table, as in the first epoch, with the targets of the codec."""
    if not len(table):
        return []
    dataset = datamodule.crops(table, train=True)
    return [_show(dataset, row, datamodule.codec) for row in spread_rows(len(table), number, datamodule.seed).tolist()]


def predicted_crops(
    datamodule: PoseDataModule, table: InstanceTable, folder: Path, engine: Engine, *, number: int = NUM_CROPS
) -> tuple[list[ShownCrop], str]:
    """Estimate up to `NUM_PREDICTED` instances spread over a table, and make crops of the worst.

    The engine determines the size of the crops, the data module the box padding and how images are read.

    Returns:
        The crops, lowest OKS first; and a sentence about the sample.
    """
    options: Any = {"grid": engine.grid, "bbox_padding": datamodule.bbox_padding, "reading": datamodule.reading}
    dataset = PoseDataset(table, folder, engine.input_size, engine.skeleton, **options)
    variances = keypoint_variances(datamodule.skeleton.sigmas)
    labelled = np.flatnonzero((table.visibility > 0).any(axis=1))
    rows = labelled[spread_rows(len(labelled), NUM_PREDICTED, datamodule.seed)]
    found: list[tuple[float, int, Poses]] = []
    with show_progress("predictions", len(rows), "instances", delay=1.0) as advance:
        for row in rows.tolist():
            try:
                poses = engine(dataset.__getitems__([row]))
            except (DataError, OSError):
                continue  # the note counts them
            finally:
                advance()
            annotated, area = table.keypoints[[row]].astype(np.float64), table.area[[row]].astype(np.float64)
            similarity = keypoint_similarity(poses.keypoints, annotated, area, variances)
            found.append((float(similarity[0, table.visibility[row] > 0].mean()), row, poses))
    found.sort(key=lambda entry: entry[:2])
    shown = [(row, (poses.keypoints[0], poses.keypoint_scores[0]), oks) for oks, row, poses in found[:number]]
    crops = [_show(dataset, row, predicted=predicted, oks=oks) for row, predicted, oks in shown]
    note = f"The {len(crops)} predictions of lowest OKS among {len(found)} instances spread over the set."
    if num_unreadable := len(rows) - len(found):
        note += f" The images of {num_unreadable} other instances cannot be read."
    return crops, note


def worst_crops(
    datamodule: PoseDataModule, boxes: str, predictions: Predictions, truth: GroundTruth, *, number: int = NUM_CROPS
) -> list[ShownCrop]:
    """Make crops of the annotated instances whose best pose has the lowest OKS, lowest first. Only their images are read.

    The crops have the prediction if it is inside.
    """
    objects = np.flatnonzero(~truth.is_ignored & (truth.visibility > 0).any(axis=1))
    best, oks = best_poses(predictions, truth.select(objects), datamodule.skeleton.sigmas)
    order = np.argsort(oks, kind="stable")[:number]
    if not len(order):
        return []
    table = _table_of(truth.select(objects[order]), datamodule.val_tables[boxes])
    dataset = datamodule.crops(table, train=False)
    shown = []
    for row, index in enumerate(order.tolist()):
        pose = predictions.detections.keypoints[best[index]], predictions.keypoint_scores[best[index]]
        predicted = pose if best[index] >= 0 else None
        crop = _show(dataset, row, predicted=predicted, oks=float(oks[index]))
        if crop.image is not None and crop.predicted is not None:
            inside = ((crop.predicted >= 0) & (crop.predicted < crop.image.shape[1::-1])).all(axis=1)
            if inside.mean() < 0.5:  # the pose of another instance
                crop = replace(crop, predicted=None)
        shown.append(crop)
    return shown


def best_poses(
    predictions: Predictions, truth: GroundTruth, sigmas: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the pose with the highest OKS for each of M annotated instances, among the poses of its image.

    Returns:
        Rows of the poses (M,), -1 if the image has none; and OKS (M,), 0 for these.
    """
    image_ids = predictions.detections.image_ids
    order = np.argsort(image_ids, kind="stable")
    first = np.searchsorted(image_ids[order], truth.object_image_ids, side="left")
    counts = np.searchsorted(image_ids[order], truth.object_image_ids, side="right") - first
    instances = np.repeat(np.arange(len(truth)), counts)
    within = np.arange(len(instances)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = order[np.repeat(first, counts) + within]
    keypoints = np.asarray(predictions.detections.keypoints, np.float64)
    similarity = oks_pairs(keypoints, truth, keypoint_variances(sigmas), rows, instances)
    best, oks = np.full(len(truth), -1), np.zeros(len(truth))
    ascending = np.argsort(similarity, kind="stable")
    best[instances[ascending]], oks[instances[ascending]] = rows[ascending], similarity[ascending]
    return best, oks


def drop_missing(table: InstanceTable, folder: Path) -> InstanceTable:
    """Remove the instances of images that are not in the folder."""
    used = np.unique(table.image_index)
    present = np.zeros(len(table.image_ids), bool)
    present[used] = [(folder / table.file_names[index]).is_file() for index in used.tolist()]
    return table if present[used].all() else table.select(present[table.image_index])


def _show(
    dataset: PoseDataset,
    row: int,
    codec: Codec | None = None,
    *,
    predicted: tuple[NDArray[np.float64], NDArray[np.floating[Any]]] | None = None,
    oks: float | None = None,
) -> ShownCrop:
    """Make the crop of a row of the dataset's table; an image that cannot be read is replaced by its error.

    It has the target heatmaps of the codec, if one is given. `predicted` are keypoints (K, 2) in image pixels, and scores (K,).
    """
    table = dataset.table
    title = f"{table.file_names[int(table.image_index[row])]}, annotation {table.instance_ids[row]}"
    try:
        sample = dataset[row]
    except (DataError, OSError) as error:
        labels: Any = {"keypoints": table.keypoints[row], "visibility": table.visibility[row]}
        return ShownCrop(title=title, image=None, fault=str(error), **labels, oks=oks)
    points, scores = (None, None) if predicted is None else predicted
    if points is not None:
        points = transform_points(points, invert_affine(sample["image_from_input"]))
    return ShownCrop(
        title=title,
        image=sample["image"],
        keypoints=sample["keypoints"],
        visibility=sample["visibility"],
        heatmaps=None if codec is None else _heatmaps(codec, sample),
        grid=dataset.grid,
        predicted=points,
        scores=scores,
        oks=oks,
    )


def _heatmaps(codec: Codec, sample: Sample) -> NDArray[np.float32] | None:
    """Encode the heatmaps (K, h, w) of a sample; None for codecs without heatmaps."""
    target, _ = codec.encode(torch.from_numpy(sample["keypoints"])[None], torch.from_numpy(sample["visibility"])[None])
    return target[0, :: codec.num_channels(1)].numpy() if target.ndim == 4 else None


def _table_of(truth: GroundTruth, images: InstanceTable) -> InstanceTable:
    """Return a table of annotated instances with the images of another table."""
    order = np.argsort(images.image_ids)
    rows = order[np.searchsorted(images.image_ids[order], truth.object_image_ids)]
    return InstanceTable(
        image_ids=images.image_ids,
        image_sizes=images.image_sizes,
        file_names=images.file_names,
        image_index=rows.astype(np.int32),
        instance_ids=truth.instance_ids,
        bbox=truth.bbox,
        bbox_scores=np.ones(len(truth)),
        area=truth.area.astype(np.float32),
        keypoints=truth.keypoints.astype(np.float32),
        visibility=truth.visibility,
    )
