"""How far a codec alone puts keypoints off: what is lost between `encode` and `decode`, without any network.

A network that has learned perfectly puts out the target. Decoding the target shows the error that a codec adds to every
prediction; decoding it with noise shows how well the error of a real network is borne; averaging it with the target of
the mirrored person shows whether the flip test is aligned (Huang et al., CVPR 2020, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hrpose.codecs.base import Codec


def decoding_errors(
    codec: Codec, *, num_points: int = 1000, noise: float = 0.0, flip_test: bool = False, seed: int = 0
) -> Tensor:
    """Encode random keypoints, decode them, and tell how far off they are.

    The keypoints lie anywhere between pixels, an eighth of the input away from its border. As in a trained network, where the
    mirrored person stands in the mirrored image is x -> width - 1 - x, for that is how `predict_heatmaps` turns the image.

    Args:
        codec: one whose target can be decoded.
        num_points: how many keypoints.
        noise: standard deviation of what is added to the target, in units of the target's highest value.
        flip_test: average with what the mirrored person gives.
        seed: of keypoints and noise.

    Returns:
        (num_points, 2) decoded minus true x and y in input pixels.

    Raises:
        ValueError: if there are no keypoints or the noise is negative.

    Example:
        >>> from hrpose.codecs import DarkCodec
        >>> errors = decoding_errors(DarkCodec(input_size=(96, 128), heatmap_size=(24, 32), sigma=1, blur_kernel=3))
        >>> bool(errors.abs().max() < 0.2)
        True
    """
    if num_points < 1 or noise < 0:
        raise ValueError(
            f"Expected arguments `num_points` to be at least 1 and `noise` at least 0, but got {num_points} and {noise}."
        )
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(codec.input_size, dtype=torch.float32)
    points = (0.125 + 0.75 * torch.rand(1, num_points, 2, generator=generator)) * size
    outputs = _noisy_target(codec, points, noise, generator)
    if flip_test:
        mirrored = torch.stack([size[0] - 1 - points[..., 0], points[..., 1]], dim=-1)
        turned = _noisy_target(codec, mirrored, noise, generator)
        outputs = (outputs + codec.flip_back(turned, range(num_points))) * 0.5
    return codec.decode(outputs)[0][0] - points[0]


def _noisy_target(codec: Codec, points: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    target = codec.encode(points, torch.ones(points.shape[:2]))[0]
    return target + noise * target.max() * torch.randn(target.shape, generator=generator)
