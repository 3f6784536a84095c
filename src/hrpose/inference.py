"""The one way from images to poses: network, flip test, codec, photo coordinates, instance score.

Validation, test, prediction and the estimator all come through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hrpose.codecs.base import Codec
from hrpose.geometry import transform_points
from hrpose.structures import Poses, rescore


class NonFinitePosesError(ValueError):
    """A network gives NaN or infinity."""


def predict_heatmaps(
    net: nn.Module, images: Tensor, codec: Codec, *, flip_test: bool, flip_permutation: Sequence[int]
) -> Tensor:
    """Run the network, with a flip test if asked: the mean of the heatmaps for the images and for their mirror images.

    Coordinates and bins of networks that put out those are averaged alike.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, K, h, w), or whatever else the codec reads; in eval mode.
        images: (B, 3, H, W) normalised RGB.
        codec: knows how the outputs for mirrored images turn back.
        flip_test: whether to look at the mirrored images too.
        flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

    Returns:
        (B, K, h, w) float32 heatmaps, or those other outputs; float32 also under autocast.
    """
    heatmaps: Tensor = net(images).float()
    if not flip_test:
        return heatmaps
    mirrored: Tensor = net(images.flip(-1)).float()
    return (heatmaps + codec.flip_back(mirrored, flip_permutation)) * 0.5


@torch.inference_mode()
def estimate_poses(
    net: nn.Module,
    codec: Codec,
    batch: Mapping[str, Any],
    *,
    flip_test: bool,
    flip_permutation: Sequence[int],
    score_threshold: float = 0.2,
) -> Poses:
    """Estimate the poses of a batch of crops, in pixels of their photos.

    Only three numbers per keypoint leave the device.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, K, h, w), or whatever else the codec reads; in eval mode.
        codec: reads what the network puts out.
        batch: images (B, 3, H, W), image_from_input (B, 2, 3), center (B, 2), scale (B, 2), bbox_scores (B,),
            image_ids (B,) and instance_ids (B,), as `structures.Batch` describes them.
        flip_test: whether to look at the mirrored images too.
        flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.
        score_threshold: keypoints with a score above it make up the instance score.

    Returns:
        The poses, in the order of the batch.

    Raises:
        NonFinitePosesError: if the network gives NaN or infinity.
    """
    heatmaps = predict_heatmaps(net, batch["images"], codec, flip_test=flip_test, flip_permutation=flip_permutation)
    keypoints, keypoint_scores = codec.decode(heatmaps)
    found = torch.cat([keypoints, keypoint_scores[..., None]], dim=-1).cpu().numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # `collect_poses` refuses what is not finite
        placed = transform_points(found[..., :2], _numpy(batch["image_from_input"]))
    return collect_poses(placed, found[..., 2], batch, score_threshold=score_threshold)


def collect_poses(
    keypoints: NDArray[np.float64],
    keypoint_scores: NDArray[np.float32],
    batch: Mapping[str, Any],
    *,
    score_threshold: float = 0.2,
) -> Poses:
    """Put keypoints that were found in a batch of crops together with what is known of the crops.

    Args:
        keypoints: (B, K, 2) in photo pixels.
        keypoint_scores: (B, K).
        batch: center, scale, bbox_scores, image_ids and instance_ids as `estimate_poses` takes them.
        score_threshold: keypoints with a score above it make up the instance score.

    Raises:
        NonFinitePosesError: if a keypoint or a score is NaN or infinite.
    """
    check_finite(keypoints, keypoint_scores)
    bbox_scores = _numpy(batch["bbox_scores"]).astype(np.float64)
    return Poses(
        keypoints=keypoints,
        keypoint_scores=keypoint_scores,
        scores=rescore(bbox_scores, keypoint_scores, threshold=score_threshold),
        bbox_scores=bbox_scores,
        center=_numpy(batch["center"]).astype(np.float64),
        scale=_numpy(batch["scale"]).astype(np.float64),
        image_ids=_numpy(batch["image_ids"]).astype(np.int64),
        instance_ids=_numpy(batch["instance_ids"]).astype(np.int64),
    )


def check_finite(keypoints: NDArray[np.floating[Any]], keypoint_scores: NDArray[np.floating[Any]]) -> None:
    """Refuse keypoints (B, K, 2) and scores (B, K) that are NaN or infinite.

    Raises:
        NonFinitePosesError: with the number of crops.
    """
    finite = np.isfinite(keypoints).all(axis=(1, 2)) & np.isfinite(keypoint_scores).all(axis=1)
    if not finite.all():
        raise NonFinitePosesError(
            f"Expected finite keypoints and scores of the network, found NaN or infinity in {(~finite).sum()} of {len(finite)} "
            "crops. If it computes in half precision, it may overflow: set precision=32. If it was just trained, the training "
            "has diverged: look at train/loss and start again with a smaller optim.lr or trainer.gradient_clip_val=1. Otherwise "
            "the weights are damaged: take an earlier checkpoint."
        )


def _numpy(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
