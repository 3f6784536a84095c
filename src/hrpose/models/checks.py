"""Parts of all networks: checks, initialisation, compilation, backbone and head, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hrpose.errors import check_counts

NUM_IMAGES = 2  # in training, a batch norm refuses a single value


def check_final_kernel(final_kernel: int) -> None:
    """Raise ValueError unless the kernel size of a head is a positive odd number."""
    check_counts(final_kernel=final_kernel)
    if final_kernel % 2 == 0:
        raise ValueError(f"Expected argument `final_kernel` to be odd (1 in the paper, or 3), but got {final_kernel}.")


def check_images(images: Tensor, multiple: int, *, least: int = 1, heatmap_stride: int = 4) -> None:
    """Raise ValueError unless a network accepts the images; nothing is checked while a graph is traced.

    Args:
        images: (B, 3, H, W).
        multiple: H and W must be multiples of this stride of the coarsest features.
        least: the smallest H and W.
        heatmap_stride: input pixels per heatmap cell, for the message.
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
            f"Expected images of width and height in multiples of {multiple}{bound}, but got {width} x {height} (width x "
            f"height). The nearest size is {near[0]} x {near[1]}: set the codec's input_size to ({near[0]}, {near[1]}) and its "
            f"heatmap_size to ({near[0] // heatmap_stride}, {near[1] // heatmap_stride})."
        )


class Backbone(Protocol):
    """A network with features for a head: `HRNet` or `SimpleBaseline` with `num_keypoints=None`.

    Its own heatmap head would get no gradients, which training in several processes refuses.
    """

    @property
    def feature_channels(self) -> Sequence[int]:
        """Channels of the maps of `forward_features`."""
        ...

    @property
    def feature_strides(self) -> Sequence[int]:
        """Input pixels per cell of each map."""
        ...

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to feature maps (B, C, H / stride, W / stride), finest first."""
        ...


def check_backbone(backbone: nn.Module) -> None:
    """Raise ValueError unless a network returns features and has no heatmap head."""
    if not all(hasattr(backbone, name) for name in ("feature_channels", "feature_strides", "forward_features")):
        raise ValueError(
            "Expected argument `backbone` to have `feature_channels`, `feature_strides` and `forward_features`, as HRNet and "
            f"SimpleBaseline do, but got {type(backbone).__name__}."
        )
    if any(True for _ in getattr(backbone, "final_layer", nn.Identity()).parameters()):
        raise ValueError(
            "Expected argument `backbone` to have no heatmap head, because no loss would train it, but got a "
            f"{type(backbone).__name__} with one. Build it with num_keypoints=None."
        )


def initialise(net: nn.Module) -> None:
    """Initialise the weights of all convolutions from N(0, 0.001) and their biases with 0, as in the papers."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def compile_network(net: nn.Module) -> None:
    """Compile a network in place with torch.compile, anew for each size of its images.

    Modules with an attribute `compiles_alone` are compiled one by one, and equal ones share the code: HRNet needs 9 graphs of a
    few layers instead of one of 300, which takes minutes. A network without such modules is compiled as a whole.
    """
    for module in [module for module in net.modules() if getattr(module, "compiles_alone", False)] or [net]:
        module.compile(dynamic=False)


def count_parameters(net: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, input_size: Sequence[int]) -> int:
    """Count the multiply-adds of convolutions and linear layers for one image of `input_size` (width, height).

    The papers' "GFLOPs" are this number / 2**30. Transposed convolutions count once per input cell and weight; the official
    counter multiplies by the output cells, four times too much at stride 2.
    """
    macs = 0

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal macs
        weight = layer.weight
        assert isinstance(weight, Tensor)
        cells = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs += cells.numel() * weight[0].numel()

    run_on_shapes(net, input_size, layers=(nn.Conv2d, nn.ConvTranspose2d, nn.Linear), hook=add)
    return macs // NUM_IMAGES


def find_heatmap_size(net: nn.Module, input_size: Sequence[int]) -> tuple[int, int] | None:
    """Return the (width, height) of the heatmaps for images of `input_size`; None for outputs that are no heatmaps."""
    return heatmap_size_of(run_on_shapes(net, input_size))


def heatmap_size_of(output: object) -> tuple[int, int] | None:
    """Return the (width, height) of heatmaps (B, K, h, w) or (B, S, K, h, w); None for other outputs."""
    if not isinstance(output, Tensor) or output.ndim < 4:
        return None
    return output.shape[-1], output.shape[-2]


def refuses_one_image(net: nn.Module, input_size: Sequence[int]) -> bool:
    """Check whether some batch norm gets a single value per channel from one image, which torch refuses in training."""
    single: list[bool] = []

    def check(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        single.append(inputs[0].numel() == inputs[0].shape[1] * NUM_IMAGES)

    run_on_shapes(net, input_size, layers=(nn.BatchNorm1d, nn.BatchNorm2d), hook=check)
    return any(single)


def run_on_shapes(
    net: nn.Module,
    input_size: Sequence[int],
    *,
    layers: tuple[type[nn.Module], ...] = (),
    hook: Callable[[nn.Module, tuple[Any, ...], Tensor], None] | None = None,
) -> Any:
    """Run a network on `NUM_IMAGES` images (width, height) of the meta device, and return its output.

    Only shapes are computed, and no weight or statistic changes. The hook receives each layer of the classes `layers`, its inputs
    and its output.
    """
    width, height = input_size
    images = torch.empty(NUM_IMAGES, 3, height, width, device="meta")
    shapes = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    norms = [layer for layer in net.modules() if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d)]
    for layer in norms:  # skipped: they change no shape, and take torch longer than everything else
        layer.forward = partial(_skip_norm, layer.num_features)
    hooks = [layer.register_forward_hook(hook) for layer in net.modules() if hook and isinstance(layer, layers)]
    try:
        with torch.no_grad():
            return functional_call(net, shapes, (images,))
    finally:
        for layer in norms:
            del layer.forward
        for handle in hooks:
            handle.remove()


def _skip_norm(num_features: object, features: Tensor) -> Tensor:
    if features.shape[1] != num_features:
        raise RuntimeError(f"expected {num_features} channels for a batch norm, but got {features.shape[1]}")
    return features


def split_modules(net: nn.Module) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Split the direct submodules of a network, by name, into its backbone and its head, which `head_modules` lists.

    Raises:
        ValueError: if the class lists no head, or one without parameters.
    """
    names = getattr(net, "head_modules", ())
    head = {name: module for name, module in net.named_children() if name in names}
    if not any(True for module in head.values() for _ in module.parameters()):
        raise ValueError(
            "Expected a network with a class attribute `head_modules`, the names of the submodules of its head, but "
            f'{type(net).__name__} has {tuple(names) or "none"}. Define it, for example head_modules = ("final_layer",).'
        )
    return {name: module for name, module in net.named_children() if name not in names}, head


def split_parameters(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the parameters into those of the head (see `split_modules`) and all others, the backbone, which come first."""
    of_head = [parameter for module in split_modules(net)[1].values() for parameter in module.parameters()]
    known = set(map(id, of_head))
    return [parameter for parameter in net.parameters() if id(parameter) not in known], of_head
