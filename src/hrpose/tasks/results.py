"""The results of the verbs: frozen records of metrics, files and folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.report import Diagnosis
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses


@dataclass(frozen=True)
class ScoreResult:
    """The result of `hrpose test` or `hrpose evaluate`.

    Attributes:
        run_dir: folder of the run.
        score: AP with the first source of boxes, or mean PCKh in percent; NaN if undefined.
        numbers: all metrics by name, such as "AP", "AP50", and "AP_gt" for the boxes "gt".
        measured: the checkpoint, weights or result file.
        reports: HTML pages, and tables of PCKh.
        diagnosis: the likely cause of an AP below 0.05; otherwise None.
    """

    run_dir: Path
    score: float
    numbers: Mapping[str, float]
    measured: Path
    reports: tuple[Path, ...]
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class FitResult:
    """The result of `hrpose fit`: its checkpoints, and the metrics of the best one.

    Attributes:
        run_dir: folder of the run.
        score: as in `ScoreResult`; NaN without a validation.
        numbers: as in `ScoreResult`.
        num_epochs: epochs trained, including those before a resume.
        best_checkpoint: the checkpoint with the best validation; None without a validation.
        last_checkpoint: the state at the end, from which a run can be resumed; None if it is not saved.
        reports: HTML pages, and tables of PCKh.
        diagnosis: as in `ScoreResult`.
    """

    run_dir: Path
    score: float
    numbers: Mapping[str, float]
    num_epochs: int
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    reports: tuple[Path, ...]
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class PredictResult:
    """The result of `hrpose predict`. The poses are in files, because there may be millions.

    Attributes:
        run_dir: folder of the run, with `pictures/` or the annotated video.
        num_instances: instances found; in a video the number of tracks.
        skeleton: of the poses.
        poses_file: COCO keypoint results.
        images_file: the images of the results, as a COCO annotation file without annotations.
    """

    run_dir: Path
    num_instances: int
    skeleton: Skeleton
    poses_file: Path
    images_file: Path

    def read_poses(self) -> dict[str, Poses]:
        """Read the poses of each image or frame.

        Returns:
            The poses by file name, in the order of the images. An image without instances has a record with no rows.
            `bbox_scores` are NaN, because the file lacks them. `instance_ids` are track ids in a video, otherwise rows from 0.
        """
        images = json.loads(self.images_file.read_text(encoding="utf-8"))["images"]
        rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
        for row in json.loads(self.poses_file.read_text(encoding="utf-8")):
            rows[row["image_id"]].append(row)
        return {image["file_name"]: _poses_of(rows[image["id"]], self.skeleton) for image in images}


@dataclass(frozen=True)
class ExportResult:
    """The result of `hrpose export`.

    Attributes:
        run_dir: folder of the run.
        file: the exported file.
        report: the JSON file with the result of the check.
        ap_before: AP of the weights in torch; None if not measured.
        ap_after: AP of the exported file; None if not measured.
    """

    run_dir: Path
    file: Path
    report: Path
    ap_before: float | None
    ap_after: float | None


def _poses_of(rows: list[dict[str, Any]], skeleton: Skeleton) -> Poses:
    triplets = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), skeleton.num_keypoints, 3)
    return Poses(
        keypoints=triplets[..., :2],
        keypoint_scores=triplets[..., 2].astype(np.float32),
        scores=np.array([row["score"] for row in rows], np.float64),
        bbox_scores=np.full(len(rows), np.nan),
        center=np.array([row["center"] for row in rows], np.float64).reshape(-1, 2),
        scale=np.array([row["scale"] for row in rows], np.float64).reshape(-1, 2),
        image_ids=np.array([row["image_id"] for row in rows], np.int64),
        instance_ids=np.array([row.get("track_id", index) for index, row in enumerate(rows)], np.int64),
        skeleton=skeleton,
    )
