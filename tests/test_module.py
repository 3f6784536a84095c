import json
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from hrpose.codecs import HeatmapCodec, RegressionCodec
from hrpose.losses import HeatmapMSELoss, RLELoss
from hrpose.metrics import KeypointAveragePrecision
from hrpose.models import DeepPose, HRNet
from hrpose.module import PoseModule, count_total_steps
from hrpose.schedules import one_cycle
from hrpose.skeletons import Skeleton
from hrpose.structures import GroundTruth
from hrpose.weights import load_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`.*:UserWarning"),
]

SKELETON = Skeleton.from_names(["nose", "left_eye", "right_eye"])
SMALL_NET = {"stem_width": 4, "stage1_width": 4, "stage1_blocks": 1, "num_modules": (1, 1, 1), "num_blocks": 1}
CODEC = HeatmapCodec(input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0)
NUM_PERSONS = 6


def make_batch(images: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Instances with the whole image as crop: input pixels are image pixels."""
    generator = torch.Generator().manual_seed(0)
    keypoints = torch.rand(NUM_PERSONS, 3, 2, generator=generator) * torch.tensor([20.0, 40.0]) + 6
    visibility = torch.full((NUM_PERSONS, 3), 2, dtype=torch.uint8)
    target, target_weight = CODEC.encode(keypoints, visibility)
    return {
        "images": torch.rand(NUM_PERSONS, 3, 64, 32, generator=generator) if images is None else images,
        "keypoints": keypoints,
        "visibility": visibility,
        "image_from_input": torch.eye(2, 3, dtype=torch.float64).expand(NUM_PERSONS, 2, 3).contiguous(),
        "center": torch.tensor([[16.0, 32.0]], dtype=torch.float64).expand(NUM_PERSONS, 2).contiguous(),
        "scale": torch.tensor([[32.0, 64.0]], dtype=torch.float64).expand(NUM_PERSONS, 2).contiguous(),
        "bbox_scores": torch.ones(NUM_PERSONS),
        "image_ids": torch.arange(NUM_PERSONS),
        "instance_ids": torch.arange(NUM_PERSONS) + 10,
        "target": target,
        "target_weight": target_weight,
    }


def make_metric() -> KeypointAveragePrecision:
    keypoints = make_batch()["keypoints"].double().numpy()
    truth = GroundTruth(
        image_ids=np.arange(NUM_PERSONS),
        object_image_ids=np.arange(NUM_PERSONS),
        instance_ids=np.arange(NUM_PERSONS) + 10,
        category_ids=np.ones(NUM_PERSONS, np.int64),
        keypoints=keypoints,
        visibility=np.full((NUM_PERSONS, 3), 2, np.uint8),
        bbox=np.tile([0.0, 0.0, 32.0, 64.0], (NUM_PERSONS, 1)),
        area=np.full(NUM_PERSONS, 5e4),
        iscrowd=np.zeros(NUM_PERSONS, bool),
    )
    return KeypointAveragePrecision(sigmas=SKELETON.sigmas, ground_truth=truth, oks_nms_threshold=0.9)


def make_module(net: nn.Module, **kwargs) -> PoseModule:
    return PoseModule(net, CODEC, HeatmapMSELoss(), SKELETON, **kwargs)


def tiny_net() -> HRNet:
    return HRNet(width=4, num_keypoints=3)


def quiet_trainer(**kwargs) -> L.Trainer:
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**settings, enable_model_summary=False, **kwargs)


class OneBatch(torch.utils.data.Dataset):
    """A data set of one prepared batch."""

    def __init__(self, batch: dict[str, torch.Tensor]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.batch


def one_batch_loader(batch: dict[str, torch.Tensor]) -> DataLoader:
    return DataLoader(OneBatch(batch), batch_size=None)


def test_learning_rates_equal_the_intended_ones_of_the_paper(golden_dir: Path) -> None:
    expected = json.loads((golden_dir / "lr_schedule.json").read_text())["hrnet"]

    class Recorder(L.Callback):
        rates: list[float] = []  # noqa: RUF012

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    module = make_module(
        nn.Conv2d(3, 3, 1, stride=4),
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        schedule=partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[170, 200], gamma=0.1),
    )
    recorder = Recorder()
    quiet_trainer(max_epochs=210, callbacks=[recorder]).fit(module, one_batch_loader(make_batch()))
    np.testing.assert_allclose(recorder.rates, np.repeat(expected["rates"], expected["epochs_each"]), rtol=1e-12)


def test_a_schedule_by_steps_receives_their_number() -> None:
    module = make_module(
        nn.Conv2d(3, 3, 1, stride=4),
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        schedule=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1e-2),
        schedule_interval="step",
    )
    trainer = quiet_trainer(max_epochs=4)
    trainer.fit(module, one_batch_loader(make_batch()))
    assert trainer.lr_scheduler_configs[0].interval == "step"
    assert trainer.lr_scheduler_configs[0].scheduler.total_steps == 4


class CountedData(L.LightningDataModule):
    """A data module of ten batches of one sample."""

    num_train_batches = 10

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def train_dataloader(self) -> DataLoader:
        self.made += 1
        return DataLoader(torch.utils.data.TensorDataset(torch.zeros(10, 1)), batch_size=1)


class StepCounter(L.LightningModule):
    """Records the number of steps by `count_total_steps`, by Lightning and of the run."""

    counted: tuple[int, int, int]
    estimated: float
    taken = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        made = self.trainer.datamodule.made
        self.counted = (made, count_total_steps(self.trainer), self.trainer.datamodule.made)
        self.estimated = self.trainer.estimated_stepping_batches
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx) -> torch.Tensor:
        return self.weight.sum()

    def on_train_end(self) -> None:
        self.taken = self.trainer.global_step


@pytest.mark.parametrize(
    "limits",
    [
        *({}, {"limit_train_batches": 3}, {"limit_train_batches": 30}, {"limit_train_batches": 0.25}),
        *({"limit_train_batches": 1.0}, {"limit_train_batches": 1}, {"overfit_batches": 3}, {"overfit_batches": 0.35}),
        *({"max_steps": 4}, {"max_steps": 400}, {"max_epochs": -1, "max_steps": 7}, {"max_epochs": None, "max_steps": 13}),
        *({"max_epochs": 1}, {"max_time": "00:01:00:00"}, {"limit_train_batches": 0.55, "max_steps": 5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("accumulate", [1, 2, 3, 20])
@pytest.mark.filterwarnings("ignore:You requested to overfit.*:UserWarning")
def test_the_steps_of_a_run_are_counted_without_a_loader(limits, accumulate) -> None:
    module = StepCounter()
    trainer = quiet_trainer(accumulate_grad_batches=accumulate, **{"max_epochs": 2, **limits})
    trainer.fit(module, datamodule=CountedData())
    assert module.counted == (0, module.estimated, 0)
    assert module.taken == module.estimated


def test_a_run_without_batches_has_one_step() -> None:
    module = make_module(nn.Conv2d(3, 3, 1, stride=4), schedule=partial(one_cycle, max_lr=1e-2), schedule_interval="step")
    trainer = quiet_trainer(max_epochs=2, limit_train_batches=0)
    trainer.fit(module, datamodule=CountedData())
    assert trainer.global_step == 0


def test_a_schedule_over_all_steps_of_an_endless_run_is_refused() -> None:
    module = make_module(nn.Conv2d(3, 3, 1, stride=4), schedule=partial(one_cycle, max_lr=1e-2), schedule_interval="step")
    with pytest.raises(ValueError, match=r"trainer\.max_epochs.*-1.*trainer\.max_steps"):
        quiet_trainer(max_epochs=-1).fit(module, datamodule=CountedData())


def test_the_optimizer_decays_no_weights_by_default() -> None:
    optimizer = make_module(tiny_net()).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["weight_decay"] == 0


class HostReads(TorchDispatchMode):
    """Counts the operations that synchronise the device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::_to_copy.device"):
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_a_training_step_does_not_synchronise_the_device() -> None:
    module = make_module(tiny_net())
    module.log = lambda *args, **kwargs: None  # logging may read
    batch = make_batch()
    with HostReads() as reads:
        batch["target"], batch["target_weight"] = CODEC.encode(batch["keypoints"], batch["visibility"])
        module.training_step(batch, 0).backward()
    assert reads.names == []


def test_target_heatmaps_give_an_ap_of_1_for_every_kind_of_boxes() -> None:
    batch = make_batch()
    batch["images"] = batch["target"]
    module = make_module(nn.Identity(), metrics={"gt": make_metric(), "det": make_metric()}, flip_test=False)
    trainer = quiet_trainer()
    trainer.validate(module, [one_batch_loader(batch), one_batch_loader(batch)], verbose=False)
    logged = trainer.callback_metrics
    assert logged["val/AP"] == logged["val/AP_gt"] == logged["val/AP_det"] == 1
    assert {"val/AP50", "val/AP75_det", "val/AR_gt", "val/ARL"} <= set(logged)


def test_the_loss_of_annotated_boxes_is_that_of_the_outputs_of_the_first_pass() -> None:
    class Counted(nn.Conv2d):
        calls = 0

        def forward(self, images):
            Counted.calls += 1
            return super().forward(images)

    batch = make_batch()
    net = Counted(3, 3, 1, stride=4)
    module = make_module(net, metrics={"det": make_metric(), "gt": make_metric()}, flip_test=True)
    trainer = quiet_trainer()
    trainer.validate(module, [one_batch_loader(batch), one_batch_loader(batch)], verbose=False)
    with torch.inference_mode():
        expected = module.loss(nn.Conv2d.forward(net, batch["images"]), batch["target"], batch["target_weight"])
    assert Counted.calls == 4  # an image and its mirror image for each kind of boxes
    torch.testing.assert_close(trainer.callback_metrics["val/loss"], expected, rtol=1e-5, atol=0)
    boxes = make_module(net, metrics={"det": make_metric()})
    trainer.validate(boxes, one_batch_loader(batch), verbose=False)
    assert "val/loss" not in trainer.callback_metrics


def test_val_ap_is_that_of_the_first_kind_of_boxes() -> None:
    good, bad = make_batch(), make_batch()
    good["images"], bad["images"] = good["target"], good["target"].flip(-2)
    module = make_module(nn.Identity(), metrics={"det": make_metric(), "gt": make_metric()}, flip_test=False)
    trainer = quiet_trainer()
    trainer.test(module, [one_batch_loader(bad), one_batch_loader(good)], verbose=False)
    logged = trainer.callback_metrics
    assert logged["test/AP"] == logged["test/AP_det"] < logged["test/AP_gt"] == 1


def test_a_network_that_has_diverged_is_reported() -> None:
    batch = make_batch(torch.full((NUM_PERSONS, 3, 16, 8), torch.nan))
    module = make_module(nn.Identity(), metrics={"gt": make_metric()}, flip_test=False)
    with pytest.raises(ValueError, match=r"\d+.*optim\.lr"):
        quiet_trainer().validate(module, one_batch_loader(batch), verbose=False)


def test_a_second_validation_resets_the_metrics() -> None:
    batch = make_batch()
    batch["images"] = batch["target"]
    module = make_module(nn.Identity(), metrics={"gt": make_metric()}, flip_test=False)
    trainer = quiet_trainer()
    for _ in range(2):
        trainer.validate(module, one_batch_loader(batch), verbose=False)
        assert len(module.metrics["gt"].results()) == NUM_PERSONS


@pytest.mark.trains
def test_channels_last_and_bf16_leave_the_loss_in_float32() -> None:
    module = make_module(tiny_net(), channels_last=True)
    module.log = lambda *args, **kwargs: None
    weight = module.net.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module.training_step(make_batch(), 0)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_a_checkpoint_loads_with_weights_only(tmp_path: Path) -> None:
    module = make_module(tiny_net(), config={"optim": {"lr": 1e-3}, "name": "test"})
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, one_batch_loader(make_batch()))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert content["hyper_parameters"]["config"]["optim"]["lr"] == 1e-3
    assert Skeleton.from_dict(content["hyper_parameters"]["skeleton"]) == SKELETON
    assert set(content["state_dict"]) == {f"net.{key}" for key in module.net.state_dict()}


def make_rle_module(**kwargs) -> PoseModule:
    net = DeepPose(HRNet(width=4, num_keypoints=None, all_branches=True, **SMALL_NET), 3, sigmas=True)
    return PoseModule(net, RegressionCodec((32, 64)), RLELoss(), SKELETON, **kwargs)


def rle_batch() -> dict[str, torch.Tensor]:
    batch = make_batch()
    target, weight = RegressionCodec((32, 64)).encode(batch["keypoints"], batch["visibility"])
    return {**batch, "target": target, "target_weight": weight}


@pytest.mark.trains
def test_the_parameters_of_a_loss_are_trained_stored_and_restored(tmp_path: Path) -> None:
    module = make_rle_module(optimizer=partial(torch.optim.Adam, lr=1e-3))
    before = {name: value.clone() for name, value in module.loss.state_dict().items()}
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, one_batch_loader(rle_batch()))
    assert all(not torch.equal(value, before[name]) for name, value in module.loss.state_dict().items())
    trainer.save_checkpoint(tmp_path / "a.ckpt")

    other = make_rle_module(optimizer=partial(torch.optim.Adam, lr=1e-3))
    quiet_trainer(max_epochs=2).fit(other, one_batch_loader(rle_batch()), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in other.state_dict().items())
    moments = [quiet.optimizers().state_dict()["state"] for quiet in (module, other)]
    assert len(moments[0]) == len(list(module.net.parameters())) + len(list(module.loss.parameters()))
    assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[0])


@pytest.mark.trains
def test_the_network_loads_from_a_checkpoint_with_a_trained_loss(tmp_path: Path) -> None:
    module = make_rle_module()
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, one_batch_loader(rle_batch()))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    net = make_rle_module().net
    report = load_weights(net, tmp_path / "a.ckpt")
    assert report.missing == report.mismatched == ()
    assert all(name.startswith("loss.flow.") for name in report.unused)
    assert all(torch.equal(value, module.net.state_dict()[name]) for name, value in net.state_dict().items())


def test_the_backbone_has_its_own_learning_rate():
    net = HRNet(width=4, **SMALL_NET, num_keypoints=3)
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    module = PoseModule(net, CODEC, HeatmapMSELoss(), SKELETON, optimizer=optimizer, backbone_factor=0.1)
    head, backbone = module.configure_optimizers().param_groups
    assert (head["name"], head["lr"]) == ("head", 0.01)
    assert (backbone["name"], backbone["lr"]) == ("backbone", pytest.approx(0.001))
    assert {id(parameter) for parameter in head["params"]} == {id(parameter) for parameter in net.final_layer.parameters()}
    assert len(head["params"]) + len(backbone["params"]) == len(list(net.parameters()))


def test_the_parameters_of_the_loss_have_the_rate_of_the_head():
    net = DeepPose(HRNet(width=4, **SMALL_NET, num_keypoints=None), num_keypoints=3, sigmas=True)
    loss = RLELoss()
    module = PoseModule(net, RegressionCodec(input_size=(32, 64)), loss, SKELETON, backbone_factor=0.1)
    head, _ = module.configure_optimizers().param_groups
    assert {id(parameter) for parameter in loss.parameters()} <= {id(parameter) for parameter in head["params"]}


def test_without_a_factor_there_is_one_group():
    module = PoseModule(nn.Conv2d(3, 3, 1), CODEC, HeatmapMSELoss(), SKELETON)
    (group,) = module.configure_optimizers().param_groups
    assert len(group["params"]) == 2


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_a_factor_that_is_not_positive_is_refused(factor):
    with pytest.raises(ValueError, match="backbone_factor"):
        PoseModule(nn.Conv2d(3, 3, 1), CODEC, HeatmapMSELoss(), SKELETON, backbone_factor=factor)


def test_a_factor_for_a_network_without_a_head_is_refused():
    with pytest.raises(ValueError, match="head_modules"):
        PoseModule(nn.Conv2d(3, 3, 1), CODEC, HeatmapMSELoss(), SKELETON, backbone_factor=0.1)


class OwnNet(nn.Conv2d):
    """A network of one layer, without parts that are compiled alone."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # within torch.compile
@pytest.mark.parametrize(
    ("net", "num_graphs"), [(HRNet(width=4, num_keypoints=3, **SMALL_NET), 8), (OwnNet(3, 3, 1, stride=4), 1)]
)
def test_only_training_batches_of_one_size_are_compiled(tmp_path, monkeypatch, net, num_graphs) -> None:
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compile_module(module, backend=count, **options))
    whole, part = make_batch(), {name: value[:2] for name, value in make_batch().items()}
    module = make_module(net, compile=True, metrics={"gt": make_metric()})
    names = list(module.state_dict())
    trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=2, num_sanity_val_steps=1)
    loaders = [DataLoader([whole, whole, part], batch_size=None), DataLoader([whole, part], batch_size=None)]
    trainer.fit(module, *loaders)
    assert len(graphs) == num_graphs
    assert list(module.state_dict()) == names
