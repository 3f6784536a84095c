"""What codecs have in common: their protocol, and the checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from hrpose.geometry import Grid

MAX_SIDE = 4096  # pixels or cells; the largest networks for poses have 1024


class Codec(Protocol):
    """Translate keypoints to what a network learns (`encode`), and its outputs back to keypoints (`decode`).

    Implementations are small frozen records of sizes and constants: batched, free of state, on every device, and never waiting
    for the device. Keypoints are (x, y) in pixels of the network input.
    """

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the network input in pixels."""
        ...

    @property
    def grid(self) -> Grid:
        """How the pixels of the crops lie in their boxes; the data module crops by it."""
        ...

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of output channels for so many keypoints: heatmaps, or rows of coordinates or bins.

        The channels of a keypoint stand together, and the first is the one that shows where it is.
        """
        ...

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Make targets.

        Args:
            keypoints: (B, K, 2) in input pixels, of any floating type.
            visibility: (B, K); 0 stands for unlabelled.

        Returns:
            target: float32, of the shape of the network's outputs; `IntegralCodec` states the means of the heatmaps instead.
            target_weight: (B, K, 1) float32, the weight of each keypoint in the loss.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        ...

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
        ...

    def flip_back(self, outputs: Tensor, flip_permutation: Sequence[int], /) -> Tensor:
        """Turn the outputs for mirrored images into those of the images as they are.

        Args:
            outputs: those of the mirrored images, as `decode` takes them.
            flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

        Returns:
            The same shape.

        Raises:
            ValueError: if `flip_permutation` is not a permutation of the K keypoints, or the shape is not the codec's.
        """
        ...


def checked_size(name: str, size: Sequence[int], *, least: int = 1) -> tuple[int, int]:
    """Give a size as a tuple (width, height) of whole numbers, or raise ValueError."""
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= least for side in sides)
    if len(sides) != 2 or not whole or max(sides) > MAX_SIDE:
        kind = f"whole numbers from {least} to {MAX_SIDE}"
        raise ValueError(f"Expected argument `{name}` to be two {kind} (width, height), but got {size!r:.200}.")
    return sides[0], sides[1]


def settle_sizes(codec: Any, *, least: int = 1) -> None:
    """Make tuples of the `input_size` and `heatmap_size` of a frozen codec, or raise ValueError; for its `__post_init__`."""
    for name in ("input_size", "heatmap_size"):
        if hasattr(codec, name):
            object.__setattr__(codec, name, checked_size(name, getattr(codec, name), least=least))


def check_positive(name: str, value: Any, unit: str) -> None:
    """Raise ValueError unless the value is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"Expected argument `{name}` to be a positive number of {unit}, but got {value!r}.")


def check_count(name: str, value: Any) -> None:
    """Raise ValueError unless the value is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"Expected argument `{name}` to be a whole number of at least 1, but got {value!r}.")


def check_kernel(name: str, kernel: Any, heatmap_size: tuple[int, int]) -> None:
    """Raise ValueError unless the blur's kernel is a positive odd number that reaches no further than the heatmap."""
    whole = isinstance(kernel, int) and not isinstance(kernel, bool)
    largest = 2 * min(heatmap_size) - 1
    if not whole or kernel % 2 == 0 or not 0 < kernel <= largest:
        raise ValueError(
            f"Expected argument `{name}` to be an odd number of cells from 1 (no blur) to {largest} for heatmaps of size "
            f"{heatmap_size}, but got {kernel!r}."
        )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"Expected argument `{name}` to be one of {', '.join(choices)}, but got {value!r}.")


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
            "belongs to a network that puts out heatmaps, and its input_size and heatmap_size have to be the network's."
        )


def check_permutation(flip_permutation: Sequence[int], num_keypoints: int) -> None:
    """Raise ValueError unless the indices are a permutation of the keypoints."""
    if sorted(flip_permutation) != list(range(num_keypoints)):
        raise ValueError(
            f"Expected argument `flip_permutation` to be a permutation of 0 to {num_keypoints - 1}, one entry for each of "
            f"the {num_keypoints} keypoints of the network's outputs, but got {list(flip_permutation)}."
        )
