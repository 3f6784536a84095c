"""PCK and PCKh over updates and processes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from process_group import run_processes

from hrpose.metrics import PCKh, PercentageOfCorrectKeypoints


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
    np.testing.assert_allclose(
        [value.item() for value in table.values()], np.load(golden_dir / "pckh.npz")["table"], rtol=1e-12
    )


def test_several_processes_give_the_bits_of_one(mpii: dict[str, torch.Tensor], tmp_path: Path) -> None:
    def work(rank: int, size: int) -> Any:
        metric = PCKh()
        if rank < 2:
            metric.update(**part(mpii, slice(rank, None, 2)))
        return metric.compute()

    metric = PCKh()
    metric.update(**mpii)
    assert run_processes(3, work, tmp_path) == [metric.compute()] * 3


def test_share_of_labelled_keypoints() -> None:
    metric = PercentageOfCorrectKeypoints(2, threshold=0.1)
    preds = torch.zeros(2, 2, 2)
    target = torch.tensor([[[0.0, 10.0], [0.0, 0.0]], [[0.0, 10.1], [50.0, 0.0]]])
    metric.update(preds, target, torch.tensor([100.0, 100.0]), torch.tensor([[1, 1], [1, 0]]))
    numbers = metric.compute()
    assert numbers["PCK"].item() == pytest.approx(2 / 3)
    assert numbers["per_keypoint"].tolist() == [0.5, 1.0]


def test_nothing_labelled_is_not_a_number() -> None:
    metric = PercentageOfCorrectKeypoints(1)
    metric.update(torch.full((1, 1, 2), torch.nan), torch.zeros(1, 1, 2), torch.ones(1), torch.zeros(1, 1))
    assert metric.compute()["PCK"].isnan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preds": torch.zeros(1, 3, 2)}, r"`preds` to be \(N, 2, 2\) or \(N, 2, 3\), but got \(1, 3, 2\)"),
        ({"sizes": torch.zeros(1)}, "`sizes` to be positive"),
        ({"labelled": torch.ones(2, 2)}, r"`labelled` to be \(1, 2\), but got \(2, 2\)"),
        ({"ids": torch.ones(2)}, r"`ids` to be \(1,\)"),
        ({"preds": torch.full((1, 2, 2), torch.nan)}, "to be finite where labelled"),
    ],
)
def test_wrong_input_is_told(change: dict[str, torch.Tensor], message: str) -> None:
    given = {"preds": torch.zeros(1, 2, 2), "target": torch.zeros(1, 2, 2), "sizes": torch.ones(1), **change}
    with pytest.raises(ValueError, match=message):
        PercentageOfCorrectKeypoints(2).update(**given)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match=r"to be positive, but got 0 and 0\.2"):
        PercentageOfCorrectKeypoints(0)
