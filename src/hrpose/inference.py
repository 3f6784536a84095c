"""The one way from images to poses: network, flip test, codec, image coordinates, instance score.

Crops have one instance each; with a bottom-up codec a whole image has any number of them.

Validation, test, prediction and the estimator all come through here.
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
    "If it computes in half precision, it may overflow: set precision=32. If it was just trained, the training has diverged: "
    "look at train/loss and start again with a smaller optim.lr or trainer.gradient_clip_val=1. Otherwise the weights are "
    "damaged: take an earlier checkpoint."
)
_PADDING = (
    1.25  # of the boxes around the keypoints of instances that were found without boxes, as boxes of crops are padded
)


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
    """Estimate the poses of a batch of crops, in pixels of their images; with a bottom-up codec those of whole images.

    Only three numbers per keypoint leave the device.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, K, h, w), or whatever else the codec reads; in eval mode.
        codec: reads what the network puts out. `estimate_image_poses` has the batches of bottom-up ones.
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
    """Run a bottom-up network, with a flip test if asked: heatmaps are averaged, tags of the two passes stand side by side.

    Args:
        net: images (B, 3, H, W) to [(B, 2K, h', w'), (B, K, h, w)], as `HigherHRNet`; in eval mode.
        images: (B, 3, H, W) normalised RGB.
        codec: knows how the outputs for mirrored images turn back.
        flip_test: whether to look at the mirrored images too.
        flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

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
    net: nn.Module,
    codec: AssociativeEmbedding,
    batch: Mapping[str, Any],
    *,
    flip_test: bool,
    flip_permutation: Sequence[int],
) -> Poses:
    """Estimate the poses of all instances of whole images.

    Args:
        net: as for `predict_maps`.
        codec: finds the instances.
        batch: images (B, 3, H, W), rescaled (the same images at other scales), image_from_input (B, 2, 3) and image_ids (B,), as
            `structures.WholeImageBatch` describes them.
        flip_test: whether to look at the mirrored images too.
        flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

    Returns:
        The poses, image by image: see `collect_image_poses`.

    Raises:
        NonFinitePosesError: if the network gives NaN or infinity.
    """
    images = (batch["images"], *batch.get("rescaled", ()))
    maps = [predict_maps(net, view, codec, flip_test=flip_test, flip_permutation=flip_permutation) for view in images]
    return collect_image_poses(maps, codec, batch, (images[0].shape[2], images[0].shape[3]))


def collect_image_poses(
    maps: Sequence[tuple[Tensor, Tensor]],
    codec: AssociativeEmbedding,
    batch: Mapping[str, Any],
    input_size: tuple[int, int],
) -> Poses:
    """Find the instances of images in the heatmaps and tags of a bottom-up network.

    Args:
        maps: heatmaps and tags as `predict_maps` gives them, of the images and of the same ones at other scales. Heatmaps of all
            scales are averaged; tags are those of the first.
        codec: finds the instances.
        batch: image_from_input and image_ids.
        input_size: (H, W) of the images at the first scale.

    Returns:
        The poses. The score of an instance is the mean of its keypoints' scores; its box holds its keypoints, and center and
        scale are those of that box, padded by a quarter.

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
    """Return the boxes (N, 4) x, y, width, height around the keypoints (N, K, 2) that are present; sides are at least a pixel."""
    low, high = (
        reduce(np.where(present[..., None], keypoints, edge), axis=1)
        for reduce, edge in ((np.min, np.inf), (np.max, -np.inf))
    )
    return np.concatenate([low, np.maximum(high - low, 1.0)], axis=1)


def collect_poses(
    keypoints: NDArray[np.float64],
    keypoint_scores: NDArray[np.float32],
    batch: Mapping[str, Any],
    *,
    score_threshold: float = 0.2,
) -> Poses:
    """Put keypoints that were found in a batch of crops together with what is known of the crops.

    Args:
        keypoints: (B, K, 2) in image pixels.
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
            f"crops. {_ADVICE}"
        )


def _numpy(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
