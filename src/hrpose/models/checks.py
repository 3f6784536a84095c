"""What the networks require of their arguments, their images and their backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


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
