import math

import pytest
import torch

from hrpose.losses import RLELoss

ANSWERS = torch.tensor([[[0.5, 0.3, 0.1, 0.2], [0.9, 0.9, 0.05, 0.5]]])
TARGET = torch.tensor([[[0.4, 0.3], [0.9, 0.4]]])


@pytest.fixture(params=["laplace", "gaussian"])
def loss(request):
    """A loss whose flow is the standard Gaussian."""
    loss = RLELoss(request.param)
    for parameter in loss.flow.parameters():
        torch.nn.init.zeros_(parameter)
    return loss


def by_hand(loss, keypoint):
    """The formula of the official code for one keypoint, x and y."""
    total = 0.0
    errors = [
        (ANSWERS[0, keypoint, axis] - TARGET[0, keypoint, axis]) / ANSWERS[0, keypoint, 2 + axis] for axis in (0, 1)
    ]
    log_density = -math.log(2 * math.pi) - sum(float(error) ** 2 for error in errors) / 2
    for axis in (0, 1):
        sigma, error = float(ANSWERS[0, keypoint, 2 + axis]), float(errors[axis])
        base = math.log(2 * sigma) + abs(error)
        if loss.base == "gaussian":
            base = math.log(sigma * math.sqrt(2 * math.pi)) + error**2 / 2
        total += math.log(sigma) - log_density + base
    return total


def test_the_formula_by_hand(loss):
    assert loss(ANSWERS, TARGET, torch.ones(1, 2, 1)).item() == pytest.approx(
        by_hand(loss, 0) + by_hand(loss, 1), rel=1e-5
    )
    twice = (values.repeat(2, 1, 1) for values in (ANSWERS, TARGET, torch.ones(1, 2, 1)))
    assert loss(*twice).item() == pytest.approx(by_hand(loss, 0) + by_hand(loss, 1), rel=1e-5)  # the mean over persons


def test_unlabelled_keypoints_teach_neither_network_nor_flow():
    loss, answers = RLELoss(), ANSWERS.clone().requires_grad_()
    loss(answers, TARGET, torch.tensor([[[1.0], [0.0]]])).backward()
    assert not answers.grad[:, 1].any()
    assert answers.grad[:, 0].any()
    loss.zero_grad()
    loss(answers, TARGET, torch.zeros(1, 2, 1)).backward()
    assert not any(parameter.grad.any() for parameter in loss.parameters())


def test_the_best_sigma_grows_with_the_error(loss):
    sigmas = torch.linspace(0.01, 0.99, 99)
    best = []
    for error in (0.05, 0.2):
        answers = torch.stack([torch.tensor([0.5 + error, 0.5, float(sigma), float(sigma)]) for sigma in sigmas])[
            :, None
        ]
        losses = [loss(one[None], torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)).item() for one in answers]
        best.append(sigmas[torch.tensor(losses).argmin()].item())
    assert best[0] < best[1] < 0.5


def test_a_sigma_of_nothing_gives_a_finite_loss():
    answers = torch.tensor([[[0.5, 0.5, 0.0, 0.0]]])
    assert RLELoss()(answers, torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)).isfinite()


def test_half_precision_answers_are_judged_in_single():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert RLELoss()(ANSWERS.bfloat16(), TARGET, torch.ones(1, 2, 1)).dtype == torch.float32


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="`base` to be one of laplace, gaussian, but got 'cauchy'"):
        RLELoss("cauchy")
    with pytest.raises(ValueError, match=r"\(B, K, 4\).*coordinates and sigmas \(model=rle_50\)"):
        RLELoss()(ANSWERS[..., :2], TARGET, torch.ones(1, 2, 1))
