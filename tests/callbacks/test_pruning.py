"""A training reports the AP of each validation to Optuna, and ends where the pruner says so."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hrpose.callbacks import OptunaPruning


class Constant(LightningModule):
    """A module whose AP is always the same."""

    def __init__(self, ap: float) -> None:
        super().__init__()
        self.ap = ap
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/AP", self.ap)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]

    val_dataloader = train_dataloader


def study_of(file: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    return optuna.create_study(storage=storage, study_name="s", direction="maximize", load_if_exists=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("ap", "epochs", "pruned"), [(0.1, 1, 1), (0.9, 3, None), (float("nan"), 3, None)])
def test_a_training_below_the_median_ends(tmp_path: Path, ap: float, epochs: int, pruned: int | None) -> None:
    file = tmp_path / "optuna.log"
    study = study_of(file)
    for _ in range(5):
        distributions = {"x": optuna.distributions.FloatDistribution(0, 1)}
        values = dict.fromkeys((1, 2, 3), 0.5)
        study.add_trial(
            optuna.create_trial(value=0.5, params={"x": 0.5}, distributions=distributions, intermediate_values=values)
        )
    trial = study.ask()
    callback = OptunaPruning(storage=str(file), study_name="s", trial=trial.number, monitor="val/AP")
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1, default_root_dir=tmp_path,
    )  # fmt: skip
    module = Constant(ap)
    trainer.fit(module)
    trainer.validate(module, verbose=False)  # of the best checkpoint: not reported
    assert trainer.current_epoch == epochs
    stored = study_of(file).trials[trial.number]
    assert stored.user_attrs.get("pruned") == pruned
    assert len(stored.intermediate_values) == (0 if ap != ap else epochs)
