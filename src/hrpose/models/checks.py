"""Properties of networks: what they require, their backbone and head, and their size as the tables of the papers list it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

NUM_IMAGES = 2  # a batch norm in training refuses a single value


def check_counts(**counts: int) -> None:
    """Raise ValueError unless every argument is a positive whole number."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected argument `{name}` to be a whole number of at least 1, but got {value!r}.")


def check_final_kernel(final_kernel: int) -> None:
    """Raise ValueError unless the side of a head's kernel is a positive odd number."""
    check_counts(final_kernel=final_kernel)
    if final_kernel % 2 == 0:
        raise ValueError(f"Expected argument `final_kernel` to be odd (1 in the paper, or 3), but got {final_kernel}.")


def check_images(images: Tensor, multiple: int, *, least: int = 1, heatmap_stride: int = 4) -> None:
    """Raise ValueError unless a network can take the images; nothing is checked while a graph is traced.

    Args:
        images: (B, 3, H, W).
        multiple: H and W must be multiples of it: the stride of the network's coarsest features.
        least: the shortest H and W of the network.
        heatmap_stride: pixels to a heatmap cell, for the message.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"Expected argument `images` to be (B, 3, H, W), but got the shape {tuple(images.shape)}.")
    height, width = images.shape[2:]
    if height % multiple or width % multiple or min(height, width) < least:
        near = [max(-(-least // multiple), 1, round(side / multiple)) * multiple for side in (width, height)]
        bound = f" of at least {least}" if least > multiple else ""
        raise ValueError(
            f"Expected images whose width and height are multiples of {multiple}{bound}, but got {width} x {height} (width x "
            f"height). The nearest size is {near[0]} x {near[1]}: set the codec's input_size to ({near[0]}, {near[1]}) and its "
            f"heatmap_size to ({near[0] // heatmap_stride}, {near[1] // heatmap_stride})."
        )


class Backbone(Protocol):
    """A network whose features a head can take: `HRNet` or `SimpleBaseline`, best with `num_keypoints=None`.

    A heatmap head of its own would stay unused, and training in several processes refuses weights without gradients.
    """

    @property
    def feature_channels(self) -> Sequence[int]:
        """Channels of the maps of `forward_features`."""
        ...

    @property
    def feature_strides(self) -> Sequence[int]:
        """Input pixels to a cell of each map."""
        ...

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to feature maps (B, C, H / stride, W / stride), finest first."""
        ...


def check_backbone(backbone: nn.Module) -> None:
    """Raise ValueError unless a network gives features, and has no heatmap head of its own."""
    if not all(hasattr(backbone, name) for name in ("feature_channels", "feature_strides", "forward_features")):
        raise ValueError(
            "Expected argument `backbone` to give features (HRNet or SimpleBaseline, or a network with `feature_channels`, "
            f"`feature_strides` and `forward_features`), but got {type(backbone).__name__}."
        )
    if any(True for _ in getattr(backbone, "final_layer", nn.Identity()).parameters()):
        raise ValueError(
            f"Expected argument `backbone` to have no heatmap head, because nothing would teach it, but got a "
            f"{type(backbone).__name__} with one. Build it with num_keypoints=None."
        )


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
        layer.forward = partial(_pass_over, layer.num_features)
    try:
        with torch.no_grad():
            return functional_call(net, shapes, (images,))
    finally:
        for layer in norms:
            del layer.forward


def _pass_over(num_features: object, features: Tensor) -> Tensor:
    if features.shape[1] != num_features:
        raise RuntimeError(f"expected {num_features} channels for a batch norm, but got {features.shape[1]}")
    return features


def split_modules(net: nn.Module) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Divide the direct submodules of a network into its backbone and its head.

    Args:
        net: a network whose class names the submodules of its head in `head_modules`.

    Returns:
        Backbone and head, by name.

    Raises:
        ValueError: if the class names no head, or one without parameters.
    """
    names = getattr(net, "head_modules", ())
    head = {name: module for name, module in net.named_children() if name in names}
    if not any(True for module in head.values() for _ in module.parameters()):
        raise ValueError(
            f"Expected a network whose `head_modules` name the parts with the weights of its head, but {type(net).__name__} has "
            f'{tuple(names) or "none"}. Define it in the class: head_modules = ("final_layer",).'
        )
    return {name: module for name, module in net.named_children() if name not in names}, head


def split_parameters(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Divide the parameters of a network into those of its backbone and of its head; see `split_modules`.

    Parameters that are in no submodule count for the backbone.
    """
    of_head = [parameter for module in split_modules(net)[1].values() for parameter in module.parameters()]
    known = set(map(id, of_head))
    return [parameter for parameter in net.parameters() if id(parameter) not in known], of_head
