import math

import pytest
import torch
from torch import nn

from hrpose.losses import RLELoss
from hrpose.losses.coordinates import RealNVP

ANSWERS = torch.tensor([[[0.5, 0.3, 0.1, 0.2], [0.9, 0.9, 0.05, 0.5]]])
TARGET = torch.tensor([[[0.4, 0.3], [0.9, 0.4]]])


@pytest.fixture(params=["laplace", "gaussian"])
def loss(request):
    """Return a loss with the standard Gaussian as flow."""
    loss = RLELoss(request.param)
    for parameter in loss.flow.parameters():
        torch.nn.init.zeros_(parameter)
    return loss


def by_hand(loss, keypoint):
    """Compute the formula of the official code for one keypoint, x and y."""
    total = 0.0
    errors = [(ANSWERS[0, keypoint, axis] - TARGET[0, keypoint, axis]) / ANSWERS[0, keypoint, 2 + axis] for axis in (0, 1)]
    log_density = -math.log(2 * math.pi) - sum(float(error) ** 2 for error in errors) / 2
    for axis in (0, 1):
        sigma, error = float(ANSWERS[0, keypoint, 2 + axis]), float(errors[axis])
        base = math.log(2 * sigma) + abs(error)
        if loss.base == "gaussian":
            base = math.log(sigma * math.sqrt(2 * math.pi)) + error**2 / 2
        total += math.log(sigma) - log_density + base
    return total


def test_the_formula_by_hand(loss):
    assert loss(ANSWERS, TARGET, torch.ones(1, 2, 1)).item() == pytest.approx(by_hand(loss, 0) + by_hand(loss, 1), rel=1e-5)
    twice = (values.repeat(2, 1, 1) for values in (ANSWERS, TARGET, torch.ones(1, 2, 1)))
    assert loss(*twice).item() == pytest.approx(by_hand(loss, 0) + by_hand(loss, 1), rel=1e-5)  # the mean over instances


def test_unlabelled_keypoints_give_no_gradient_to_network_and_flow():
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
        answers = torch.stack([torch.tensor([0.5 + error, 0.5, float(sigma), float(sigma)]) for sigma in sigmas])[:, None]
        losses = [loss(one[None], torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)).item() for one in answers]
        best.append(sigmas[torch.tensor(losses).argmin()].item())
    assert best[0] < best[1] < 0.5


def test_a_sigma_of_zero_gives_a_finite_loss():
    answers = torch.tensor([[[0.5, 0.5, 0.0, 0.0]]])
    assert RLELoss()(answers, torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)).isfinite()


def test_half_precision_outputs_are_compared_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert RLELoss()(ANSWERS.bfloat16(), TARGET, torch.ones(1, 2, 1)).dtype == torch.float32


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`base`.*'cauchy'"):
        RLELoss("cauchy")
    with pytest.raises(ValueError, match=r"\(B, K, 4\).*\(model=rle_50\)"):
        RLELoss()(ANSWERS[..., :2], TARGET, torch.ones(1, 2, 1))


def grid(extent=9.0, steps=121):
    places = torch.linspace(-extent, extent, steps, dtype=torch.float64)
    return torch.cartesian_prod(places, places), (2 * extent / (steps - 1)) ** 2


@pytest.fixture
def bent():
    """Return a flow with random weights."""
    torch.manual_seed(0)
    flow = RealNVP().double()
    for module in flow.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return flow


def test_the_initial_density_is_the_gaussian():
    points = torch.randn(100, 2)
    gaussian = -0.5 * points.square().sum(-1) - math.log(2 * math.pi)
    torch.testing.assert_close(RealNVP().log_density(points), gaussian, atol=1e-3, rtol=1e-3)


def test_a_trained_density_integrates_to_one(bent):
    points, cell = grid()
    with torch.no_grad():
        density = bent.log_density(points).exp()
    gaussian = (-0.5 * points.square().sum(-1)).exp() / (2 * math.pi)
    assert (density - gaussian).abs().max() > 0.01
    assert density.sum().item() * cell == pytest.approx(1, abs=1e-3)


def test_every_parameter_has_a_gradient(bent):
    bent.log_density(torch.randn(50, 2, dtype=torch.float64)).mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in bent.parameters())


def test_the_density_is_float32_under_autocast():
    flow, points = RealNVP(), torch.randn(3, 4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = flow.log_density(points)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, flow.log_density(points))
