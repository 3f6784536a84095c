"""Checks of the gathered rows."""

from dataclasses import replace

import numpy as np
import pytest
from keypoint_oracle import random_case, truth_from_coco

from hrpose.metrics.rows import Rows, check_truth, collect_predictions, rows_from_images
from hrpose.structures import GroundTruth


def joined(*parts: Rows) -> Rows:
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def image(x: float, number: int = 1, **entries: object) -> Rows:
    return rows_from_images([{"keypoints": np.full((number, 2, 2), x), "scores": np.ones(number), **entries}], None, 2)


def valid_truth() -> GroundTruth:
    annotations, _, _ = random_case(0, num_keypoints=2)
    assert len(annotations["annotations"]) > 3
    return truth_from_coco(annotations, 2)


def test_same_image_twice_counts_once_and_in_order_of_ids() -> None:
    collected = collect_predictions(joined(image(2, image_id=9), image(1, image_id=4), image(2, image_id=9)), 2)
    assert collected.detections.image_ids.tolist() == [4, 9]


def test_same_image_twice_with_other_predictions_needs_ids() -> None:
    for other in (image(3, image_id=9), image(2, number=2, image_id=9)):
        with pytest.raises(ValueError, match=r"image_id.*9.*`ids`"):
            collect_predictions(joined(image(2, image_id=9), other), 2)


def test_an_image_in_several_updates_with_ids_is_joined() -> None:
    collected = collect_predictions(joined(image(2, image_id=9, ids=[5]), image(3, image_id=9, ids=[1])), 2)
    assert collected.instance_ids.tolist() == [1, 5]


def test_image_ids_are_required_for_all_images_or_none() -> None:
    with pytest.raises(ValueError, match=r"`image_id`.*1 of 2"):
        collect_predictions(joined(image(2), image(2, image_id=9)), 2)


def test_invalid_ground_truth_is_refused_with_annotation_ids() -> None:
    truth = valid_truth()
    check_truth(truth, 2)
    ids = truth.instance_ids.copy()
    ids[1] = ids[0]
    with pytest.raises(ValueError, match=rf"unique.*\[{ids[0]}\]"):
        check_truth(replace(truth, instance_ids=ids), 2)
    area = truth.area.copy()
    area[2] = np.nan
    with pytest.raises(ValueError, match=rf"area.*\[{truth.instance_ids[2]}\]"):
        check_truth(replace(truth, area=area), 2)
    with pytest.raises(ValueError, match="finite coordinates"):
        check_truth(replace(truth, keypoints=truth.keypoints * np.nan), 2)
    with pytest.raises(ValueError, match=r"ids .*\.\.\."):
        check_truth(replace(truth, image_ids=np.zeros(0, dtype=np.int64)), 2)
    with pytest.raises(ValueError, match="`ground_truth` to have 17 keypoints"):
        check_truth(truth, 17)
