import math

import pytest
import torch
from torch import nn

from hrpose.losses.flow import RealNVP


def grid(extent=9.0, steps=121):
    places = torch.linspace(-extent, extent, steps, dtype=torch.float64)
    return torch.cartesian_prod(places, places), (2 * extent / (steps - 1)) ** 2


@pytest.fixture
def bent():
    """A flow that has learnt something."""
    torch.manual_seed(0)
    flow = RealNVP().double()
    for module in flow.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return flow


def test_it_begins_as_the_gaussian():
    points = torch.randn(100, 2)
    gaussian = -0.5 * points.square().sum(-1) - math.log(2 * math.pi)
    torch.testing.assert_close(RealNVP().log_density(points), gaussian, atol=1e-3, rtol=1e-3)


def test_a_density_sums_to_one_whatever_it_has_learnt(bent):
    points, cell = grid()
    with torch.no_grad():
        density = bent.log_density(points).exp()
    gaussian = (-0.5 * points.square().sum(-1)).exp() / (2 * math.pi)
    assert (density - gaussian).abs().max() > 0.01
    assert density.sum().item() * cell == pytest.approx(1, abs=1e-3)


def test_every_parameter_learns(bent):
    bent.log_density(torch.randn(50, 2, dtype=torch.float64)).mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in bent.parameters())


def test_autocast_leaves_it_in_single_precision():
    flow, points = RealNVP(), torch.randn(3, 4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = flow.log_density(points)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, flow.log_density(points))
