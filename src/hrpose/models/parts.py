"""The two parts of a network in fine-tuning: the head, which depends on the keypoints, and the backbone, which is all else."""

from __future__ import annotations

from torch import nn


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
