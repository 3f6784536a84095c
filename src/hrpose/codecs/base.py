"""What a codec is: the two translations between keypoints and what a network puts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from hrpose.geometry import Grid


class Codec(Protocol):
    """Translates keypoints to what a network learns (`encode`), and what it puts out back to keypoints (`decode`).

    Implementations are small frozen records of sizes and constants: batched, free of state, at home on every device, and
    never waiting for the device. Keypoints are (x, y) in pixels of the network input.
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
        """Count the channels that a network needs for so many keypoints: heatmaps, or rows of coordinates or bins.

        The channels of a keypoint stand together, and the first is the one that shows where it is.
        """
        ...

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Make targets.

        Args:
            keypoints: (B, K, 2) in input pixels.
            visibility: (B, K); 0 stands for unlabelled.

        Returns:
            target: what the network is taught, float32. Where it should put out just that, it is of the outputs' shape; an
                `IntegralCodec` tells where the means of its heatmaps should lie instead.
            target_weight: (B, K, 1) how much each keypoint counts in the loss.
        """
        ...

    def decode(self, outputs: Tensor, /) -> tuple[Tensor, Tensor]:
        """Read keypoints off what a network puts out.

        Args:
            outputs: (B, C, h, w) heatmaps or (B, C, ...) rows, C = num_channels(K).

        Returns:
            keypoints: (B, K, 2) in input pixels.
            scores: (B, K).
        """
        ...

    def flip_back(self, outputs: Tensor, flip_permutation: Sequence[int], /) -> Tensor:
        """Turn what a network puts out for mirrored images into what belongs to the images as they are.

        Args:
            outputs: those of the mirrored images, as `decode` takes them.
            flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

        Returns:
            The same shape.

        Raises:
            ValueError: if `flip_permutation` is not a permutation of the K keypoints, or the shape is not the codec's.
        """
        ...
