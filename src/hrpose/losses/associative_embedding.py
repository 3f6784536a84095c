"""The loss of HigherHRNet: masked heatmaps at each resolution, and tags that agree within instances and differ between them.

Newell, Huang, Deng, "Associative Embedding", NIPS 2017; Cheng et al., "HigherHRNet", CVPR 2020. The reductions are those of the
official code of HigherHRNet.

Legend: B batch, N instances, K keypoints, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from hrpose.errors import check_choice

PushType: TypeAlias = Literal["exp", "max"]
"""The push loss of two instances at tag distance d: exp(-d^2), or max(1 - d, 0)."""


def masked_error(heatmaps: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean over all cells of the squared error, 0 where the mask (B, h, w) is 0 or False: (B,)."""
    return ((heatmaps.float() - target).square() * mask[:, None]).mean(dim=(1, 2, 3))


def tag_errors(tags: Tensor, listed: Tensor, push_type: PushType = "exp") -> tuple[Tensor, Tensor]:
    """Compute the push loss (B,) between instances and the pull loss (B,) within instances.

    Push is half the mean over all pairs of instances of `push_type` at the distance d of their mean tags, 0 for fewer than two
    instances; pull is the mean over instances of the variance of their tags, 0 without instances. `listed` (B, N, K) says which
    of the tags (B, N, K) exist; instances without any do not count.
    """
    number = listed.sum(dim=2)
    there = number > 0
    tags = torch.where(listed, tags, 0.0)
    means = tags.sum(dim=2) / number.clamp(min=1)
    variances = torch.where(listed, tags - means[..., None], 0.0).square().sum(dim=2) / number.clamp(min=1)
    count = there.sum(dim=1)
    pull = variances.sum(dim=1) / count.clamp(min=1)
    difference = means[:, :, None] - means[:, None, :]
    closeness = torch.exp(-difference.square()) if push_type == "exp" else (1 - difference.abs()).clamp(min=0)
    others = there[:, :, None] & there[:, None, :] & ~torch.eye(tags.shape[1], dtype=torch.bool, device=tags.device)
    push = 0.5 * torch.where(others, closeness, 0.0).sum(dim=(1, 2)) / (count * (count - 1)).clamp(min=1)
    return push, pull


class AssociativeEmbeddingLoss(nn.Module):
    """Mean masked error of the heatmaps of every output, plus push and pull losses of the tags of the first.

    Args:
        push_factor: weight of the push loss.
        pull_factor: weight of the pull loss.
        push_type: the push loss of a pair of instances; "exp" in the official configurations.
    """

    def __init__(self, push_factor: float = 1e-3, pull_factor: float = 1e-3, push_type: PushType = "exp") -> None:
        super().__init__()
        check_choice("push_type", push_type, get_args(PushType))
        self.push_factor, self.pull_factor, self.push_type = push_factor, pull_factor, push_type

    def forward(
        self, outputs: Sequence[Tensor], target: tuple[Sequence[Tensor], Tensor], target_weight: Sequence[Tensor]
    ) -> Tensor:
        """Compute the loss, a scalar, of network outputs and targets of `AssociativeEmbedding.encode`.

        Args:
            outputs: K heatmaps and K tag maps (B, 2K, h, w), then K heatmaps (B, K, 2h, 2w) for each further output.
            target: heatmaps of each output, and the indices of the tags (B, N, K), -1 for none.
            target_weight: masks (B, h, w) of each output.
        """
        heatmaps, places = target
        num_keypoints = places.shape[2]
        _check_outputs(outputs, heatmaps)
        total = torch.stack(
            [
                masked_error(output[:, :num_keypoints], truth, mask)
                for output, truth, mask in zip(outputs, heatmaps, target_weight, strict=True)
            ]
        ).sum(dim=0)
        maps = outputs[0][:, num_keypoints:].float().flatten(1)
        tags = maps.gather(1, places.clamp(min=0).flatten(1)).view(places.shape)
        push, pull = tag_errors(tags, places >= 0, self.push_type)
        return (total + self.push_factor * push + self.pull_factor * pull).mean()


def _check_outputs(outputs: Sequence[Tensor], heatmaps: Sequence[Tensor]) -> None:
    """Raise ValueError unless the outputs of a network have the shapes of the targets, and the first twice the channels."""
    found = [tuple(output.shape) for output in outputs]
    expected = [
        (count, channels * (1 if place else 2), height, width)
        for place, (count, channels, height, width) in enumerate(truth.shape for truth in heatmaps)
    ]
    if found != expected:
        raise ValueError(
            f"Expected argument `outputs` to be heatmaps with tags, then heatmaps, of the shapes {expected}, but got {found}. "
            "The loss requires a network that outputs a list, such as HigherHRNet; codec.strides has its strides."
        )
