"""Weights of other origin in a whole run: `weights=...` of `hrpose fit` and `hrpose test`."""

import logging

import pytest
import torch

from hrpose.config import build, compose, validate
from hrpose.weights import WeightsError, convert_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
]
SHORT = ("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1", "data.val_boxes=[gt]")


@pytest.fixture
def weights_file(words, tmp_path):
    """Write bare weights of the run's network for so many keypoints, as the official code saves them."""

    def write(num_keypoints):
        net = build(compose("fit", words).model, num_keypoints=num_keypoints)
        torch.save({f"module.{name}": value for name, value in net.state_dict().items()}, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return write


def test_fine_tuning_takes_keypoints_by_name_and_says_so(fit, weights_file, caplog) -> None:
    with caplog.at_level(logging.INFO):
        fit(*SHORT, f"weights={weights_file(16)}")
    assert "keypoints loaded by name (12): left_shoulder, right_shoulder" in caplog.text
    assert "keypoints not loaded (5): nose, left_eye, right_eye, left_ear, right_ear" in caplog.text
    assert "MPII" in caplog.text


def test_a_head_that_does_not_fit_cannot_be_measured(words, weights_file, tmp_path) -> None:
    # Lightning comes with the task, and slowly
    from hrpose.tasks.test import test as measure

    cfg = compose("test", [*words, f"weights={weights_file(16)}", f"paths.run={tmp_path}/run"])
    validate(cfg)
    with pytest.raises(WeightsError, match=r"17 .*16"):
        measure(cfg)


def test_a_backbone_cannot_be_measured(words, weights_file, tmp_path) -> None:
    # Lightning comes with the task, and slowly
    from hrpose.tasks.test import test as measure

    file = weights_file(17)
    torch.save({name: value for name, value in torch.load(file).items() if "final_layer" not in name}, file)
    with pytest.raises(WeightsError, match=r"final_layer.*\(2\)"):
        measure(compose("test", [*words, f"weights={file}", f"paths.run={tmp_path}/run"]))


@pytest.mark.parametrize(("order", "warned"), [("bgr", True), ("rgb", False)])
def test_colours_that_mmpose_never_showed_are_warned_of(words, weights_file, tmp_path, caplog, order, warned) -> None:
    # Lightning comes with the task, and slowly
    from hrpose.tasks.assemble import assemble

    convert_weights(weights_file(17), tmp_path / "mmpose.pth", form="mmpose")
    given = [f"weights={tmp_path}/mmpose.pth", f"paths.run={tmp_path}/run", f"data.channel_order={order}"]
    assemble(compose("test", [*words, *given]))
    assert ("data.channel_order=rgb" in caplog.text) == warned


def test_weights_that_fit_are_measured(words, weights_file, tmp_path) -> None:
    # Lightning comes with the task, and slowly
    from hrpose.tasks.test import test as measure

    words = [*words, "+trainer.limit_test_batches=1", "data.val_boxes=[gt]", f"weights={weights_file(17)}"]
    assert measure(compose("test", [*words, f"paths.run={tmp_path}/run"])).score == pytest.approx(0, abs=0.05)
