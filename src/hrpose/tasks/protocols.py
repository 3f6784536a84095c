"""The protocol of a run: how it evaluates AP or PCKh."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hrpose.annotations.coco import CocoAnnotations
from hrpose.annotations.mpii import read_mpii
from hrpose.codecs import Codec, is_bottom_up
from hrpose.data.datamodule import PoseDataModule
from hrpose.metrics import KeypointAveragePrecision, PCKh, PoseMetric
from hrpose.report import FileStamp, PckhProtocol, Protocol
from hrpose.report.protocol import Benchmark, advise_protocol, warn_of_sigmas
from hrpose.tasks.evaluate import describe_truth


def state_protocols(
    datamodule: PoseDataModule,
    codec: Codec,
    metrics: Mapping[str, PoseMetric],
    benchmark: Benchmark | None = None,
    *,
    flip_test: bool,
    keypoint_score_threshold: float,
) -> dict[str, Protocol | PckhProtocol]:
    """Return the protocol of each metric, by source of boxes, "gt" or "det".

    Warns:
        DataWarning: as `advise_protocol` and `warn_of_sigmas`.
    """
    benchmark = benchmark or Benchmark()
    shared: dict[str, Any] = {
        "annotations": FileStamp.of(datamodule.val_annotations),
        "bbox_padding": datamodule.bbox_padding,
        "input_size": tuple(codec.input_size),
        "codec": f"{type(codec).__name__}{_name_rules(getattr(codec, 'rules', 'official'))}",
        "flip_test": flip_test,
    }
    return {
        boxes: _state_pckh(datamodule, shared)
        if isinstance(metric, PCKh)
        else _state_ap(datamodule, boxes, metric, benchmark, {**shared, "keypoint_score_threshold": keypoint_score_threshold})
        for boxes, metric in metrics.items()
    }


def _name_rules(rules: str) -> str:
    return "" if rules == "official" else f" ({rules})"


def _state_ap(
    datamodule: PoseDataModule, boxes: str, metric: PoseMetric, benchmark: Benchmark, shared: Mapping[str, Any]
) -> Protocol:
    assert isinstance(metric, KeypointAveragePrecision)
    annotations = datamodule.files.coco(datamodule.val_annotations)
    truth = metric.ground_truth or annotations.ground_truth()
    advise_protocol(annotations, benchmark)
    warn_of_sigmas(metric.sigmas)
    return Protocol(
        **shared,
        **describe_truth(annotations, truth, datamodule.files, benchmark, metric.sigmas),
        max_detections=metric.max_detections,
        boxes=_name_boxes(datamodule, boxes, annotations),
        min_bbox_score=0.0 if boxes != "det" else datamodule.files.min_bbox_score,
        oks_nms="none" if metric.oks_nms_threshold is None else f"{'soft ' * metric.soft_nms}{metric.oks_nms_threshold}",
    )


def _name_boxes(datamodule: PoseDataModule, boxes: str, annotations: CocoAnnotations) -> str | FileStamp:
    """Describe the source of the boxes, or the scales and options of a bottom-up network."""
    codec = datamodule.codec
    if is_bottom_up(codec):
        scales = ", ".join(f"{scale:g}" for scale in codec.scales)
        filling = "refine" if codec.refine else "no refine"
        return f"none (bottom-up: short side {min(codec.input_size)}, scales {scales}, {filling})"
    if boxes == "gt":
        files, computed = datamodule.files, np.count_nonzero(~annotations.has_bbox)
        margin = f" ({computed} around the keypoints, margin {files.bbox_from_keypoints:g})" if computed else ""
        return f"ground truth{_name_rules(files.bbox_rules)}{margin}"
    return FileStamp.of(datamodule.val_detections or "")


def _state_pckh(datamodule: PoseDataModule, shared: Mapping[str, Any]) -> PckhProtocol:
    return PckhProtocol(
        **shared,
        ground_truth=FileStamp.of(datamodule.val_ground_truth or ""),
        num_images=len(read_mpii(datamodule.val_annotations).image_ids),
        num_instances=len(datamodule.mpii_truth),
    )
