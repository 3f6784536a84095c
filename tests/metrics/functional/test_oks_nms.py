"""OKS-NMS against the official lists, and against the loop it replaces."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.metrics.functional import keypoint_variances, oks_between, oks_nms, soft_oks_nms
from hrpose.skeletons import COCO


def suppress_one_by_one(points: np.ndarray, scores: np.ndarray, areas: np.ndarray, threshold: float, sigmas: object) -> list[int]:
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        similarity = oks_between(points, areas, keypoint_variances(sigmas), np.full(len(order), best), order)
        order = order[similarity <= threshold]
    return kept


@pytest.mark.parametrize("setting", ["hard_0.9", "hard_0.7", "hard_0.5", "hard_0.3", "soft_0.9", "soft_0.5"])
def test_official_lists_by_value(golden_dir: Path, setting: str) -> None:
    golden = np.load(golden_dir / "oks_nms.npz")
    kind, threshold = setting.split("_")
    images = np.repeat(np.arange(len(golden["counts"])), golden["counts"])
    nms = oks_nms if kind == "hard" else soft_oks_nms
    kept = nms(golden["keypoints"], golden["scores"], golden["areas"], images, COCO.sigmas, threshold=float(threshold))
    starts = np.cumsum(golden["counts"]) - golden["counts"]
    counts = golden[f"{setting}_counts"]
    wanted = golden[f"{setting}_rows"] + np.repeat(starts, counts)
    assert np.bincount(images[kept], minlength=len(counts)).tolist() == counts.tolist()
    assert golden["scores"][kept].tolist() == golden["scores"][wanted].tolist()  # in the official order; ties by value

    def values(rows: np.ndarray) -> list[tuple[float, ...]]:
        return sorted((images[row], golden["scores"][row], *golden["keypoints"][row].ravel().tolist()) for row in rows)

    assert values(kept) == values(wanted)


def test_similarities_equal_the_official_ones(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "oks_nms.npz")
    number = int(golden["counts"][0])
    rows, columns = np.indices((number, number)).reshape(2, -1)
    got = oks_between(golden["keypoints"].astype(np.float64), golden["areas"], keypoint_variances(COCO.sigmas), rows, columns)
    np.testing.assert_allclose(got.reshape(number, number), golden["oks_first"], atol=1e-8)  # official: float32 squares


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_keypoints=st.sampled_from([1, 2, 14, 17, 133]),
    threshold=st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0]),
)
def test_all_images_at_once_equal_the_loop(seed: int, num_keypoints: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(0, 60))
    sigmas = rng.uniform(0.03, 0.1, num_keypoints)
    people = rng.uniform(0, 100, (8, num_keypoints, 2))
    points = people[rng.integers(0, 8, number)] + rng.normal(size=(number, num_keypoints, 2)) * rng.choice(
        [0, 2, 6], (number, 1, 1)
    )
    scores, areas = np.round(rng.random(number), 1), rng.uniform(900, 3000, number)
    images = rng.integers(0, 4, number)
    wanted = []
    for image in range(4):
        mine = np.flatnonzero(images == image)
        wanted += mine[suppress_one_by_one(points[mine], scores[mine], areas[mine], threshold, sigmas)].tolist()
    assert oks_nms(points, scores, areas, images, sigmas, threshold=threshold).tolist() == wanted


def test_no_poses_give_no_rows() -> None:
    nothing = (np.zeros((0, 17, 2)), [], [], [])
    assert oks_nms(*nothing, COCO.sigmas).tolist() == []
    assert soft_oks_nms(*nothing, COCO.sigmas).tolist() == []


def test_soft_keeps_at_most_the_given_number() -> None:
    points = np.random.default_rng(0).uniform(0, 500, (30, 17, 2))
    kept = soft_oks_nms(points, np.linspace(1, 0.1, 30), [900.0] * 30, [4] * 30, COCO.sigmas, max_detections=7)
    assert kept.tolist() == list(range(7))


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`keypoints` to be \(2, 17, 2\)"):
        oks_nms(np.zeros((1, 17, 2)), [0.1, 0.2], [1.0, 1.0], [0, 0], COCO.sigmas)
    with pytest.raises(ValueError, match=r"`scores`.*`areas`.*`groups`"):
        oks_nms(np.zeros((2, 17, 2)), [0.1, 0.2], [1.0], [0, 0], COCO.sigmas)
