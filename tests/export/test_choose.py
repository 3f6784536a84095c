"""The choice of an engine: the fastest of those that find the same keypoints."""

from __future__ import annotations

import logging
import time

import pytest
import torch
from tiny_export import CODECS, make_net
from torch import nn

import hrpose.export.choose as room
from hrpose.export.choose import choose_backend, compare_engines, draw_images, time_engines


class Late(nn.Module):
    """A network that takes its time, and may be wrong."""

    def __init__(self, net: nn.Module, seconds: float, fault: float = 0.0) -> None:
        super().__init__()
        self.net, self.seconds, self.fault = net, seconds, fault

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        heatmaps = self.net(images)
        return heatmaps.roll(3, dims=-1) if self.fault else heatmaps


@pytest.fixture
def engines(monkeypatch):
    """Let the backends be these."""
    net = make_net(CODECS["dark"])
    made = {
        "torch": Late(net, 0.03),
        "frozen": Late(net, 0.01),
        "openvino": Late(net, 0.0, fault=1.0),
        "bf16": Late(net, 0.0),
    }
    monkeypatch.setattr(room, "installed_backends", lambda: tuple(made))
    monkeypatch.setattr(room, "accelerate", lambda net, size, name: made[name])
    return made


def test_the_fastest_exact_engine_is_taken_and_said(engines, caplog):
    with caplog.at_level(logging.INFO):
        chosen = choose_backend(engines["torch"], CODECS["dark"], repeats=2)
    assert chosen is engines["frozen"]  # openvino is faster and wrong, bf16 was not asked for
    assert "backend: frozen is taken" in caplog.text
    assert "backend openvino is left out: keypoints differ by up to" in caplog.text


def test_half_precision_is_taken_where_it_is_asked_for(engines):
    assert choose_backend(engines["torch"], CODECS["dark"], half=True, repeats=2) is engines["bf16"]


def test_an_engine_that_moves_keypoints_is_not_exact():
    net = make_net(CODECS["dark"])
    images = draw_images((48, 64), 4)
    assert compare_engines(net, net, CODECS["dark"], images).heatmaps == 0
    moved = compare_engines(Late(net, 0, fault=1.0), net, CODECS["dark"], images)
    assert not moved.is_exact
    assert moved.median > 1


def test_every_engine_has_as_many_turns():
    turns = []
    seconds = time_engines({"a": nn.Identity(), "b": nn.Identity()}, torch.zeros(1), repeats=2, on_turn=turns.append)
    assert turns == ["a", "b"] * 2
    assert set(seconds) == {"a", "b"}
    assert all(value < float("inf") for value in seconds.values())
