"""Instance scores: the box's times the mean of the confident keypoints'."""

from pathlib import Path

import numpy as np
import pytest

from hrpose.metrics.functional import rescore


def test_official_scores_to_the_bit(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "evaluate.npz")
    scores = rescore(golden["boxes"][:, 5], golden["preds"][..., 2], threshold=0.2)
    assert scores[golden["hard_rows"]].tolist() == golden["hard_scores"].tolist()


def test_no_confident_keypoint_gives_zero() -> None:
    assert rescore([0.9, 0.9], np.array([[0.2, 0.1], [0.21, 0.0]], dtype=np.float32)).tolist()[0] == 0


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="to have the same N"):
        rescore([0.9], np.zeros((2, 17)))
