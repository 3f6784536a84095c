"""The sizes on which codec and network have to agree, looked at before a run begins."""

from typing import Any

from torch import nn

from hrpose.config import ConfigError
from hrpose.models import find_heatmap_size


def check_heatmap_size(net: nn.Module, codec: Any) -> None:
    """Raise unless the codec's heatmaps are those that the network puts out.

    Nothing is computed: the network runs on shapes alone. What is no heatmap, or has no size in the codec, is not looked at.

    Args:
        net: a network that takes images (B, 3, H, W).
        codec: with the `input_size` and `heatmap_size` of the configuration.

    Raises:
        ConfigError: naming both sizes and the keys that mend them.
    """
    wanted = getattr(codec, "heatmap_size", None)
    if wanted is None:
        return
    found = find_heatmap_size(net, codec.input_size)
    if found is not None and found != tuple(wanted):
        branch = "model.heatmap_branch, the branch that they are made from, " if hasattr(net, "heatmap_branch") else ""
        raise ConfigError(
            f"codec.heatmap_size: expected {list(found)}, the size of the heatmaps that model ({type(net).__name__}) puts "
            f"out for codec.input_size={list(codec.input_size)}, but got {list(wanted)}. Set codec.heatmap_size="
            f"[{found[0]},{found[1]}], or change {branch}model or codec."
        )
