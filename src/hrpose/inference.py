"""Images to poses: network, flip test, codec, image coordinates, instance score. All predictions use these functions.

A crop has one instance; with a bottom-up codec, a whole image has any number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hrpose.codecs import AssociativeEmbedding, Codec, is_bottom_up
from hrpose.codecs.grouping import aggregate, enlarge
from hrpose.geometry import transform_points
from hrpose.structures import Poses, rescore

_ADVICE = (
    "In half precision the network may overflow: set precision=32. After training, train/loss shows whether it has diverged: "
    "train again with a smaller optim.lr or trainer.gradient_clip_val=1. Otherwise the weights are damaged: use an earlier "
    "checkpoint."
)
_PADDING = 1.25  # of the boxes around keypoints of instances without boxes


class NonFinitePosesError(ValueError):
    """A network outputs NaN or infinity."""


def predict_heatmaps(net: nn.Module, images: Tensor, codec: Codec, *, flip_test: bool, flip_permutation: Sequence[int]) -> Tensor:
    """Run the network, optionally averaging with the outputs for mirrored images.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, K, h, w), or other outputs of the codec; in eval mode.
        images: (B, 3, H, W) normalised RGB.
        codec: converts the outputs for mirrored images.
        flip_test: whether to average with the outputs for mirrored images.
        flip_permutation: K indices; entry k is the mirrored keypoint of keypoint k.

    Returns:
        (B, K, h, w) float32 heatmaps, or other outputs; float32 also under autocast.
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
    """Estimate the poses of a batch of crops in image pixels; with a bottom-up codec see `estimate_image_poses`.

    Args:
        net: see `predict_heatmaps`.
        codec: decodes the outputs of the network.
        batch: images (B, 3, H, W), image_from_input (B, 2, 3), center (B, 2), scale (B, 2), bbox_scores (B,),
            image_ids (B,) and instance_ids (B,), see `structures.Batch`.
        flip_test: see `predict_heatmaps`.
        flip_permutation: see `predict_heatmaps`.
        score_threshold: the instance score is the mean of keypoint scores above it.

    Returns:
        The poses, in the order of the batch.

    Raises:
        NonFinitePosesError: if the network outputs NaN or infinity.
    """
    if is_bottom_up(codec):
        return estimate_image_poses(net, codec, batch, flip_test=flip_test, flip_permutation=flip_permutation)
    heatmaps = predict_heatmaps(net, batch["images"], codec, flip_test=flip_test, flip_permutation=flip_permutation)
    keypoints, keypoint_scores = codec.decode(heatmaps)
    found = torch.cat([keypoints, keypoint_scores[..., None]], dim=-1).cpu().numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # `collect_poses` refuses what is not finite
        placed = transform_points(found[..., :2], _numpy(batch["image_from_input"]))
    return collect_poses(placed, found[..., 2], batch, score_threshold=score_threshold)


