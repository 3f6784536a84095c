"""The LightningModules: `PoseModule` trains and validates a network, its base `MetricModule` measures estimated poses.

They build nothing: every part is an argument. Batches arrive ready for the network (see
`PoseDataModule.on_after_batch_transfer`), and every prediction of a network goes through `hrpose.inference.estimate_poses`.
"""

import math
from collections.abc import Callable, Mapping
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
from hrpose.models import split_parameters
from hrpose.skeletons import Skeleton
from hrpose.structures import Batch, Poses


class MetricModule(LightningModule):
    """Estimate poses with `predict_step`, and measure them in validation and test.

    Logged: `val/AP` and its nine companions for the first metric (`val/PCKh` and its companions if that is what it measures); for
    each metric its numbers with its name, such as `val/AP_gt` and `val/AP_det`. A test logs the same under `test/`.

    Args:
        skeleton: the keypoints.
        metrics: one metric for each validation loader, in their order; named by the boxes: "gt", "det".
        config: the composed configuration as plain containers; it is stored in checkpoints.
        protocols: how each metric measures, as plain containers; stored in checkpoints and logged with the hyperparameters.
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

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics."""
        self._reset_metrics()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Estimate the poses of one batch and update the metric of its loader."""
        return self._measure(batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the numbers of every metric."""
        if not self.trainer.sanity_checking:
            self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        """Reset the metrics."""
        self._reset_metrics()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Estimate the poses of one batch and update the metric of its loader."""
        return self._measure(batch, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the numbers of every metric."""
        self._log_metrics("test")

    @property
    def pose_metrics(self) -> dict[str, PoseMetric]:
        """The metrics by their names."""
        return cast("dict[str, PoseMetric]", dict(self.metrics.items()))

    def _measure(self, batch: Batch, loader: int) -> dict[str, Any]:
        poses = self.predict_step(batch, 0)
        list(self.pose_metrics.values())[loader].update_poses(poses)
        return {"poses": poses}

    def _reset_metrics(self) -> None:
        for metric in self.pose_metrics.values():
            metric.reset()

    def _log_metrics(self, stage: str) -> None:
        """Log each number under `stage/AP_name`, and those of the first metric under `stage/AP` too."""
        for position, (name, metric) in enumerate(self.pose_metrics.items()):
            for key, value in metric.logged().items():
                self.log(f"{stage}/{key}_{name}", value.float(), prog_bar=key == metric.leading)
                if position == 0:
                    self.log(f"{stage}/{key}", value.float())


