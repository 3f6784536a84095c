"""The protocol of codecs, the checks of their arguments, and the error of a codec without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hrpose.geometry import Grid

_MAX_SIDE = 4096  # pixels or cells; the largest networks for poses have 1024


class Codec(Protocol):
    """Convert keypoints to training targets (`encode`) and network outputs to keypoints (`decode`).

    Implementations are small frozen dataclasses of sizes and constants. They work on batches on any device, without state and
    without synchronisation. Keypoints are (x, y) in pixels of the network input.
    """

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the network input in pixels."""

    @property
    def grid(self) -> Grid:
        """The pixel grid of the crops, which the data module uses."""

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of output channels: heatmaps, or rows of coordinates or bins.

        The channels of a keypoint are adjacent; the first one has its position.
        """

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Compute targets.

        Args:
            keypoints: (B, K, 2) in input pixels, of any floating type.
            visibility: (B, K); 0 is unlabelled.

        Returns:
            target: float32, of the shape of the network's outputs; with `IntegralCodec` the means of the heatmaps.
            target_weight: (B, K, 1) float32, the weight of each keypoint in the loss.

        Raises:
            ValueError: if the shapes do not match.
        """

    def decode(self, outputs: Tensor, /) -> tuple[Tensor, Tensor]:
        """Compute keypoints from network outputs.

        Args:
            outputs: (B, C, h, w) heatmaps or (B, C, ...) rows, C = num_channels(K).

        Returns:
            keypoints: (B, K, 2) float32 in input pixels.
            scores: (B, K) float32.

        Raises:
            ValueError: if the shape is not the codec's.
        """

    def flip_back(self, outputs: Tensor, flip_permutation: Sequence[int], /) -> Tensor:
        """Convert the outputs for mirrored images to those of the original images, of the same shape.

        Args:
            outputs: of the mirrored images, as for `decode`.
            flip_permutation: K indices; entry k is the mirrored keypoint of keypoint k.

        Raises:
            ValueError: if `flip_permutation` is not a permutation of the K keypoints, or the shape is not the codec's.
        """


def check_sizes(codec: Any, *, least: int = 1) -> None:
    """Make tuples of the `input_size` and `heatmap_size` of a frozen codec, or raise ValueError; for its `__post_init__`."""
    for name in ("input_size", "heatmap_size"):
        if hasattr(codec, name):
            size = getattr(codec, name)
            sides = tuple(size) if isinstance(size, Sequence) else (size,)
            whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= least for side in sides)
            if len(sides) != 2 or not whole or max(sides) > _MAX_SIDE:
                kind = f"whole numbers from {least} to {_MAX_SIDE}"
                raise ValueError(f"Expected argument `{name}` to be two {kind} (width, height), but got {size!r:.200}.")
            object.__setattr__(codec, name, sides)


def check_kernel(name: str, kernel: Any, heatmap_size: tuple[int, int]) -> None:
    """Raise ValueError unless the kernel size of a blur is a positive odd number that fits the heatmap."""
    whole = isinstance(kernel, int) and not isinstance(kernel, bool)
    largest = 2 * min(heatmap_size) - 1
    if not whole or kernel % 2 == 0 or not 0 < kernel <= largest:
        raise ValueError(
            f"Expected argument `{name}` to be an odd number of cells from 1 (no blur) to {largest} for heatmaps of size "
            f"{heatmap_size}, but got {kernel!r}."
        )


def check_keypoints(keypoints: Tensor, visibility: Tensor) -> None:
    """Raise ValueError unless the shapes are (B, K, 2) and (B, K)."""
    if keypoints.ndim != 3 or keypoints.shape[2] != 2 or visibility.shape != keypoints.shape[:2]:
        raise ValueError(
            "Expected arguments `keypoints` and `visibility` to be (B, K, 2) and (B, K), but got the shapes "
            f"{tuple(keypoints.shape)} and {tuple(visibility.shape)}."
        )


def check_heatmaps(heatmaps: Tensor, heatmap_size: tuple[int, int]) -> None:
    """Raise ValueError unless the shape is (B, K, h, w)."""
    width, height = heatmap_size
    if heatmaps.ndim != 4 or heatmaps.shape[2:] != (height, width):
        raise ValueError(
            f"Expected argument `heatmaps` to be (B, K, {height}, {width}), but got the shape {tuple(heatmaps.shape)}. The codec "
            "requires a network that outputs heatmaps; set its input_size and heatmap_size as the network requires."
        )


def check_permutation(flip_permutation: Sequence[int], num_keypoints: int) -> None:
    """Raise ValueError unless the indices are a permutation of the keypoints."""
    if sorted(flip_permutation) != list(range(num_keypoints)):
        raise ValueError(
            f"Expected argument `flip_permutation` to be a permutation of 0 to {num_keypoints - 1}, one entry for each of "
            f"the {num_keypoints} keypoints of the network's outputs, but got {list(flip_permutation)}."
        )


def decoding_errors(
    codec: Codec, *, num_points: int = 1000, noise: float = 0.0, flip_test: bool = False, seed: int = 0
) -> Tensor:
    """Encode random keypoints, decode them, and return their errors: the error that a codec adds to every prediction.

    The keypoints are anywhere between pixels, at least an eighth of the input away from its border. A flip test shows whether the
    codec aligns mirrored outputs (Huang et al., CVPR 2020, section 3): x of a mirrored keypoint is width - 1 - x.

    Args:
        codec: one with a target that `decode` accepts.
        num_points: number of keypoints.
        noise: standard deviation of noise that is added to the target, in units of its highest value.
        flip_test: average with the target of the mirrored instance.
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

    def encode(points: Tensor) -> Tensor:
        target = codec.encode(points, torch.ones(points.shape[:2]))[0]
        return target + noise * target.max() * torch.randn(target.shape, generator=generator)

    size = torch.tensor(codec.input_size, dtype=torch.float32)
    points = (0.125 + 0.75 * torch.rand(1, num_points, 2, generator=generator)) * size
    outputs = encode(points)
    if flip_test:
        mirrored = encode(torch.stack([size[0] - 1 - points[..., 0], points[..., 1]], dim=-1))
        outputs = (outputs + codec.flip_back(mirrored, range(num_points))) * 0.5
    return codec.decode(outputs)[0][0] - points[0]
