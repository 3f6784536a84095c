"""The protocol of a run."""

import pytest
from omegaconf import OmegaConf
from tiny_coco import CODEC, content, datamodule, write_dataset, write_json

from hrpose.errors import ConfigError, DataWarning
from hrpose.metrics import KeypointAveragePrecision
from hrpose.report.protocol import Benchmark
from hrpose.skeletons import COCO
from hrpose.tasks.assemble import build_metric
from hrpose.tasks.protocols import state_protocols


@pytest.mark.parametrize(
    ("margin", "boxes"), [(None, "ground truth"), (0.25, "ground truth (2 around the keypoints, margin 0.25)")]
)
def test_the_protocol_states_boxes_around_keypoints(margin, boxes, tmp_path):
    folder, labels = write_dataset(tmp_path), content()
    if margin is not None:
        for row in labels["annotations"][:2]:
            row["bbox"] = None
    file = write_json(folder / "b.json", labels)
    data = datamodule(folder, val_annotations=file, bbox_from_keypoints=margin)
    metrics = {"gt": KeypointAveragePrecision(COCO.sigmas, ground_truth=data.ground_truth)}
    protocols = state_protocols(data, CODEC, metrics, flip_test=True, keypoint_score_threshold=0.2)
    assert protocols["gt"].boxes == boxes


def test_the_protocol_states_a_benchmark_with_its_areas_and_ignored_persons(tmp_path):
    folder, labels = write_dataset(tmp_path), content()
    for row in labels["annotations"]:
        row["num_keypoints"] = 0
    data = datamodule(folder, val_annotations=write_json(folder / "b.json", labels), area_from_bbox=0.6)
    node = OmegaConf.create({"_target_": "hrpose.metrics.KeypointAveragePrecision", "leave_out_unscored": True})
    benchmark = Benchmark(name="aic", use_area=False, num_keypoints="labelled")
    with pytest.warns(DataWarning, match="`num_keypoints` 0"):
        metric = build_metric(node, COCO, data, benchmark)
    truth = metric.ground_truth
    assert truth.area.tolist() == (truth.bbox[:, 2] * truth.bbox[:, 3] * 0.6).tolist()
    assert not truth.is_ignored.all()
    stated = state_protocols(data, CODEC, {"gt": metric}, benchmark, flip_test=True, keypoint_score_threshold=0.2)["gt"]
    assert (stated.name, stated.areas, stated.num_instances) == ("aic", "0.6 of the box", int((~truth.is_ignored).sum()))


def test_the_protocol_of_mpii_needs_its_metric(tmp_path):
    node = OmegaConf.create({"_target_": "hrpose.metrics.KeypointAveragePrecision"})
    with pytest.raises(ConfigError, match="metric=pckh"):
        build_metric(node, COCO, datamodule(write_dataset(tmp_path)), Benchmark(name="mpii", measure="pckh"))
