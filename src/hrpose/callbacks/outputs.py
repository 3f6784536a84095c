"""Callbacks for what a run writes: checkpoints, validations, logged losses, pictures and result files."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from hrpose.data.datamodule import PoseDataModule
from hrpose.files import write_atomically, write_json
from hrpose.metrics import KeypointAveragePrecision, PoseMetric
from hrpose.metrics.rows import Predictions
from hrpose.structures import Batch, GroundTruth, Poses
from hrpose.visualize import draw_crop_sheet, draw_curves, draw_pose_sheet, save_image

Image = NDArray[np.uint8]

_NUM_LOSSES = 256


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, for runs that are resumed in a new folder.

    Lightning discards the best checkpoint when the folder changes. This class copies it into the new folder, so that a run that
    does not improve keeps its best checkpoint.
    """

    _resumed_folder: Path | None = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save every `every_n_train_steps`, except at the last batch of an epoch, which `on_train_epoch_end` saves.

        A run resumed from the last batch would continue with the next epoch, without the validation of this one.
        """
        if self.monitor is not None or not trainer.is_last_batch:
            super().on_train_batch_end(trainer, *args)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint of the last batch."""
        if self.monitor is None and trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, None, None, trainer.fit_loop.batch_idx)
        super().on_train_epoch_end(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the folder of the resumed run; the paths in the checkpoint are not followed."""
        self._resumed_folder = Path(trainer.ckpt_path).parent if trainer.ckpt_path else None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the best checkpoint and its score from the folder of the resumed run."""
        if self._resumed_folder is None or self.monitor is None:
            return
        name = Path(state_dict["best_model_path"]).name
        before, after = self._resumed_folder / name, Path(str(self.dirpath)) / name
        if not name or not before.is_file():
            return
        if before.resolve() != after.resolve():
            rank_zero_only(_copy)(before, after)
        self.best_model_path = self.kth_best_model_path = str(after)
        self.best_model_score = self.kth_value = state_dict["best_model_score"]
        self.best_k_models = {str(after): state_dict["best_model_score"]}


class FinalValidation(Callback):
    """Validate after the last epoch for any `check_val_every_n_epoch`.

    The last epochs are usually the best. Without this callback a run of 23 epochs that is validated after every tenth would end
    with the checkpoint of the twentieth, and a run of one epoch with none.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Set the validation of the last epoch. A resumed run may start within it, so every batch is checked."""
        if trainer.current_epoch + 1 == trainer.max_epochs and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1


class FrequentLogging(Callback):
    """Log at least once per epoch, also if it has fewer steps than `log_every_n_steps`."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce `log_every_n_steps` to the steps of an epoch."""
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        trainer.log_every_n_steps = min(trainer.log_every_n_steps, max(1, steps))  # type: ignore[attr-defined]


class LossHistory(Callback):
    """Keep the history of the training loss as at most 256 means over equal numbers of batches.

    Attributes:
        num_steps: optimizer steps of the run.
    """

    def __init__(self) -> None:
        self.num_steps = 0
        self._sums: list[torch.Tensor] = []  # on the device, because a copy to the host would synchronise
        self._width, self._filled = 1, 0

    @property
    def losses(self) -> list[float]:
        """The means in order; an incomplete last one is omitted unless it is the only one."""
        sums = [float(value) for value in self._sums]
        means = [value / self._width for value in sums[:-1]]
        return [*means, sums[-1] / self._filled] if self._filled == self._width or len(sums) == 1 else means

    def state_dict(self) -> dict[str, Any]:
        """Store the history for a resumed run."""
        sums = [float(value) for value in self._sums]
        return {"sums": sums, "width": self._width, "filled": self._filled}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the history."""
        self._sums = [torch.tensor(value) for value in state_dict["sums"]]
        self._width, self._filled = state_dict["width"], state_dict["filled"]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Add the loss of a batch."""
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self.num_steps = trainer.global_step
        if self._sums and self._filled < self._width:
            self._sums[-1] = self._sums[-1].to(loss.device) + loss
            self._filled += 1
            return
        if len(self._sums) == _NUM_LOSSES:
            self._sums = [one + other for one, other in zip(self._sums[::2], self._sums[1::2], strict=True)]
            self._width *= 2
        self._sums.append(loss)
        self._filled = 1


class PictureSheets(Callback):
    """Draw sheets of training crops and of validation images with their poses, and the curves of loss and AP.

    The pictures are written to the folder, where later ones replace earlier ones, and to every logger that accepts images.

    Args:
        folder: of the pictures.
        num_crops: number of training crops.
        num_images: number of validation images.
    """

    def __init__(self, folder: str, *, num_crops: int = 16, num_images: int = 12) -> None:
        self.folder, self.num_crops, self.num_images = Path(folder), num_crops, num_images
        self.history: dict[str, list[tuple[int, float]]] = {}
        self._crops_drawn = False
        self._poses: list[Poses] = []
        self._loss_sum: torch.Tensor | float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Store the curves for a resumed run."""
        return {"history": self.history, "loss_sum": float(self._loss_sum)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the curves."""
        self.history = {name: [(step, value) for step, value in curve] for name, curve in state_dict["history"].items()}
        self._loss_sum = state_dict["loss_sum"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the mean loss."""
        self._loss_sum = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Draw the first batch of the run as the network receives it."""
        if self._crops_drawn or not trainer.is_global_zero:
            return
        self._crops_drawn = True
        datamodule = _datamodule_of(trainer)
        rows = slice(0, self.num_crops)
        images = datamodule.normalization.undo(batch["images"][rows])
        keypoints, visibility = batch["keypoints"][rows].cpu().numpy(), batch["visibility"][rows].cpu().numpy()
        heatmaps = _heatmaps_to_draw(batch["target"], rows, datamodule.codec.num_channels(1))
        self._show(trainer, "train_crops", draw_crop_sheet(images, keypoints, visibility, heatmaps, datamodule.skeleton))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Add the loss on the device."""
        self._loss_sum = self._loss_sum + outputs["loss"].detach() * trainer.accumulate_grad_batches

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the mean loss of the epoch and draw the curves."""
        batches = max(1, trainer.fit_loop.epoch_loop.batch_progress.current.completed)
        self._note(trainer, "train/loss", float(self._loss_sum) / batches)
        self._draw_curves(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the sheet of poses."""
        self._poses = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the poses of the first images of the first loader."""
        image_ids = {image_id for poses in self._poses for image_id in poses.image_ids.tolist()}
        if dataloader_idx == 0 and len(image_ids) <= self.num_images:
            self._poses.append(outputs["poses"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the images with their poses, and record the AP or PCKh."""
        if trainer.sanity_checking or not trainer.is_global_zero or not self._poses:
            return
        datamodule = _datamodule_of(trainer)
        poses = Poses.concatenate(self._poses)
        image_ids = list(dict.fromkeys(poses.image_ids.tolist()))[: self.num_images]
        if image_ids:  # a bottom-up network may find no instance
            images = [datamodule.read_val_image(image_id) for image_id in image_ids]
            shown = [poses[poses.image_ids == image_id] for image_id in image_ids]
            self._show(trainer, "val_poses", draw_pose_sheet(images, shown, datamodule.skeleton))
        if trainer.state.fn == TrainerFn.FITTING:
            for name, metric in metrics_of(pl_module).items():
                for key in (f"val/{metric.leading}_{name}", f"val/PCK@0.1_{name}", "val/loss"):
                    if key in trainer.callback_metrics:
                        self._note(trainer, key, float(trainer.callback_metrics[key]))
            self._draw_curves(trainer)

    def _note(self, trainer: Trainer, name: str, value: float) -> None:
        curve = self.history.setdefault(name, [])
        if not curve or curve[-1][0] != trainer.global_step:
            curve.append((trainer.global_step, value))

    def _draw_curves(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self.history:
            batches, accumulate = trainer.num_training_batches, trainer.accumulate_grad_batches
            steps = math.ceil(batches / accumulate) if math.isfinite(batches) else None
            self._show(trainer, "curves", draw_curves(self.history, steps_per_epoch=steps))

    def _show(self, trainer: Trainer, name: str, image: Image) -> None:
        """Write one picture to the folder and to the loggers."""
        save_image(self.folder / f"{name}.png", image)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"pictures/{name}", [image])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"pictures/{name}", image, trainer.global_step, dataformats="HWC")


class ResultFiles(Callback):
    """Write the poses that AP or PCKh was computed from, one JSON file per source of boxes, after `validate` and `test`.

    For AP it is a COCO result file, for PCKh the list of `hrpose.metrics.PCKh.results`. The validations during `fit` write
    nothing.

    Args:
        folder: of `keypoints_gt.json` and `keypoints_det.json`.

    Attributes:
        evaluated: predictions and ground truth of the last AP, by the name of the metric.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.evaluated: dict[str, tuple[Predictions, GroundTruth]] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the poses of a validation outside of training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the poses of a test."""
        self._write(pl_module)

    def _write(self, pl_module: LightningModule) -> None:
        for name, metric in metrics_of(pl_module).items():
            if isinstance(metric, KeypointAveragePrecision):
                self.evaluated[name] = metric.evaluated()
                rows = self.evaluated[name][0].to_coco()
            else:
                rows = metric.results()
            rank_zero_only(write_json)(self.folder / f"keypoints_{name}.json", rows)


def _copy(source: Path, target: Path) -> None:
    with write_atomically(target) as partial:
        shutil.copyfile(source, partial)


def metrics_of(pl_module: LightningModule) -> dict[str, PoseMetric]:
    """Return the metrics of a module; an empty mapping if it has none."""
    return getattr(pl_module, "pose_metrics", {})


def _heatmaps_to_draw(target: Any, rows: slice, num_channels: int) -> NDArray[np.float32] | None:
    """Copy heatmaps (B, K, h, w) of the highest resolution from the device; None for other targets."""
    heatmaps = target[rows, ::num_channels] if isinstance(target, torch.Tensor) else target.heatmaps[-1][rows]
    return heatmaps.float().cpu().numpy() if heatmaps.ndim == 4 else None


def _datamodule_of(trainer: Trainer) -> PoseDataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(datamodule, PoseDataModule):
        raise TypeError(
            f"PictureSheets: expected a PoseDataModule, but the trainer has {type(datamodule).__name__}. Pass "
            "datamodule=PoseDataModule(...) to the trainer, or remove the callback."
        )
    return datamodule
