"""Engines in a network's place: they give its heatmaps, for any number of images, and leave it as it was."""

from __future__ import annotations

import pytest
import torch
from tiny_export import CODECS, make_net

from hrpose.export.accelerate import EXACT, HALF, accelerate, installed_backends

QUICK = {"channels_last", "frozen", "openvino", "bf16", "openvino_bf16"}


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in (*EXACT, *HALF)]
)
def test_an_engine_gives_the_heatmaps_of_the_network(backend):
    if backend not in installed_backends():
        pytest.skip(f"{backend} is not installed")
    net = make_net(CODECS["heatmap"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    engine = accelerate(net, (48, 64), backend)
    tolerance = 0.03 if backend in HALF else 1e-5
    for count in (1, 3):
        images = torch.randn(count, 3, 64, 48)
        expected = net(images).detach()
        heatmaps = engine(images)
        assert heatmaps.dtype == torch.float32
        torch.testing.assert_close(heatmaps, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_torch_is_the_network_itself():
    net = make_net(CODECS["heatmap"])
    assert accelerate(net, (48, 64), "torch") is net
    assert installed_backends()[0] == "torch"


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"one of torch, channels_last, .* but got 'tensorrt'"):
        accelerate(make_net(CODECS["heatmap"]), (48, 64), "tensorrt")
