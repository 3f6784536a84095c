"""Losses between heatmaps.

Legend: B batch, S stacks, K keypoints, h w heatmap.
"""

from typing import get_args

import torch
from torch import Tensor, nn

from hrpose.geometry import Rules


def keypoint_errors(heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
    """Compute half the weighted mean squared error of each heatmap: (B, K).

    The weight multiplies heatmap and target alike, as in the official code, so it enters squared. Heatmaps of lower precision are
    compared in float32. Those of several stacks (intermediate supervision: Newell et al., ECCV 2016) are all compared with the
    one target, and their errors summed.

    Args:
        heatmaps: (B, K, h, w) network outputs, or (B, S, K, h, w) of S stacks.
        target: (B, K, h, w).
        target_weight: (B, K, 1); 0 leaves a keypoint out of the sum.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    if heatmaps.ndim == 5:
        stacks = [keypoint_errors(each, target, target_weight) for each in heatmaps.unbind(1)]
        return torch.stack(stacks).sum(dim=0)
    if heatmaps.ndim != 4 or heatmaps.shape != target.shape or target_weight.shape != (*target.shape[:2], 1):
        raise ValueError(
            "Expected arguments `heatmaps`, `target` and `target_weight` to be (B, K, h, w), (B, K, h, w) and (B, K, 1), but got "
            f"the shapes {tuple(heatmaps.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. Heatmaps and targets "
            "of other sizes come from a codec whose heatmap_size is not the network's; a codec with three channels for each "
            "keypoint (udp_offset_*) takes loss=offset."
        )
    exact = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    return 0.5 * target_weight[..., 0].square() * (exact - target).square().mean(dim=(2, 3))


class HeatmapMSELoss(nn.Module):
    """Half the mean squared error over all heatmaps, keypoints of weight 0 included (Xiao et al., ECCV 2018).

    By MMPose's rules it is the whole mean, and weights enter once instead of squared: with weights of 0 and 1 twice as much.

    Args:
        rules: "official" or "mmpose".

    Raises:
        ValueError: if there are no such rules.

    Example:
        >>> loss = HeatmapMSELoss()
        >>> float(loss(torch.ones(2, 3, 8, 6), torch.zeros(2, 3, 8, 6), torch.ones(2, 3, 1)))
        0.5
    """

    def __init__(self, rules: Rules = "official") -> None:
        super().__init__()
        if rules not in get_args(Rules):
            raise ValueError(f"Expected argument `rules` to be one of {', '.join(get_args(Rules))}, but got {rules!r}.")
        self.rules = rules

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compare heatmaps (B, K, h, w) or (B, S, K, h, w) with a target (B, K, h, w) under weights (B, K, 1); return a scalar.

        The losses of several stacks are summed.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        if self.rules == "mmpose":
            return 2 * keypoint_errors(heatmaps, target, target_weight.sqrt()).mean()
        return keypoint_errors(heatmaps, target, target_weight).mean()


class HeatmapOHKMLoss(nn.Module):
    """The same error, averaged over the hardest keypoints of each person (online hard keypoint mining).

    Chen et al., "Cascaded Pyramid Network for Multi-Person Pose Estimation", CVPR 2018.

    Args:
        top_k: number of keypoints of each person that count.

    Raises:
        ValueError: if `top_k` is below 1.
    """

    def __init__(self, top_k: int = 8) -> None:
        super().__init__()
        if top_k < 1:
            raise ValueError(f"Expected argument `top_k` to be at least 1, but got {top_k}.")
        self.top_k = top_k

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compare heatmaps (B, K, h, w) or (B, S, K, h, w) with a target (B, K, h, w) under weights (B, K, 1); return a scalar.

        The errors of several stacks are summed for each keypoint before the hardest are chosen.

        Raises:
            ValueError: if there are fewer than `top_k` keypoints, or the shapes do not belong together.
        """
        errors = keypoint_errors(heatmaps, target, target_weight)
        if errors.shape[1] < self.top_k:
            raise ValueError(
                f"Expected at least top_k = {self.top_k} keypoints, but got {errors.shape[1]}. Set loss.top_k to at most that."
            )
        return errors.topk(self.top_k, dim=1).values.mean()


class HeatmapOffsetMSELoss(nn.Module):
    """Half the mean squared errors of UDP's three channels: the disks, and the offsets on the cells of the disks.

    The weights enter the disks' error squared, as in `HeatmapMSELoss`. Unlabelled keypoints have no disk, so no offsets count.
    Huang et al., "The Devil is in the Details", CVPR 2020; equal to the sum of the official code's two losses.

    Example:
        >>> loss = HeatmapOffsetMSELoss()
        >>> float(loss(torch.ones(2, 9, 8, 6), torch.zeros(2, 9, 8, 6), torch.ones(2, 3, 1)))
        0.5
    """

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compare heatmaps (B, 3K, h, w) or (B, S, 3K, h, w) with a target (B, 3K, h, w) under weights (B, K, 1): a scalar.

        The losses of several stacks are summed.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        if heatmaps.shape[-3:] != target.shape[1:] or target_weight.shape != (len(target), target.shape[1] / 3, 1):
            raise ValueError(
                "Expected arguments `heatmaps`, `target` and `target_weight` to be (B, 3K, h, w), (B, 3K, h, w) and (B, K, 1), "
                f"but got the shapes {tuple(heatmaps.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. The loss "
                "`offset` belongs to a codec with three channels for each keypoint, codec=udp_offset."
            )
        answers, truths = ([maps[..., channel::3, :, :] for channel in range(3)] for maps in (heatmaps, target))
        disk = truths[0]
        mask = disk if heatmaps.ndim == 4 else disk[:, None]
        full = torch.ones_like(target_weight)
        errors = [keypoint_errors(answers[0], disk, target_weight)]
        errors += [keypoint_errors(mask * answers[axis], disk * truths[axis], full) for axis in (1, 2)]
        return torch.stack(errors).sum(dim=0).mean()
