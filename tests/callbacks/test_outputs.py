"""The history of the training loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hrpose.callbacks import LossHistory


def follow(history: LossHistory, losses: list[float], *, accumulate: int = 1) -> LossHistory:
    for step, loss in enumerate(losses, 1):
        trainer = SimpleNamespace(global_step=step, accumulate_grad_batches=accumulate)
        history.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, None, step - 1)
    return history


def test_few_losses_are_kept_one_by_one() -> None:
    history = follow(LossHistory(), [3.0, 2.0, 1.0])
    assert history.losses == [3.0, 2.0, 1.0]
    assert history.num_steps == 3
    assert LossHistory().losses == []


def test_many_losses_are_kept_as_means_of_equal_width() -> None:
    losses = follow(LossHistory(), [float(step) for step in range(1024)]).losses
    assert losses == pytest.approx([4 * place + 1.5 for place in range(256)])


def test_an_incomplete_last_mean_is_omitted() -> None:
    losses = follow(LossHistory(), [1.0] * 256 + [5.0]).losses
    assert losses == [1.0] * 128


def test_an_accumulated_loss_is_that_of_the_batch() -> None:
    assert follow(LossHistory(), [0.5, 0.25], accumulate=2).losses == [1.0, 0.5]


def test_a_restored_history_continues() -> None:
    numbers = [float(step % 7) for step in range(700)]
    resumed = LossHistory()
    resumed.load_state_dict(follow(LossHistory(), numbers[:300]).state_dict())
    assert follow(resumed, numbers[300:]).losses == pytest.approx(follow(LossHistory(), numbers).losses)
