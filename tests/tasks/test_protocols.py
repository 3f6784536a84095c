"""The protocol of a run states where its boxes come from."""

import pytest
from tiny_coco import CODEC, content, datamodule, write_dataset, write_json

from hrpose.metrics import KeypointAveragePrecision
from hrpose.skeletons import COCO
from hrpose.tasks.protocols import state_protocols


@pytest.mark.parametrize(
    ("margin", "boxes"), [(None, "ground truth"), (0.25, "ground truth (2 around the keypoints, margin 0.25)")]
)
def test_boxes_around_keypoints_are_stated(margin, boxes, tmp_path):
    folder, told = write_dataset(tmp_path), content()
    if margin is not None:
        for row in told["annotations"][:2]:
            row["bbox"] = None
    file = write_json(folder / "b.json", told)
    data = datamodule(folder, val_annotations=file, bbox_from_keypoints=margin)
    metrics = {"gt": KeypointAveragePrecision(COCO.sigmas, ground_truth=data.ground_truth)}
    protocols = state_protocols(data, CODEC, metrics, flip_test=True, keypoint_score_threshold=0.2)
    assert protocols["gt"].boxes == boxes