class PoseModule(MetricModule):
    """Train a keypoint network and measure its AP, or whatever its metrics measure.

    Logged: `train/loss`, `val/loss` of the annotated boxes, and what `MetricModule` logs.

    Args:
        net: images (B, 3, H, W) -> heatmaps (B, K, h, w), or rows of coordinates or bins (B, K, ...); in training mode the
            heatmaps of all stacks, (B, S, K, h, w), if it has several. With a bottom-up codec a list of heatmaps and tags.
        codec: the outputs' meaning: decodes what the network puts out.
        loss: (outputs, target, target_weight) -> scalar. Parameters of its own, as those of `RLELoss`, are trained with the
            network's.
        skeleton: the keypoints; its mirror pairs serve the flip test.
        optimizer: parameters -> optimizer.
        backbone_factor: learning rate of the backbone as a share of that of the head. With 1 all parameters are in one group;
            else the optimizer has the groups "head", with the parameters of the loss, and "backbone".
        schedule: optimizer -> learning-rate schedule, or None for a constant rate. One that steps after every batch is called
            with the keyword `total_steps` too (`hrpose.schedules.one_cycle` needs it).
        schedule_interval: when the schedule steps: after an "epoch" (the paper's way) or after a "step".
        metrics: one metric for each validation loader, in their order; named by the boxes: "gt", "det".
        flip_test: average with the outputs for the mirrored crop.
        keypoint_score_threshold: keypoints that score above it count for the instance score (the paper's 0.2).
        channels_last: keep activations in NHWC order, which convolutions on GPUs and recent CPUs prefer.
        compile: compile the network with torch.compile when it first runs.
        config: the composed configuration as plain containers; it is stored in checkpoints.
        protocols: how each metric measures, as plain containers; stored in checkpoints and logged with the hyperparameters.
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
            split_parameters(net)  # refuses a network that names no head
        self.net = net.to(memory_format=torch.channels_last) if channels_last else net  # type: ignore[call-overload]
        self.codec = codec
        self.loss = loss
        self.optimizer = optimizer
        self.backbone_factor = backbone_factor
        self.schedule = schedule
        self.schedule_interval = schedule_interval
        self.flip_test = flip_test
        self.keypoint_score_threshold = keypoint_score_threshold
        self._restored_gradients: dict[str, Tensor] = {}
        if compile:
            self.net.compile()

    def forward(self, images: Tensor) -> Any:
        """Compute what the network puts out for normalised images (B, 3, H, W)."""
        return self.net(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of one batch."""
        loss: Tensor = self.loss(self(batch["images"]), batch["target"], batch["target_weight"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["images"]))
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the gradients of an unfinished accumulation; without them a resumed run would lose these batches.

        Those of several processes are averaged.
        """
        batches = self.trainer.fit_loop.batch_idx + 1
        if batches % self.trainer.accumulate_grad_batches and not self.trainer.is_last_batch:
            checkpoint["gradients"] = {
                name: self.trainer.strategy.reduce(parameter.grad.clone(), reduce_op="mean")
                for name, parameter in self.named_parameters()
                if parameter.grad is not None
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the gradients of an unfinished accumulation."""
        self._restored_gradients = checkpoint.get("gradients", {})

    def on_train_start(self) -> None:
        """Restore the gradients of an unfinished accumulation; Lightning has cleared them until now."""
        for name, gradient in self._restored_gradients.items():
            parameter = self.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        self._restored_gradients = {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Measure one batch; log the loss of annotated boxes from the outputs that the poses are decoded from."""
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
        return estimate_poses(
            self.net,
            self.codec,
            batch,
            flip_test=self.flip_test,
            flip_permutation=self.skeleton.flip_permutation,
            score_threshold=self.keypoint_score_threshold,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule from what was given."""
        optimizer = self._build_optimizer()
        if self.schedule is None:
            return optimizer
        per_step = self.schedule_interval == "step"
        schedule = self.schedule(optimizer, **({"total_steps": count_total_steps(self.trainer)} if per_step else {}))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": self.schedule_interval},
        }

    def _build_optimizer(self) -> Optimizer:
        if self.backbone_factor == 1:
            return self.optimizer([*self.net.parameters(), *self.loss.parameters()])
        backbone, head = split_parameters(self.net)
        groups = [
            {"name": "head", "params": [*head, *self.loss.parameters()]},
            {"name": "backbone", "params": backbone},
        ]
        optimizer = self.optimizer(groups)
        optimizer.param_groups[1]["lr"] = self.backbone_factor * optimizer.param_groups[1]["lr"]
        return optimizer


def count_total_steps(trainer: Trainer) -> int:
    """Count the optimizer steps of a whole run, as `trainer.estimated_stepping_batches` does.

    That property makes the training loader. When the optimizers are made, this is too early for a resumed run: Lightning restores
    the position within the epoch only in a loader that is made later. So the number of batches is asked of the data module;
    Lightning's property is for those without a `num_train_batches`, and for loaders without a data module.

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
            "Expected a run with a last step, because the schedule is stretched over all steps, but trainer.max_epochs is "
            f"{trainer.max_epochs} and trainer.max_steps is {trainer.max_steps}. Set one of them, or schedule=none."
        )
    return int(steps)
