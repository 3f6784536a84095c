"""The figures of docs/networks.md are those of the networks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from hrpose.config import build, compose
from hrpose.models import count_macs, count_parameters

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split("|")]
    for line in (ROOT / "docs" / "networks.md").read_text().splitlines()
    if "`model=" in line and line.startswith("| ")
]
FAMILIES = [re.split(r"[-, ]", row[0])[0] for row in ROWS]
LARGER = [row for number, row in enumerate(ROWS) if FAMILIES[number] in FAMILIES[:number]]  # the first of a family is quick
OF_OTHERS = {"Hourglass, 8 stacks": 0.03}  # the code that the HRNet paper counted is not known


def compare(name: str) -> tuple[float, float, int]:
    """Compare a network with the golden numbers, as the script does."""
    spec = importlib.util.spec_from_file_location("compare_networks", ROOT / "scripts" / "compare_networks.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.compare(name)


def test_every_network_of_the_configuration_but_the_smallest_is_on_the_page():
    stated = {re.search(r"model=(\w+)", row[2]).group(1) for row in ROWS}
    there = {file.stem for file in (ROOT / "conf" / "model").glob("*.yaml")}
    published = {name for name in there if name.startswith(("hrnet_w", "simple_baseline_1", "hourglass"))}
    assert published - stated <= {"simple_baseline_18"}
    assert stated <= there


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=pytest.mark.slow if row in LARGER else ()) for row in ROWS],
    ids=lambda row: f"{row[0]} {row[1]}",
)
def test_parameters_and_work_are_counted_again(row):
    title, size, words, parameters, published, work, published_work, by = row
    cfg = compose("fit", words.strip("`").split())
    with torch.device("meta"):
        net = build(cfg.model, num_keypoints=16 if "16 keypoints" in title else 17)
    width, height = cfg.codec.input_size
    macs = count_macs(net, (width, height))
    assert size == f"{height}x{width}"
    assert parameters == f"{count_parameters(net):,}"
    assert work == f"{macs / 2**30:.2f}"
    if published != "-":
        assert count_parameters(net) / 1e6 == pytest.approx(float(published.split()[0]), rel=OF_OTHERS.get(title, 0.002))
    if published_work != "-" and not (title in OF_OTHERS and by.startswith("HRNet paper")):
        counted = macs + 3 * deconvolution_macs(net, (width, height))  # as the authors' counter takes them
        assert counted / 2**30 == pytest.approx(float(published_work), rel=0.015, abs=0.06)


def deconvolution_macs(net: torch.nn.Module, input_size: tuple[int, int]) -> int:
    """Count the work of transposed convolutions, which begin at 1/32 of the input and double it."""
    layers = [layer for layer in net.modules() if isinstance(layer, torch.nn.ConvTranspose2d)]
    cells = input_size[0] * input_size[1] // 32**2
    return sum(layer.weight.numel() * cells * 4**step for step, layer in enumerate(layers))


def test_the_difference_from_the_official_network_is_no_larger_than_stated():
    page = (ROOT / "docs" / "networks.md").read_text()
    stated = [float(figure) for figure in re.findall(r"\| (\d\.\de-\d+) \|", page)]
    assert len(stated) == 4
    for name, most in (("hrnet_tiny_w8_k3", stated[0]), ("pose_resnet50_256x192", stated[3])):
        largest, height, _ = compare(name)
        assert largest <= 5 * most  # another processor adds in another order
        assert height > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), [("hrnet_w32_256x192", 1), ("hrnet_w48_384x288", 2)])
def test_the_difference_of_the_large_networks_is_no_larger_than_stated(name, place):
    page = (ROOT / "docs" / "networks.md").read_text()
    stated = [float(figure) for figure in re.findall(r"\| (\d\.\de-\d+) \|", page)]
    assert compare(name)[0] <= 5 * stated[place]
