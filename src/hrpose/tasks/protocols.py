"""The protocol of a run: how it evaluates AP or PCKh. It is stated before the run starts and is part of every report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hrpose.annotations.coco import CocoAnnotations
from hrpose.annotations.mpii import read_mpii
from hrpose.annotations.reader import InstanceFiles
from hrpose.codecs import Codec, is_bottom_up
from hrpose.data.datamodule import PoseDataModule
from hrpose.metrics import KeypointAveragePrecision, PCKh, PoseMetric
from hrpose.report import FileStamp, PckhProtocol, Protocol, name_areas, name_num_keypoints, name_sigmas
from hrpose.report.protocol import Benchmark, advise_protocol, warn_of_sigmas


def state_protocols(
    datamodule: PoseDataModule,
    codec: Codec,
    metrics: Mapping[str, PoseMetric],
    benchmark: Benchmark | None = None,
    *,
    flip_test: bool,
    keypoint_score_threshold: float,
) -> dict[str, Protocol | PckhProtocol]:
    """Return the protocol of each metric.

    Args:
        datamodule: of the evaluated instances.
        codec: of the network.
        metrics: by source of boxes, "gt" or "det".
        benchmark: the rules of the evaluation.
        flip_test: whether outputs are averaged with those of mirrored crops.
        keypoint_score_threshold: the score of a pose uses keypoints with a higher score.

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
        else _state_ap(
            datamodule, boxes, metric, benchmark, {**shared, "keypoint_score_threshold": keypoint_score_threshold}
        )
        for boxes, metric in metrics.items()
    }


def _name_rules(rules: str) -> str:
    """Return the name of the rules in parentheses; "" for the official ones."""
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
        category=str(annotations.category.get("name")),
        name=benchmark.name,
        areas=name_areas(annotations.has_area, datamodule.files.area_from_bbox, use_area=benchmark.use_area),
        num_keypoints=name_num_keypoints(truth, datamodule.files.visibility_map),
        num_images=len(truth.image_ids),
        num_instances=int((~truth.is_ignored).sum()),
        sigmas=name_sigmas(metric.sigmas),
        max_detections=metric.max_detections,
        boxes=_name_boxes(datamodule, boxes, annotations),
        min_bbox_score=0.0 if boxes != "det" else datamodule.files.min_bbox_score,
        oks_nms=_name_nms(metric),
    )


def _name_boxes(datamodule: PoseDataModule, boxes: str, annotations: CocoAnnotations) -> str | FileStamp:
    """Name the source of the boxes; without boxes, how whole images were estimated."""
    codec = datamodule.codec
    if is_bottom_up(codec):
        scales = ", ".join(f"{scale:g}" for scale in codec.scales)
        filling = "refine" if codec.refine else "no refine"
        return f"none (bottom-up: short side {min(codec.input_size)}, scales {scales}, {filling})"
    if boxes == "gt":
        return f"ground truth{_name_rules(datamodule.files.bbox_rules)}{_name_margin(annotations, datamodule.files)}"
    return FileStamp.of(datamodule.val_detections or "")


def _name_margin(annotations: CocoAnnotations, files: InstanceFiles) -> str:
    """Describe boxes that are computed from keypoints; "" if there are none."""
    if annotations.has_bbox.all():
        return ""
    return f" ({np.count_nonzero(~annotations.has_bbox)} around the keypoints, margin {files.bbox_from_keypoints:g})"


def _state_pckh(datamodule: PoseDataModule, shared: Mapping[str, Any]) -> PckhProtocol:
    return PckhProtocol(
        **shared,
        ground_truth=FileStamp.of(datamodule.val_ground_truth or ""),
        num_images=len(read_mpii(datamodule.val_annotations).image_ids),
        num_instances=len(datamodule.mpii_truth),
    )


def _name_nms(metric: KeypointAveragePrecision) -> str:
    if metric.oks_nms_threshold is None:
        return "none"
    return f"{'soft ' if metric.soft_nms else ''}{metric.oks_nms_threshold}"
