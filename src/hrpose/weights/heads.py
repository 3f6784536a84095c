"""Heads for other keypoints: match the heatmaps of a file with those of a network by the names of the keypoints.

The channels of one keypoint are adjacent, as in codecs. Where a file does not name its keypoints, 17 of them are taken for
COCO's, 16 for MPII's, 26 and 136 for Halpe's and 133 for COCO-WholeBody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from hrpose.skeletons import COCO, HALPE, HALPE26, MPII, WHOLEBODY, match_names

# Parts that depend on the keypoints, and the dimension that counts their channels; `score_` takes heatmaps in.
_KEYPOINT_DIMS = {"final_layer.": 0, "head.final_layer.": 0, "head.fc.": 0, "score.": 0, "score_.": 1}
_KNOWN_BY_NUMBER = {skeleton.num_keypoints: skeleton for skeleton in (COCO, MPII, HALPE26, HALPE, WHOLEBODY)}


@dataclass(frozen=True)
class KeypointMatch:
    """The keypoints that a file's head and a network share.

    Attributes:
        taken: index of a keypoint of the network -> that of the same keypoint in the file.
        taken_names: the names of those, as the network has them.
        fresh_names: the names of the network's other keypoints.
        assumed: the skeleton that the file was taken to have, by its number of keypoints; None where the file names them.
        channels: of each keypoint.
    """

    taken: Mapping[int, int]
    taken_names: tuple[str, ...]
    fresh_names: tuple[str, ...]
    assumed: str | None
    channels: int

    @property
    def is_identity(self) -> bool:
        """Whether every keypoint of the network is at the same index in the file."""
        return not self.fresh_names and all(index == other for index, other in self.taken.items())

    def merge(self, name: str, own: Tensor, other: Tensor) -> Tensor | None:
        """Copy the channels of the shared keypoints into a copy of the network's tensor.

        Args:
            name: of the tensor in the network.
            own: the network's.
            other: the file's.

        Returns:
            The merged tensor; None where the two differ in more than the number of keypoints.
        """
        dim = keypoint_dim(name, own)
        if (
            dim is None
            or other.dim() != own.dim()
            or own.shape[dim] % self.channels
            or other.shape[dim] % self.channels
        ):
            return None
        merged = own.clone()
        places, sources = _grouped(merged, dim, self.channels), _grouped(other, dim, self.channels)
        if places.shape[1:] != sources.shape[1:]:
            return None
        for index, source in self.taken.items():
            places[index] = sources[source].to(places)
        return merged


def keypoint_dim(name: str, tensor: Tensor) -> int | None:
    """Return the dimension of a tensor that counts the channels of keypoints; None if there is none."""
    for prefix, dim in _KEYPOINT_DIMS.items():
        if name.startswith(prefix):
            return dim if tensor.dim() > dim else None
    return None


def match_keypoints(
    names: Sequence[str], file_names: Sequence[str] | None, *, num_channels: int, num_file_channels: int
) -> KeypointMatch | None:
    """Match the keypoints of a network with those of a file, by name.

    Args:
        names: the keypoints of the network.
        file_names: those of the file; None if they are unknown.
        num_channels: of the network's head.
        num_file_channels: of the file's head.

    Returns:
        The match; None where the keypoints of the file are not known.

    Raises:
        ValueError: if the number of names does not divide the channels of the network's head.
    """
    if not names or num_channels % len(names):
        raise ValueError(
            f"Expected argument `keypoint_names` to name the keypoints of a head with {num_channels} channels, but got "
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
    )


def _grouped(tensor: Tensor, dim: int, channels: int) -> Tensor:
    """View a tensor keypoint by keypoint: (K, channels, ...)."""
    first = tensor.movedim(dim, 0)
    return first.view(-1, channels, *first.shape[1:]) if channels > 1 else first.unsqueeze(1)
