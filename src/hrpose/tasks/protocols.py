"""How a run measures its AP: gathered from its parts before it begins, and stamped on everything it reports."""

from collections.abc import Mapping
from typing import Any

from hrpose.codecs import Codec
from hrpose.data.datamodule import PoseDataModule
from hrpose.metrics import KeypointAveragePrecision
from hrpose.report import FileStamp, Protocol, name_areas, name_sigmas


def state_protocols(
    datamodule: PoseDataModule,
    codec: Codec,
    metrics: Mapping[str, KeypointAveragePrecision],
    *,
    flip_test: bool,
    keypoint_score_threshold: float,
) -> dict[str, Protocol]:
    """State the protocol of each metric.

    Args:
        datamodule: whose persons are measured.
        codec: reads keypoints off the heatmaps.
        metrics: by the kind of boxes, "gt" or "det".
        flip_test: whether mirrored crops are averaged in.
        keypoint_score_threshold: keypoints that score above it count for a pose's score.
    """
    truth = datamodule.ground_truth
    annotations = datamodule.read_annotations(datamodule.val_annotations)
    shared: dict[str, Any] = {
        "annotations": FileStamp.of(datamodule.val_annotations),
        "category": str(annotations.category.get("name")),
        "areas": name_areas(annotations.has_area, datamodule.area_from_bbox),
        "num_images": len(truth.image_ids),
        "num_persons": int(((truth.visibility > 0).any(axis=1) & ~truth.iscrowd).sum()),
        "bbox_padding": datamodule.bbox_padding,
        "input_size": tuple(codec.input_size),
        "codec": f"{type(codec).__name__}{_name_rules(getattr(codec, 'rules', 'official'))}",
        "flip_test": flip_test,
        "keypoint_score_threshold": keypoint_score_threshold,
    }
    return {
        boxes: Protocol(
            **shared,
            sigmas=name_sigmas(metric.sigmas),
            max_detections=metric.max_detections,
            boxes=f"ground truth{_name_rules(datamodule.bbox_rules)}"
            if boxes == "gt"
            else FileStamp.of(datamodule.val_detections or ""),
            min_bbox_score=0.0 if boxes == "gt" else datamodule.min_bbox_score,
            oks_nms=_name_nms(metric),
        )
        for boxes, metric in metrics.items()
    }


def _name_rules(rules: str) -> str:
    """Say by whose rules something is done, unless it is by the paper's."""
    return "" if rules == "official" else f" ({rules})"


def _name_nms(metric: KeypointAveragePrecision) -> str:
    if metric.oks_nms_threshold is None:
        return "none"
    return f"{'soft ' if metric.soft_nms else ''}{metric.oks_nms_threshold}"
