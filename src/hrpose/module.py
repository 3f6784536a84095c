"""The LightningModules: `PoseModule` trains and validates a network, its base `MetricModule` evaluates estimated poses.

Every part is an argument. `PoseDataModule.on_after_batch_transfer` prepares the batches, and all predictions use
`hrpose.inference.estimate_poses`.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hrpose.codecs import Codec, is_bottom_up
from hrpose.inference import estimate_poses
from hrpose.metrics import PoseMetric
from hrpose.models import compile_network, split_parameters
from hrpose.skeletons import Skeleton
from hrpose.structures import Batch, Poses


class MetricModule(LightningModule):
    """Estimate poses with `predict_step`, and evaluate them in validation and test.

    Logged: the numbers of the first metric, such as `val/AP` or `val/PCKh`, and those of each metric with its name, such as
    `val/AP_gt` and `val/AP_det`; in a test the same with `test/`.

    Args:
        skeleton: the keypoints.
        metrics: one metric for each validation loader, in their order; named by the boxes: "gt", "det".
        config: the composed configuration as plain containers; it is stored in checkpoints.
        protocols: the protocol of each metric as plain containers; stored in checkpoints and logged with the hyperparameters.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        metrics: Mapping[str, PoseMetric] | None = None,
        *,
        config: dict[str, Any] | None = None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.skeleton = skeleton
        self.metrics = nn.ModuleDict(dict(metrics or {}))  # type: ignore[arg-type] # a PoseMetric is a Metric
        stated = {name: dict(protocol) for name, protocol in (protocols or {}).items()}
        self.save_hyperparameters({"config": config, "skeleton": skeleton.to_dict(), "protocols": stated})

    @property
    def pose_metrics(self) -> dict[str, PoseMetric]:
        """The metrics by their names."""
        return cast("dict[str, PoseMetric]", dict(self.metrics.items()))

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics."""
        for metric in self.pose_metrics.values():
            metric.reset()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Estimate the poses of one batch and update the metric of its loader."""
        poses = self.predict_step(batch, 0)
        list(self.pose_metrics.values())[dataloader_idx].update_poses(poses)
        return {"poses": poses}

    def on_validation_epoch_end(self) -> None:
        """Log each number as `val/AP_gt` or `test/AP_gt`, and those of the first metric as `val/AP` or `test/AP` too."""
        if self.trainer.sanity_checking:
            return
        stage = "test" if self.trainer.testing else "val"
        for position, (name, metric) in enumerate(self.pose_metrics.items()):
            for key, value in metric.logged().items():
                self.log(f"{stage}/{key}_{name}", value.float(), prog_bar=key == metric.leading)
                if position == 0:
                    self.log(f"{stage}/{key}", value.float())

    on_test_epoch_start, test_step, on_test_epoch_end = on_validation_epoch_start, validation_step, on_validation_epoch_end


