"""Match the channels of a head in a file with those of a network by keypoint names.

The channels of one keypoint are adjacent, as in codecs; HigherHRNet has all heatmaps first and then all tag maps. If a file has
no keypoint names, 17 keypoints are assumed to be COCO's, 16 MPII's, 26 and 136 Halpe's and 133 COCO-WholeBody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from hrpose.skeletons import COCO, HALPE, HALPE26, MPII, WHOLEBODY, match_names

# parts that depend on the keypoints, with the dimension of their channels; the input of `score_` is heatmaps
_KEYPOINT_DIMS = {"final_layer.": 0, "head.final_layer.": 0, "head.fc.": 0, "score.": 0, "score_.": 1}
# HigherHRNet: outputs, and transposed convolutions, with the previous output as their last input channels
_HIGHER_HRNET = re.compile(r"(?:final_layers\.(\d+)|deconv_layers\.(\d+)\.0\.0)\.")
_KNOWN_BY_NUMBER = {skeleton.num_keypoints: skeleton for skeleton in (COCO, MPII, HALPE26, HALPE, WHOLEBODY)}


@dataclass(frozen=True)
class KeypointMatch:
    """The common keypoints of a file and a network."""

    taken: Mapping[int, int]  # index in the file by index in the network, of the common keypoints
    taken_names: tuple[str, ...]  # names of the common keypoints in the network
    fresh_names: tuple[str, ...]  # names of the network's other keypoints
    assumed: str | None  # the skeleton that was assumed from the number of keypoints; None if the file has keypoint names
    channels: int  # number of channels per keypoint
    num_file_keypoints: int  # number of keypoints of the file

    @property
    def is_identity(self) -> bool:
        """Return whether every keypoint of the network has the same index in the file."""
        return not self.fresh_names and all(index == other for index, other in self.taken.items())

    def merge(self, name: str, own: Tensor, other: Tensor) -> Tensor | None:
        """Return the network's tensor `own` with the channels of the common keypoints from the file's tensor `other`.

        None if the shapes differ in more than the number of keypoints.
        """
        dim = keypoint_dim(name, own)
        if dim is None or other.dim() != own.dim():
            return None
        merged, source = own.clone().movedim(dim, 0), other.movedim(dim, 0)
        num_keypoints = len(self.taken_names) + len(self.fresh_names)
        higher = _HIGHER_HRNET.match(name)
        # of HigherHRNet only the first output has tags
        channels = self.channels if higher is None else 2 if "0" in higher.groups() else 1
        first = len(merged) - channels * num_keypoints  # other channels: features
        if first != len(source) - channels * self.num_file_keypoints or merged.shape[1:] != source.shape[1:]:
            return None
        if first < 0 or (first and not name.startswith("deconv_layers.")):
            return None

        def rows(indices: Iterable[int], total: int) -> list[int]:
            if higher is None:  # the channels of a keypoint are adjacent
                return [index * channels + channel for index in indices for channel in range(channels)]
            return [first + channel * total + index for index in indices for channel in range(channels)]

        merged[:first] = source[:first].to(merged)
        merged[rows(self.taken, num_keypoints)] = source[rows(self.taken.values(), self.num_file_keypoints)].to(merged)
        return merged.movedim(0, dim)


def keypoint_dim(name: str, tensor: Tensor) -> int | None:
    """Return the dimension of the keypoint channels of a tensor; None if there is none."""
    dims = (dim for prefix, dim in _KEYPOINT_DIMS.items() if name.startswith(prefix))
    dim = next(dims, 0 if _HIGHER_HRNET.match(name) else None)
    return dim if dim is not None and tensor.dim() > dim else None


def match_keypoints(
    names: Sequence[str], file_names: Sequence[str] | None, *, num_channels: int, num_file_channels: int
) -> KeypointMatch | None:
    """Match the keypoints of a network with those of a file, by name; None if the keypoints of the file are unknown.

    Raises:
        ValueError: if the number of channels of the network's head is not a multiple of the number of names.
    """
    if not names or num_channels % len(names):
        raise ValueError(
            f"Expected argument `keypoint_names` to have one name per keypoint of a head with {num_channels} channels, but got "
            f"{len(names)} names."
        )
    channels = num_channels // len(names)
    assumed = None
    if file_names is None or len(file_names) * channels != num_file_channels:
        skeleton = _KNOWN_BY_NUMBER.get(num_file_channels // channels) if num_file_channels % channels == 0 else None
        if skeleton is None:
            return None
        file_names, assumed = skeleton.keypoint_names, skeleton.name.upper()
    taken = match_names(names, file_names)
    return KeypointMatch(
        taken=taken,
        taken_names=tuple(name for index, name in enumerate(names) if index in taken),
        fresh_names=tuple(name for index, name in enumerate(names) if index not in taken),
        assumed=assumed,
        channels=channels,
        num_file_keypoints=len(file_names),
    )
