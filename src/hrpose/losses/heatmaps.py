"""Losses of heatmaps. They raise ValueError if the shapes do not match.

Legend: B batch, S stacks, K keypoints, h w heatmap.
"""

from typing import get_args

import torch
from torch import Tensor, nn

from hrpose.errors import check_choice
from hrpose.geometry import Rules


def keypoint_errors(heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
    """Compute half the weighted mean squared error of each heatmap: (B, K).

    The weight multiplies heatmap and target, as in the official code, so the error is weighted by its square. Errors are computed
    in float32 or higher, and those of several stacks (intermediate supervision: Newell et al., ECCV 2016) are summed.

    Args:
        heatmaps: (B, K, h, w) network outputs, or (B, S, K, h, w) of S stacks.
        target: (B, K, h, w).
        target_weight: (B, K, 1); keypoints of weight 0 have the error 0.
    """
    if heatmaps.ndim == 5:
        stacks = [keypoint_errors(each, target, target_weight) for each in heatmaps.unbind(1)]
        return torch.stack(stacks).sum(dim=0)
    if heatmaps.ndim != 4 or heatmaps.shape != target.shape or target_weight.shape != (*target.shape[:2], 1):
        raise ValueError(
            "Expected arguments `heatmaps`, `target` and `target_weight` to be (B, K, h, w), (B, K, h, w) and (B, K, 1), but got "
            f"the shapes {tuple(heatmaps.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. Set the codec's "
            "heatmap_size as the network requires; a codec with three channels per keypoint (udp_offset) requires loss=offset."
        )
    exact = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    return 0.5 * target_weight[..., 0].square() * (exact - target).square().mean(dim=(2, 3))


class HeatmapMSELoss(nn.Module):
    """Half the mean squared error over all heatmaps, keypoints of weight 0 included (Xiao et al., ECCV 2018).

    With the rules of MMPose it is the mean, not half of it, and weights are not squared: twice as much with weights of 0 and 1.

    Args:
        rules: "official" or "mmpose".

    Example:
        >>> loss = HeatmapMSELoss()
        >>> float(loss(torch.ones(2, 3, 8, 6), torch.zeros(2, 3, 8, 6), torch.ones(2, 3, 1)))
        0.5
    """

    def __init__(self, rules: Rules = "official") -> None:
        super().__init__()
        check_choice("rules", rules, get_args(Rules))
        self.rules = rules

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of heatmaps (B, K, h, w) or (B, S, K, h, w), a target (B, K, h, w) and weights."""
        if self.rules == "mmpose":
            return 2 * keypoint_errors(heatmaps, target, target_weight.sqrt()).mean()
        return keypoint_errors(heatmaps, target, target_weight).mean()


class HeatmapOHKMLoss(nn.Module):
    """The same error, averaged over the hardest keypoints of each instance (online hard keypoint mining).

    Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018.

    Args:
        top_k: number of keypoints of each instance that count.

    Raises:
        ValueError: if `top_k` is below 1.
    """

    def __init__(self, top_k: int = 8) -> None:
        super().__init__()
        if top_k < 1:
            raise ValueError(f"Expected argument `top_k` to be at least 1, but got {top_k}.")
        self.top_k = top_k

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of heatmaps (B, K, h, w) or (B, S, K, h, w), a target (B, K, h, w) and weights.

        The errors of stacks are summed for each keypoint before the hardest are selected.

        Raises:
            ValueError: if there are fewer than `top_k` keypoints, or the shapes do not match.
        """
        errors = keypoint_errors(heatmaps, target, target_weight)
        if errors.shape[1] < self.top_k:
            raise ValueError(
                f"Expected at least top_k = {self.top_k} keypoints, but got {errors.shape[1]}. Set loss.top_k to at most that."
            )
        return errors.topk(self.top_k, dim=1).values.mean()


class HeatmapOffsetMSELoss(nn.Module):
    """Half the mean squared errors of UDP's three channels: the disks, and the offsets on the cells of the disks.

    Weights multiply the disks as in `HeatmapMSELoss`. Offsets of unlabelled keypoints do not count, because they have no disk.
    Huang et al., "The Devil is in the Details", CVPR 2020; equal to the sum of the two losses of the official code.

    Example:
        >>> loss = HeatmapOffsetMSELoss()
        >>> float(loss(torch.ones(2, 9, 8, 6), torch.zeros(2, 9, 8, 6), torch.ones(2, 3, 1)))
        0.5
    """

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of heatmaps (B, 3K, h, w) or (B, S, 3K, h, w), a target (B, 3K, h, w) and weights."""
        if heatmaps.shape[-3:] != target.shape[1:] or target_weight.shape != (len(target), target.shape[1] / 3, 1):
            raise ValueError(
                "Expected arguments `heatmaps`, `target` and `target_weight` to be (B, 3K, h, w), (B, 3K, h, w) and (B, K, 1), "
                f"but got the shapes {tuple(heatmaps.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. The loss "
                "`offset` requires a codec with three channels per keypoint, codec=udp_offset."
            )
        outputs, targets = ([maps[..., channel::3, :, :] for channel in range(3)] for maps in (heatmaps, target))
        disk = targets[0]
        mask = disk if heatmaps.ndim == 4 else disk[:, None]
        full = torch.ones_like(target_weight)
        errors = [keypoint_errors(outputs[0], disk, target_weight)]
        errors += [keypoint_errors(mask * outputs[axis], disk * targets[axis], full) for axis in (1, 2)]
        return torch.stack(errors).sum(dim=0).mean()
