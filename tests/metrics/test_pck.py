"""PCK and PCKh over updates and processes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from process_group import run_processes

from hrpose.metrics import PCKh, PercentageOfCorrectKeypoints
from hrpose.structures import MpiiTruth, Poses


@pytest.fixture
def mpii(golden_dir: Path) -> dict[str, torch.Tensor]:
    golden = np.load(golden_dir / "pckh.npz")
    return {
        "preds": torch.tensor(golden["preds"]) + 1,
        "target": torch.tensor(golden["target"]),
        "head_boxes": torch.tensor(golden["head_boxes"]),
        "labelled": torch.tensor(1 - golden["missing"]),
        "ids": torch.arange(len(golden["preds"])),
    }


def part(data: dict[str, torch.Tensor], rows: Any) -> dict[str, torch.Tensor]:
    return {name: values[rows] for name, values in data.items()}


def test_official_table_over_updates(mpii: dict[str, torch.Tensor], golden_dir: Path) -> None:
    metric = PCKh()
    for start in range(0, 60, 25):
        metric.update(**part(mpii, slice(start, start + 25)))
    metric.update(**part(mpii, slice(0, 9)))  # padded by a sampler
    table = pickle.loads(pickle.dumps(metric)).compute()
    del table["Mean@0.10"]
    np.testing.assert_allclose([value.item() for value in table.values()], np.load(golden_dir / "pckh.npz")["table"], rtol=1e-12)


def test_several_processes_give_the_same_bits_as_one(mpii: dict[str, torch.Tensor], tmp_path: Path) -> None:
    def work(rank: int, size: int) -> Any:
        metric = PCKh()
        if rank < 2:
            metric.update(**part(mpii, slice(rank, None, 2)))
        return metric.compute()

    metric = PCKh()
    metric.update(**mpii)
    assert run_processes(3, work, tmp_path) == [metric.compute()] * 3


@pytest.fixture
def truth(golden_dir: Path) -> MpiiTruth:
    golden = np.load(golden_dir / "pckh.npz")
    return MpiiTruth(golden["target"].astype(float), golden["missing"] == 0, golden["head_boxes"].astype(float))


def poses_of(keypoints: np.ndarray, ids: Any = None) -> Poses:
    """Return poses in pixels counted from 0; instance i is entry i of the ground truth."""
    count = len(keypoints)
    return Poses(
        keypoints=keypoints.astype(np.float64),
        keypoint_scores=np.full(keypoints.shape[:2], 0.5, np.float32),
        scores=np.full(count, 0.5),
        bbox_scores=np.ones(count, np.float32),
        center=np.zeros((count, 2)),
        scale=np.ones((count, 2)),
        image_ids=np.zeros(count, np.int64),
        instance_ids=np.arange(count) if ids is None else np.asarray(ids, np.int64),
    )


def one_person(error: float, keypoint: int = 0) -> MpiiTruth:
    """Everything labelled, a head of 10 pixels, every keypoint at (1, 1) but for one that is so many pixels to the right."""
    keypoints = np.ones((1, 16, 2))
    keypoints[0, keypoint, 0] += error
    return MpiiTruth(keypoints, np.ones((1, 16), bool), np.array([[[0.0, 0.0], [6.0, 8.0]]]) / 0.6)


def table_of(truth: MpiiTruth, poses: Poses) -> dict[str, float]:
    metric = PCKh(truth)
    metric.update_poses(poses)
    return {name: value.item() for name, value in metric.compute().items()}


def test_official_table_of_poses_over_batches(truth: MpiiTruth, golden_dir: Path) -> None:
    golden = np.load(golden_dir / "pckh.npz")
    poses = poses_of(golden["preds"])
    metric = PCKh(truth)
    for start in range(50, -1, -10):  # in any order
        metric.update_poses(poses[start : start + 10])
    metric.update_poses(poses[[59, 3]])  # padded by a sampler
    table = {name: value.item() for name, value in metric.compute().items()}
    del table["Mean@0.10"]
    np.testing.assert_allclose(list(table.values()), golden["table"], rtol=1e-12)
    rows = metric.results()
    assert [row["entry"] for row in rows] == list(range(60))
    triplets = np.array([row["keypoints"] for row in rows]).reshape(60, 16, 3)
    np.testing.assert_array_equal(triplets[..., :2], golden["preds"])
    assert (triplets[..., 2] == 0.5).all()


@pytest.mark.data
def test_published_poses_on_mpii_validation(shared_data: Path) -> None:
    data = np.load(shared_data / "mpii_pckh" / "mpii_valid_2958.npz")
    truth = MpiiTruth(data["joints_1based"].astype(float), data["missing"] == 0, data["headboxes"].astype(float))
    table = table_of(truth, poses_of(data["hourglass_preds_1based"].astype(float) - 1))
    expected = [95.9413, 94.6841, 88.5291, 83.3823, 87.4848, 83.0944, 79.0504, 88.0354, 32.8051, 28.6469]
    np.testing.assert_allclose(list(table.values()), expected, atol=1e-4)


def test_poses_count_from_0_and_the_ground_truth_from_1() -> None:
    metric = PCKh(one_person(0.0))
    metric.update_poses(poses_of(np.zeros((1, 16, 2))))
    rows = metric.rows[-1][0]
    assert (rows[:16] == 0).all()


def test_an_error_of_exactly_half_a_head_is_correct() -> None:
    wrist, pose = 10, poses_of(np.zeros((1, 16, 2)))
    assert table_of(one_person(5.0, wrist), pose)["Wrist"] == 100.0
    assert table_of(one_person(5.0 + 1e-9, wrist), pose)["Wrist"] == 50.0  # left and right in equal parts


def test_the_head_size_is_six_tenths_of_the_diagonal() -> None:
    truth = one_person(6.0)
    assert np.linalg.norm(np.diff(truth.head_boxes[0], axis=0)) == pytest.approx(10 / 0.6)
    assert table_of(truth, poses_of(np.zeros((1, 16, 2))))["Ankle"] == 50.0  # 6 is over half of 10, not of 16.7


def test_pelvis_and_thorax_are_not_in_the_mean() -> None:
    pose = poses_of(np.zeros((1, 16, 2)))
    for keypoint in range(16):
        mean = table_of(one_person(50.0, keypoint), pose)["Mean"]
        assert mean == (100.0 if keypoint in (6, 7) else pytest.approx(100 * 13 / 14)), keypoint


def test_the_two_means_at_a_tenth_have_separate_names() -> None:
    table = table_of(one_person(1.05, 3), poses_of(np.zeros((1, 16, 2))))
    assert table["Mean@0.11"] == 100.0  # what the authors' code prints as "Mean@0.1"
    assert table["Mean@0.10"] == pytest.approx(100 * 13 / 14)


def test_a_missing_keypoint_does_not_count() -> None:
    truth = one_person(50.0, 3)
    truth.labelled[0, 3] = False
    assert table_of(truth, poses_of(np.zeros((1, 16, 2))))["Mean"] == 100.0


def test_an_instance_without_a_pose_counts_as_wrong(truth: MpiiTruth) -> None:
    exact = poses_of(truth.keypoints - 1)
    assert table_of(truth, exact)["Mean"] == 100.0
    counted = truth.labelled[:, [k for k in range(16) if k not in (6, 7)]]
    expected = 100 * counted[:20].sum() / counted.sum()
    assert table_of(truth, exact[:20])["Mean"] == pytest.approx(expected)


def test_poses_of_several_processes_give_the_same_bits_as_one(truth: MpiiTruth, golden_dir: Path, tmp_path: Path) -> None:
    poses = poses_of(np.load(golden_dir / "pckh.npz")["preds"])

    def work(rank: int, size: int) -> Any:
        metric = PCKh(truth)
        if rank < 2:
            metric.update_poses(poses[np.arange(rank, 60, 2)])
            metric.update_poses(poses[[0]])  # padded by a sampler
        return metric.compute(), metric.results()

    metric = PCKh(truth)
    metric.update_poses(poses)
    assert run_processes(3, work, tmp_path) == [(metric.compute(), metric.results())] * 3


def test_logged_numbers_have_the_metrics_name(truth: MpiiTruth) -> None:
    metric = PCKh(truth)
    metric.update_poses(poses_of(truth.keypoints + 4))
    table, logged = metric.compute(), metric.logged()
    assert logged[metric.leading] == table["Mean"]
    assert logged["PCKh@0.11"] == table["Mean@0.11"]
    assert logged["PCKh_Wrist"] == table["Wrist"]
    assert len(logged) == len(table)


def test_poses_that_do_not_fit_are_refused(truth: MpiiTruth) -> None:
    pose = poses_of(np.zeros((1, 16, 2)))
    with pytest.raises(ValueError, match="`ground_truth`"):
        PCKh().update_poses(pose)
    with pytest.raises(ValueError, match=r"0.*59.*\[60\]"):
        PCKh(truth).update_poses(poses_of(np.zeros((1, 16, 2)), ids=[60]))
    with pytest.raises(ValueError, match=r"`preds` to be \(N, 16, 2\)"):
        PCKh(truth).update_poses(poses_of(np.zeros((1, 17, 2))))
    with pytest.raises(ValueError, match="finite where labelled"):
        PCKh(truth).update_poses(poses_of(np.full((1, 16, 2), np.nan)))
    with pytest.raises(ValueError, match="but got keypoints and a ground truth"):
        PCKh(truth).update(torch.zeros(1, 16, 2), torch.zeros(1, 16, 2), torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="but got keypoints without them"):
        PCKh().update(torch.zeros(1, 16, 2))
    with pytest.raises(ValueError, match="`ground_truth` at construction"):
        PCKh().results()


def test_share_of_labelled_keypoints() -> None:
    metric = PercentageOfCorrectKeypoints(2, threshold=0.1)
    preds = torch.zeros(2, 2, 2)
    target = torch.tensor([[[0.0, 10.0], [0.0, 0.0]], [[0.0, 10.1], [50.0, 0.0]]])
    metric.update(preds, target, torch.tensor([100.0, 100.0]), torch.tensor([[1, 1], [1, 0]]))
    numbers = metric.compute()
    assert numbers["PCK"].item() == pytest.approx(2 / 3)
    assert numbers["per_keypoint"].tolist() == [0.5, 1.0]


def test_pck_without_labels_is_nan() -> None:
    metric = PercentageOfCorrectKeypoints(1)
    metric.update(torch.full((1, 1, 2), torch.nan), torch.zeros(1, 1, 2), torch.ones(1), torch.zeros(1, 1))
    assert metric.compute()["PCK"].isnan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preds": torch.zeros(1, 3, 2)}, r"`preds`.*\(N, 2, 2\).*\(N, 2, 3\).*\(1, 3, 2\)"),
        ({"sizes": torch.zeros(1)}, "`sizes` to be positive"),
        ({"labelled": torch.ones(2, 2)}, r"`labelled`.*\(1, 2\).*\(2, 2\)"),
        ({"ids": torch.ones(2)}, r"`ids` to be \(1,\)"),
        ({"ids": torch.tensor([1.5])}, r"`ids`.*float32"),
        ({"preds": torch.full((1, 2, 2), torch.nan)}, "to be finite where labelled"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, torch.Tensor], message: str) -> None:
    given = {"preds": torch.zeros(1, 2, 2), "target": torch.zeros(1, 2, 2), "sizes": torch.ones(1), **change}
    with pytest.raises(ValueError, match=message):
        PercentageOfCorrectKeypoints(2).update(**given)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0.*0\.2"):
        PercentageOfCorrectKeypoints(0)