def predict_maps(
    net: nn.Module, images: Tensor, codec: AssociativeEmbedding, *, flip_test: bool, flip_permutation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Run a bottom-up network, optionally on mirrored images too: heatmaps are averaged, tags concatenated.

    The network maps images (B, 3, H, W) to [(B, 2K, h', w'), (B, K, h, w)], as `HigherHRNet` does. For the other arguments see
    `predict_heatmaps`.

    Returns:
        heatmaps (B, K, h, w) and tags (B, K, T, h, w), float32; T is 2 with a flip test, else 1.
    """
    heatmaps, tags = aggregate(net(images))
    if not flip_test:
        return heatmaps, tags
    mirrored, mirrored_tags = aggregate(codec.flip_back(net(images.flip(-1)), flip_permutation))
    return (heatmaps + mirrored) * 0.5, torch.cat([tags, mirrored_tags], dim=2)


@torch.inference_mode()
def estimate_image_poses(
    net: nn.Module, codec: AssociativeEmbedding, batch: Mapping[str, Any], *, flip_test: bool, flip_permutation: Sequence[int]
) -> Poses:
    """Estimate the poses of all instances of whole images; see `predict_maps` and `collect_image_poses`.

    The batch has images (B, 3, H, W), rescaled (the same images at other scales), image_from_input (B, 2, 3) and image_ids (B,),
    see `structures.WholeImageBatch`.
    """
    images = (batch["images"], *batch.get("rescaled", ()))
    maps = [predict_maps(net, view, codec, flip_test=flip_test, flip_permutation=flip_permutation) for view in images]
    return collect_image_poses(maps, codec, batch, (images[0].shape[2], images[0].shape[3]))


def collect_image_poses(
    maps: Sequence[tuple[Tensor, Tensor]], codec: AssociativeEmbedding, batch: Mapping[str, Any], input_size: tuple[int, int]
) -> Poses:
    """Find the instances of images in the heatmaps and tags of a bottom-up network.

    Args:
        maps: heatmaps and tags of `predict_maps`, of the images and of the same images at other scales. Heatmaps of all scales
            are averaged; only the tags of the first are used.
        codec: finds the instances.
        batch: image_from_input and image_ids.
        input_size: (H, W) of the images at the first scale.

    Returns:
        The poses, image by image. The score of an instance is the mean of its keypoint scores; its box encloses its keypoints,
        and center and scale are those of this box, padded by 1.25.

    Raises:
        NonFinitePosesError: if a heatmap or a tag is NaN or infinite.
    """
    check = torch.stack([part.sum() for part in maps[0]] + [heatmaps.sum() for heatmaps, _ in maps[1:]])
    if not check.isfinite().all():
        raise NonFinitePosesError(f"Expected finite heatmaps and tags of the network, found NaN or infinity. {_ADVICE}")
    heatmaps = enlarge(maps[0][0], input_size)
    for others, _ in maps[1:]:
        heatmaps = heatmaps + enlarge(others, input_size)
    found = codec.decode(heatmaps / len(maps) if len(maps) > 1 else heatmaps, maps[0][1])
    matrices, image_ids = _numpy(batch["image_from_input"]), _numpy(batch["image_ids"])
    keypoints = [transform_points(parts[0], matrix) for parts, matrix in zip(found, matrices, strict=True)]
    points = np.concatenate(keypoints)
    values, scores = (np.concatenate([parts[place] for parts in found]) for place in (1, 2))
    bbox = _extents(points, values > 0)
    return Poses(
        keypoints=points,
        keypoint_scores=values,
        scores=scores.astype(np.float64),
        bbox_scores=np.ones(len(scores)),
        center=bbox[:, :2] + bbox[:, 2:] / 2,
        scale=bbox[:, 2:] * _PADDING,
        image_ids=np.repeat(image_ids, [len(rows) for rows in keypoints]).astype(np.int64),
        instance_ids=np.arange(len(scores)),
        bbox=bbox,
    )


def _extents(keypoints: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the boxes (N, 4) x, y, width, height around the present keypoints (N, K, 2); sides are at least one pixel."""
    low, high = (
        reduce(np.where(present[..., None], keypoints, edge), axis=1) for reduce, edge in ((np.min, np.inf), (np.max, -np.inf))
    )
    return np.concatenate([low, np.maximum(high - low, 1.0)], axis=1)


def collect_poses(
    keypoints: NDArray[np.float64],
    keypoint_scores: NDArray[np.float32],
    batch: Mapping[str, Any],
    *,
    score_threshold: float = 0.2,
) -> Poses:
    """Create the poses of a batch of crops from keypoints (B, K, 2) in image pixels and scores (B, K); see `estimate_poses`.

    The batch has center, scale, bbox_scores, image_ids and instance_ids.
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
    """Raise NonFinitePosesError if keypoints (B, K, 2) or scores (B, K) are NaN or infinite."""
    finite = np.isfinite(keypoints).all(axis=(1, 2)) & np.isfinite(keypoint_scores).all(axis=1)
    if not finite.all():
        raise NonFinitePosesError(
            f"Expected finite keypoints and scores of the network, found NaN or infinity in {(~finite).sum()} of {len(finite)} "
            f"crops. {_ADVICE}"
        )


def _numpy(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
