"""Checks of the input of `update`."""

from typing import Any

import numpy as np
import pytest
import torch

from hrpose.metrics.rows import rows_from_images, rows_from_poses
from hrpose.structures import Poses

PREDICTION = {"keypoints": torch.ones(2, 3, 2), "scores": torch.tensor([0.5, 0.6])}
PERSON = {"keypoints": torch.ones(1, 3, 3), "area": torch.tensor([9.0])}


def refuse(message: str, prediction: dict[str, Any] | None = None, person: dict[str, Any] | None = None) -> None:
    with pytest.raises(ValueError, match=message):
        rows_from_images([{**PREDICTION, **(prediction or {})}], [{**PERSON, **(person or {})}], 3)


def test_numbers_are_packed_unchanged() -> None:
    rows = rows_from_images([PREDICTION], [PERSON], 3)
    assert rows.images.tolist() == [[0, 0, 2, 1]]
    assert rows.prediction_rows[:, 0].tolist() == PREDICTION["scores"].double().tolist()
    assert rows.prediction_keys.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert rows.target_rows[0, 5:].tolist() == [1.0] * 9


def test_lists_arrays_and_float32_are_accepted() -> None:
    rows = rows_from_images(
        [{"keypoints": np.ones((1, 3, 2), dtype=np.float16), "scores": [0.5]}],
        [{"keypoints": torch.ones(1, 3, 3, dtype=torch.bfloat16), "area": [9]}],
        3,
    )
    assert len(rows.prediction_rows) == len(rows.target_rows) == 1


def test_unlabelled_keypoints_may_be_nan() -> None:
    keypoints = torch.tensor([[[1.0, 1.0, 2.0], [torch.nan, torch.nan, 0.0], [1.0, 1.0, 1.0]]])
    assert np.isfinite(rows_from_images([PREDICTION], [{**PERSON, "keypoints": keypoints}], 3).target_rows[:, 5:]).all()


def test_a_wrong_number_of_keypoints_is_refused() -> None:
    refuse(
        r"preds\[0\]\['keypoints'\] to be \(N, 3, 2\) or \(N, 3, 3\), .* but got \(2, 4, 2\)", {"keypoints": torch.ones(2, 4, 2)}
    )
    refuse(r"target\[0\]\['keypoints'\] to be \(N, 3, 3\), .* but got \(1, 3, 2\)", person={"keypoints": torch.ones(1, 3, 2)})


def test_nan_is_refused() -> None:
    refuse(r"preds\[0\]\['scores'\] to have finite scores", {"scores": torch.tensor([0.1, torch.nan])})
    refuse(r"preds\[0\]\['keypoints'\] to have finite", {"keypoints": torch.full((2, 3, 2), torch.inf)})
    refuse(
        r"target\[0\]\['keypoints'\] to have finite", person={"keypoints": torch.full((1, 3, 3), torch.nan).nan_to_num_(2.0) / 0}
    )
    refuse(r"target\[0\]\['area'\] to be finite and not negative", person={"area": torch.tensor([torch.nan])})


def test_missing_and_unknown_entries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target\[0\].*\['area'\]"):
        rows_from_images([PREDICTION], [{"keypoints": torch.ones(1, 3, 3)}], 3)
    with pytest.raises(ValueError, match=r"preds\[0\].*\['scores'\]"):
        rows_from_images([{"keypoints": torch.ones(1, 3, 2)}], [PERSON], 3)
    refuse(r"preds\[0\], but got \['score'\]", {"score": 1})


def test_wrong_lengths_and_types_are_refused() -> None:
    refuse(r"preds\[0\]\['scores'\] to be \(2,\), .* but got \(3,\)", {"scores": torch.ones(3)})
    refuse(r"preds\[0\]\['labels'\] to be integers, but got float", {"labels": torch.ones(2)})
    refuse(r"target\[0\]\['boxes'\] to be \(1, 4\) xywh", person={"boxes": torch.ones(1, 5)})
    refuse(r"preds\[0\]\['scores'\] to be a tensor or an array of numbers", {"scores": ["a", "b"]})
    with pytest.raises(ValueError, match=r"1.*2"):
        rows_from_images([PREDICTION], [PERSON, PERSON], 3)
    with pytest.raises(ValueError, match="`preds`"):
        rows_from_images([3], [PERSON], 3)  # type: ignore[list-item]


def test_invalid_ids_are_refused() -> None:
    refuse(r"preds\[0\]\['ids'\] to be unique, but got \[7\] more than once", {"ids": torch.tensor([7, 7])})
    refuse(r"preds\[0\] and target\[0\] to be of the same image, but got image_id \[1, 2\]", {"image_id": 1}, {"image_id": 2})


def test_image_ids_that_are_not_integers_are_refused() -> None:
    refuse(r"preds\[0\]\['image_id'\] to be integers, but got float64", {"image_id": 1.5})
    refuse(r"target\[0\]\['image_id'\] to fit in int64", person={"image_id": np.uint64(2**63)})
    refuse(r"preds\[0\]\['ids'\] to be integers, but got float", {"ids": torch.tensor([1.5, 2.5])})


def test_an_instance_without_keypoints_needs_a_box() -> None:
    refuse(r"`boxes` in target\[0\]", person={"keypoints": torch.zeros(1, 3, 3)})


def test_poses_are_checked() -> None:
    none = np.zeros((1, 2))
    poses = Poses(
        np.full((1, 3, 2), np.nan),
        np.ones((1, 3), np.float32),
        np.ones(1),
        np.ones(1),
        none,
        none,
        np.ones(1, int),
        np.ones(1, int),
    )
    with pytest.raises(ValueError, match="`poses` to have 17 keypoints"):
        rows_from_poses(poses, 17, 1)
    with pytest.raises(ValueError, match="poses to have finite"):
        rows_from_poses(poses, 3, 1)
