import math

import pytest
import torch

from hrpose.codecs import SimccCodec
from hrpose.losses import CoordinateLoss, IntegralLoss, SimccLoss

ANSWERS = torch.tensor([[[0.5, 0.1], [0.2, 3.0]]])
TARGET = torch.tensor([[[0.1, 0.1], [0.2, 0.5]]])
SIZE = (8, 16)


def test_smooth_l1_by_hand():
    # distances 0.4, 0, 0, 2.5: 0.4^2 / 2 = 0.08 and 2.5 - 1/2 = 2, over four coordinates
    assert CoordinateLoss()(ANSWERS, TARGET, torch.ones(1, 2, 1)).item() == pytest.approx((0.08 + 2.0) / 4)
    assert CoordinateLoss(beta=0)(ANSWERS, TARGET, torch.ones(1, 2, 1)).item() == pytest.approx((0.4 + 2.5) / 4)
    # beta 0.2: 0.4 - 0.1 and 2.5 - 0.1
    assert CoordinateLoss(beta=0.2)(ANSWERS, TARGET, torch.ones(1, 2, 1)).item() == pytest.approx((0.3 + 2.4) / 4)


def test_unlabelled_keypoints_count_in_the_mean_and_have_no_gradient():
    answers = ANSWERS.clone().requires_grad_()
    loss = CoordinateLoss()(answers, TARGET, torch.tensor([[[1.0], [0.0]]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.08 / 4)
    assert not answers.grad[:, 1].any()


def test_half_precision_outputs_are_compared_in_float32():
    near = torch.full((1, 1, 2), 0.5)
    loss = CoordinateLoss(beta=0)(near.bfloat16(), near + 1e-4, torch.ones(1, 1, 1))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1e-4, rel=1e-2)


def peaks(cells, height=8, width=6):
    heatmaps = torch.full((1, len(cells), height, width), -1e4)
    for index, (x, y) in enumerate(cells):
        heatmaps[0, index, y, x] = 0
    return heatmaps


def test_the_integral_loss_is_the_distance_of_the_means_in_heatmap_sizes():
    heatmaps = peaks([(1, 2), (5, 7)])
    target = torch.tensor([[[2 / 6, 2 / 8], [5 / 6, 3 / 8]]])
    # one cell of six, four cells of eight, over four coordinates
    assert IntegralLoss()(heatmaps, target, torch.ones(1, 2, 1)).item() == pytest.approx((1 / 6 + 4 / 8) / 4, rel=1e-5)


def test_the_integral_errors_of_stacks_are_summed():
    stacks = torch.randn(3, 2, 4, 8, 6)
    target, weight = torch.rand(3, 4, 2), torch.ones(3, 4, 1)
    alone = sum(IntegralLoss()(stacks[:, stack], target, weight) for stack in range(2))
    torch.testing.assert_close(IntegralLoss()(stacks, target, weight), alone)


@pytest.mark.parametrize("loss", [CoordinateLoss, IntegralLoss])
def test_a_negative_beta_is_refused(loss):
    with pytest.raises(ValueError, match=r"`beta`.*0.*-1"):
        loss(beta=-1)


@pytest.mark.parametrize(
    ("outputs", "hint"), [(torch.zeros(2, 3, 4), "loss=rle"), (torch.zeros(2, 3, 8, 6), "model=deeppose_50")]
)
def test_outputs_that_are_no_coordinates_are_refused(outputs, hint):
    with pytest.raises(ValueError, match=hint):
        CoordinateLoss()(outputs, torch.zeros(2, 3, 2), torch.ones(2, 3, 1))


@pytest.mark.parametrize(
    ("outputs", "target"),
    [
        (torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)),
        (torch.zeros(2, 3, 8, 6), torch.zeros(2, 3, 8, 6)),
        (torch.zeros(2, 4, 8, 6), torch.zeros(2, 3, 2)),
    ],
)
def test_the_integral_loss_refuses_wrong_shapes(outputs, target):
    with pytest.raises(ValueError, match="`integral`"):
        IntegralLoss()(outputs, target, torch.ones(2, 3, 1))


def test_the_divergence_by_hand():
    # two bins to a pixel: 16 along x, 32 along y; all shares on one bin against logits that are equal
    target = torch.zeros(1, 1, 48)
    target[0, 0, 3] = target[0, 0, 16 + 7] = 1
    loss = SimccLoss(SIZE)(torch.zeros(1, 1, 48), target, torch.ones(1, 1, 1))
    assert loss.item() == pytest.approx(math.log(16) / 16 + math.log(32) / 32)


def test_the_logarithm_of_the_target_has_loss_zero():
    codec = SimccCodec(input_size=(64, 64), sigma=2)
    target, weight = codec.encode(torch.tensor([[[30.2, 31.0]]]), torch.ones(1, 1))
    assert SimccLoss((64, 64))((target + 1e-30).log(), target, weight).item() == pytest.approx(0, abs=1e-6)
    assert SimccLoss((64, 64))((target + 1e-30).log() + 5, target, weight).item() == pytest.approx(0, abs=1e-6)


def test_bins_along_x_have_no_gradient_from_bins_along_y():
    logits = torch.randn(1, 2, 48, requires_grad=True)
    target = logits.detach().clone()
    target[..., :16] = target[..., :16].softmax(-1)
    target[..., 16:] = torch.rand(1, 2, 32).softmax(-1)
    SimccLoss(SIZE)(logits, target, torch.ones(1, 2, 1)).backward()
    assert logits.grad[..., :16].abs().max() < 1e-7
    assert logits.grad[..., 16:].abs().max() > 1e-4


def test_unlabelled_bins_count_in_the_mean_and_have_no_gradient():
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
    with pytest.raises(ValueError, match="`simcc`"):
        SimccLoss(SIZE)(torch.zeros(shape), torch.zeros(2, 3, 48), torch.ones(2, 3, 1))
