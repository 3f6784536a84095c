"""A frozen backbone and the moving average of the weights."""

import math
from functools import partial

import lightning as L
import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from hrpose.callbacks import FreezeBackbone, MovingAverage
from hrpose.callbacks.weights import _move
from hrpose.codecs import HeatmapCodec
from hrpose.losses import HeatmapMSELoss
from hrpose.models import HRNet
from hrpose.module import PoseModule
from hrpose.skeletons import Skeleton

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*:UserWarning"),
]

SKELETON = Skeleton.from_names(["nose", "left_eye", "right_eye"])
CODEC = HeatmapCodec(input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0)
OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=0.01),
    "adamw": partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
}


class Samples(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        image, target = torch.rand(3, 64, 32, generator=generator), torch.rand(3, 16, 8, generator=generator)
        return {"images": image, "target": target, "target_weight": torch.ones(3, 1)}


class Data(L.LightningDataModule):
    num_train_batches = 3

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Samples(), batch_size=2)


class EpochStates(L.Callback):
    """Store the state of the network after each epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.states.append(state_of(pl_module.net))


def state_of(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def make_module(optimizer: str = "adam") -> PoseModule:
    torch.manual_seed(0)
    net = HRNet(4, 3, stem_width=8, stage1_width=4, stage1_blocks=1, num_modules=(1, 1, 1), num_blocks=1)
    return PoseModule(net, CODEC, HeatmapMSELoss(), SKELETON, optimizer=OPTIMIZERS[optimizer])


def train(module: PoseModule, *callbacks: L.Callback, epochs: int = 3, folder=None, resume=None, **settings) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(module, datamodule=Data(), ckpt_path=resume, weights_only=True)
    if folder is not None:
        trainer.save_checkpoint(folder)
    return trainer


def changed(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    """Return the direct submodules with any difference, including batch norm statistics and counters."""
    return {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_the_head_changes(optimizer):
    module = make_module(optimizer)
    before = state_of(module.net)
    train(module, FreezeBackbone())
    assert changed(before, state_of(module.net)) == {"final_layer"}


def test_without_the_callback_all_changes():
    module = make_module()
    before = state_of(module.net)
    train(module)
    assert {"conv1", "bn1", "stage4", "final_layer"} <= changed(before, state_of(module.net))


def test_after_some_epochs_the_whole_network_is_trained():
    module, states = make_module(), EpochStates()
    before = state_of(module.net)
    train(module, FreezeBackbone(epochs=2), states, epochs=3)
    first, second, third = states.states
    assert changed(before, first) == changed(first, second) == {"final_layer"}
    assert {"conv1", "bn1", "stage4", "final_layer"} <= changed(second, third)
    assert all(parameter.requires_grad for parameter in module.net.parameters())
    assert all(part.training for part in module.net.modules())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_resumed_after_every_epoch_ends_with_the_same_bits(tmp_path, accumulate):
    file, settings = tmp_path / "last.ckpt", {"accumulate_grad_batches": accumulate}
    whole = make_module()
    train(whole, FreezeBackbone(epochs=2), epochs=4, **settings)
    for epochs in (1, 2, 3, 4):
        resumed = make_module()
        resume = file if epochs > 1 else None
        train(resumed, FreezeBackbone(epochs=2), epochs=epochs, folder=file, resume=resume, **settings)
    assert changed(state_of(whole.net), state_of(resumed.net)) == set()


def test_gradients_of_an_unfinished_accumulation_do_not_change_the_backbone(tmp_path):
    """A run without the callback stops after one of two batches; the resumed run freezes."""
    file = tmp_path / "one.ckpt"

    class SaveAndStop(L.Callback):
        def on_train_batch_end(self, trainer, *args, **kwargs):
            trainer.save_checkpoint(file)
            trainer.should_stop = True

    train(make_module(), SaveAndStop(), epochs=1, accumulate_grad_batches=2)
    content = torch.load(file, weights_only=True)
    assert any(name.startswith("net.stage4") for name in content["gradients"])
    resumed = make_module()
    train(resumed, FreezeBackbone(), epochs=1, accumulate_grad_batches=2, resume=file)
    saved = {name.removeprefix("net."): tensor for name, tensor in content["state_dict"].items() if name.startswith("net.")}
    assert changed(saved, state_of(resumed.net)) == {"final_layer"}


def test_the_moving_average_of_a_frozen_backbone_is_the_backbone():
    module = make_module()
    before = state_of(module.net)
    train(module, FreezeBackbone(), MovingAverage(decay=0.9))
    assert changed(before, state_of(module.net)) == {"final_layer"}  # the averaged weights, at the end


def test_a_validation_does_not_unfreeze_the_backbone():
    class Validated(Data):
        def val_dataloader(self) -> DataLoader:
            return DataLoader(Samples(), batch_size=2)

    module, before = make_module(), None
    module.validation_step = lambda batch, batch_idx: None
    module.on_validation_epoch_end = lambda: None
    before = state_of(module.net)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[FreezeBackbone()], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, val_check_interval=1,
    )  # fmt: skip
    trainer.fit(module, datamodule=Validated())
    assert changed(before, state_of(module.net)) == {"final_layer"}


@pytest.mark.parametrize("epochs", [0, -1, 1.5, True, math.nan])
def test_an_invalid_number_of_epochs_is_refused(epochs):
    with pytest.raises(ValueError, match="epochs"):
        FreezeBackbone(epochs=epochs)


def test_a_network_without_a_head_is_refused():
    module = make_module()
    module.net = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="head_modules"):
        train(module, FreezeBackbone())


def test_several_processes_cannot_unfreeze_the_backbone():
    class Several:
        world_size = 2

    with pytest.raises(ValueError, match=r"^callbacks\.freeze\.epochs"):
        FreezeBackbone(epochs=1).setup(Several(), make_module(), "fit")


def test_a_step_moves_the_average_by_its_share_and_copies_counters() -> None:
    average, current, number = torch.tensor([1.0, 0.1]), torch.tensor([2.0, 0.1]), torch.tensor(3)
    moved = _move(average, current, number, share=0.25)
    assert moved.tolist() == [1.25, average[1].item()]
    assert _move(torch.tensor(4), torch.tensor(6), number, share=0.25) == 6


def test_the_average_of_equal_weights_is_exact() -> None:
    torch.manual_seed(0)
    net = torch.nn.BatchNorm1d(1000)
    torch.nn.init.normal_(net.weight)
    averaged = AveragedModel(net, avg_fn=partial(_move, share=0.001), use_buffers=True)
    for _ in range(20):
        averaged.update_parameters(net)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in averaged.module.state_dict().items())


def test_a_decay_above_1_is_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        MovingAverage(decay=1.5)
