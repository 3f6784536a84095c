import math

import pytest
import torch

from hrpose.codecs import SimccCodec
from hrpose.losses import SimccLoss

SIZE = (8, 16)


def test_the_divergence_by_hand():
    # two bins to a pixel: 16 along x, 32 along y; all shares on one bin against logits that are equal
    target = torch.zeros(1, 1, 48)
    target[0, 0, 3] = target[0, 0, 16 + 7] = 1
    loss = SimccLoss(SIZE)(torch.zeros(1, 1, 48), target, torch.ones(1, 1, 1))
    assert loss.item() == pytest.approx(math.log(16) / 16 + math.log(32) / 32)


def test_a_network_that_puts_out_the_logarithm_of_the_target_has_no_loss():
    codec = SimccCodec(input_size=(64, 64), sigma=2)
    target, weight = codec.encode(torch.tensor([[[30.2, 31.0]]]), torch.ones(1, 1))
    assert SimccLoss((64, 64))((target + 1e-30).log(), target, weight).item() == pytest.approx(0, abs=1e-6)
    assert SimccLoss((64, 64))((target + 1e-30).log() + 5, target, weight).item() == pytest.approx(0, abs=1e-6)


def test_x_does_not_learn_from_y():
    logits = torch.randn(1, 2, 48, requires_grad=True)
    target = logits.detach().clone()
    target[..., :16] = target[..., :16].softmax(-1)
    target[..., 16:] = torch.rand(1, 2, 32).softmax(-1)
    SimccLoss(SIZE)(logits, target, torch.ones(1, 2, 1)).backward()
    assert logits.grad[..., :16].abs().max() < 1e-7
    assert logits.grad[..., 16:].abs().max() > 1e-4


def test_unlabelled_keypoints_count_in_the_mean_and_teach_nothing():
    logits = torch.randn(2, 3, 48, requires_grad=True)
    target, weight = torch.rand(2, 3, 48), torch.ones(2, 3, 1)
    weight[:, 1:] = 0
    loss = SimccLoss(SIZE)(logits, target, weight)
    loss.backward()
    alone = SimccLoss(SIZE)(logits[:, :1], target[:, :1], weight[:, :1])
    assert loss.item() == pytest.approx(alone.item() / 3, rel=1e-6)
    assert not logits.grad[:, 1:].any()


@pytest.mark.parametrize("shape", [(2, 3, 47), (2, 3, 48, 1), (2, 4, 48)])
def test_other_bins_than_the_targets_are_refused(shape):
    with pytest.raises(ValueError, match=r"`simcc` belongs to a network of bins"):
        SimccLoss(SIZE)(torch.zeros(shape), torch.zeros(2, 3, 48), torch.ones(2, 3, 1))