class PoseModule(MetricModule):
    """Train a keypoint network and evaluate it with its metrics.

    Logged: `train/loss`, `val/loss` of the annotated boxes, and the numbers of `MetricModule`.

    Args:
        net: images (B, 3, H, W) -> heatmaps (B, K, h, w), or rows of coordinates or bins (B, K, ...); in training mode the
            heatmaps of all stacks, (B, S, K, h, w), if it has several. With a bottom-up codec a list of heatmaps and tags.
        codec: decodes the outputs of the network.
        loss: (outputs, target, target_weight) -> scalar. Its parameters, if any, are trained too (`RLELoss` has some).
        skeleton: the keypoints, with mirror pairs for the flip test.
        optimizer: parameters -> optimizer.
        backbone_factor: ratio of the learning rates of backbone and head. With 1 all parameters are in one group; otherwise in
            the groups "head", with the parameters of the loss, and "backbone".
        schedule: optimizer -> learning-rate schedule, or None for a constant rate. A schedule that steps after every batch
            also receives the keyword `total_steps` (for `hrpose.schedules.one_cycle`).
        schedule_interval: when the schedule steps: after an "epoch" (as in the paper) or after a "step".
        metrics: see `MetricModule`.
        flip_test: average with the outputs for the mirrored crop.
        keypoint_score_threshold: the instance score is the mean of keypoint scores above it (0.2 in the paper).
        channels_last: store activations in NHWC order, which is faster on GPUs and recent CPUs.
        compile: compile the network with torch.compile for training batches of the size of the first one. Other batches (the
            last one of an epoch, validation) run without, because compiling for each size takes minutes.
        config: see `MetricModule`.
        protocols: see `MetricModule`.
    """

    def __init__(
        self,
        net: nn.Module,
        codec: Codec,
        loss: nn.Module,
        skeleton: Skeleton,
        *,
        optimizer: Callable[..., Optimizer] = torch.optim.Adam,
        backbone_factor: float = 1.0,
        schedule: Callable[..., LRScheduler] | None = None,
        schedule_interval: Literal["epoch", "step"] = "epoch",
        metrics: Mapping[str, PoseMetric] | None = None,
        flip_test: bool = True,
        keypoint_score_threshold: float = 0.2,
        channels_last: bool = False,
        compile: bool = False,
        config: dict[str, Any] | None = None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(skeleton, metrics, config=config, protocols=protocols)
        if not backbone_factor > 0:
            raise ValueError(f"Expected argument `backbone_factor` to be above 0, but got {backbone_factor}.")
        if backbone_factor != 1:
            split_parameters(net)  # raises an error if the network has no head
        self.net = net.to(memory_format=torch.channels_last) if channels_last else net  # type: ignore[call-overload]
        self.codec, self.loss = codec, loss
        self.optimizer, self.backbone_factor = optimizer, backbone_factor
        self.schedule, self.schedule_interval = schedule, schedule_interval
        self.flip_test, self.keypoint_score_threshold = flip_test, keypoint_score_threshold
        self._restored_gradients: dict[str, Tensor] = {}
        self.compiled = compile
        self._compiled_size = 0  # images in the first training batch
        if compile:
            compile_network(self.net)

    def forward(self, images: Tensor) -> Any:
        """Compute the outputs of the network for normalised images (B, 3, H, W)."""
        return self.net(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of one batch."""
        images = batch["images"]
        self._compiled_size = self._compiled_size or len(images)
        with nullcontext() if len(images) == self._compiled_size else self._eager():
            outputs = self(images)
        loss: Tensor = self.loss(outputs, batch["target"], batch["target_weight"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the gradients of an unfinished accumulation, averaged over processes, for a resumed run."""
        batches = self.trainer.fit_loop.batch_idx + 1
        if batches % self.trainer.accumulate_grad_batches and not self.trainer.is_last_batch:
            checkpoint["gradients"] = {
                name: self.trainer.strategy.reduce(parameter.grad.clone(), reduce_op="mean")
                for name, parameter in self.named_parameters()
                if parameter.grad is not None
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the gradients of an unfinished accumulation."""
        self._restored_gradients = checkpoint.get("gradients", {})

    def on_train_start(self) -> None:
        """Restore the gradients of an unfinished accumulation, after Lightning has cleared them."""
        for name, gradient in self._restored_gradients.items():
            parameter = self.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        self._restored_gradients = {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Evaluate one batch; log the loss of annotated boxes, from the same outputs as the poses."""
        outputs: list[Tensor] = []  # of the images, then of the mirrored images
        hook = self.net.register_forward_hook(lambda net, arguments, output: outputs.append(output))
        try:
            measured = super().validation_step(batch, batch_idx, dataloader_idx)
        finally:
            hook.remove()
        if list(self.pose_metrics)[dataloader_idx] == "gt" and not is_bottom_up(self.codec):
            loss = self.loss(outputs[0], batch["target"], batch["target_weight"])
            options: Any = {"sync_dist": True, "add_dataloader_idx": False, "batch_size": len(batch["images"])}
            self.log("val/loss", loss, **options)
        return measured

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Poses:
        """Estimate the poses of one batch: of crops, or of all instances of a whole image."""
        with self._eager():
            return estimate_poses(
                self.net,
                self.codec,
                batch,
                flip_test=self.flip_test,
                flip_permutation=self.skeleton.flip_permutation,
                score_threshold=self.keypoint_score_threshold,
            )

    def _eager(self) -> AbstractContextManager[None]:
        """Run a compiled network without its compiled code."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule."""
        optimizer = self._build_optimizer()
        if self.schedule is None:
            return optimizer
        per_step = self.schedule_interval == "step"
        schedule = self.schedule(optimizer, **({"total_steps": count_total_steps(self.trainer)} if per_step else {}))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.schedule_interval}}

    def _build_optimizer(self) -> Optimizer:
        if self.backbone_factor == 1:
            return self.optimizer([*self.net.parameters(), *self.loss.parameters()])
        backbone, head = split_parameters(self.net)
        groups = [{"name": "head", "params": [*head, *self.loss.parameters()]}, {"name": "backbone", "params": backbone}]
        optimizer = self.optimizer(groups)
        optimizer.param_groups[1]["lr"] = self.backbone_factor * optimizer.param_groups[1]["lr"]
        return optimizer


def count_total_steps(trainer: Trainer) -> int:
    """Count the optimizer steps of a whole run, as `trainer.estimated_stepping_batches` does.

    That property creates the training loader, which is too early for a resumed run: Lightning restores the position within the
    epoch only in loaders created later. So the data module states the number of batches; Lightning's property is used only
    without `num_train_batches`.

    Raises:
        ValueError: if the run has no last step.
    """
    batches: int | None = getattr(trainer.datamodule, "num_train_batches", None)  # type: ignore[attr-defined]
    if batches is None or trainer.max_epochs in (None, -1):
        steps = trainer.estimated_stepping_batches
    else:
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * trainer.max_epochs
        steps = max(1, min(steps, trainer.max_steps) if trainer.max_steps != -1 else steps)
    if not 1 <= steps < math.inf:
        raise ValueError(
            "Expected a run with a last step, because the schedule depends on the number of steps, but trainer.max_epochs is "
            f"{trainer.max_epochs} and trainer.max_steps is {trainer.max_steps}. Set one of them, or schedule=none."
        )
    return int(steps)
