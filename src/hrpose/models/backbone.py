"""What a head that is no heatmap head asks of the network under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn


class Backbone(Protocol):
    """A network whose features a head can take: `HRNet` or `SimpleBaseline`, best with `num_keypoints=None`.

    A heatmap head of its own would stay unused, and several processes that train together refuse weights without gradients.
    """

    @property
    def feature_channels(self) -> Sequence[int]:
        """Channels of the maps that `forward_features` gives."""
        ...

    @property
    def feature_strides(self) -> Sequence[int]:
        """Input pixels to a cell of each map."""
        ...

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to feature maps (B, C, H / stride, W / stride), finest first."""
        ...


def check_backbone(backbone: nn.Module) -> None:
    """Raise unless a network gives features, and has no heatmap head of its own.

    Raises:
        ValueError: if it gives none, or has a head.
    """
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
