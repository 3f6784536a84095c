"""The size and the work of a network, as the tables of the papers list them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

NUM_IMAGES = 2  # a batch norm in training refuses a single value


def count_parameters(net: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, input_size: Sequence[int]) -> int:
    """Count the multiply-adds of the convolutions and linear layers for one image of `input_size` (width, height).

    Nothing is computed: the network runs on shapes alone, and its weights and statistics stay as they are. The papers' "GFLOPs"
    are this number / 2**30. Transposed convolutions count once for each input cell and weight; the official counter multiplies by
    the output cells instead, four times too much at stride 2.
    """
    macs = 0

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal macs
        weight = layer.weight
        assert isinstance(weight, Tensor)
        cells = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs += cells.numel() * weight[0].numel()

    counted = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in counted]
    try:
        run_on_shapes(net, input_size)
    finally:
        for hook in hooks:
            hook.remove()
    return macs // NUM_IMAGES


def find_heatmap_size(net: nn.Module, input_size: Sequence[int]) -> tuple[int, int] | None:
    """Return the (width, height) of the heatmaps of a network for images of `input_size` (width, height), from shapes alone.

    None for a network whose output is neither (B, K, h, w) nor (B, S, K, h, w).
    """
    return heatmap_size_of(run_on_shapes(net, input_size))


def heatmap_size_of(output: object) -> tuple[int, int] | None:
    """Return the (width, height) of heatmaps (B, K, h, w) or (B, S, K, h, w), and None for what has another shape."""
    if not isinstance(output, Tensor) or output.ndim < 4:
        return None
    return output.shape[-1], output.shape[-2]


def refuses_one_image(net: nn.Module, input_size: Sequence[int]) -> bool:
    """Check whether a batch norm of a network in training would see a single value per channel in a batch of one image.

    torch refuses such a batch. It happens where the coarsest features of the network are one cell.
    """
    single: list[bool] = []

    def look(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].numel() // (inputs[0].shape[1] * NUM_IMAGES)  # per channel and image
        single.append(values == 1)

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    hooks = [layer.register_forward_pre_hook(look) for layer in net.modules() if isinstance(layer, kinds)]
    try:
        run_on_shapes(net, input_size)
    finally:
        for hook in hooks:
            hook.remove()
    return any(single)


def run_on_shapes(net: nn.Module, input_size: Sequence[int]) -> Any:
    """Run a network on `NUM_IMAGES` images of the meta device, of `input_size` (width, height), and return its output.

    Nothing is computed; weights and statistics stay as they are. Batch norms, which change no shape, are passed over: torch takes
    longer for them than for all else.
    """
    width, height = input_size
    images = torch.empty(NUM_IMAGES, 3, height, width, device="meta")
    shapes = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    norms = [layer for layer in net.modules() if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d)]
    for layer in norms:
        layer.forward = partial(_pass_over, layer)  # type: ignore[method-assign]
    try:
        with torch.no_grad():
            return functional_call(net, shapes, (images,))
    finally:
        for layer in norms:
            del layer.forward


def _pass_over(layer: nn.BatchNorm1d | nn.BatchNorm2d, features: Tensor) -> Tensor:
    if features.shape[1] != layer.num_features:
        raise RuntimeError(f"expected {layer.num_features} channels for a batch norm, but got {features.shape[1]}")
    return features
