"""The contents of annotation and detection files in packed arrays, and exact integer ids.

Legend of the shapes: I images, N instances, M annotated objects, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # an evaluation imports these records and needs no torch
    from torch import Tensor
_LIMIT = 2**63  # int64 stores -_LIMIT to _LIMIT - 1
_WHOLE_FLOATS = 2.0**53  # below it every whole number is a different float


class SharedArrays:
    """Arrays that move into shared memory when they are first sent to another process, so that workers have no copies."""

    def __getstate__(self) -> dict[str, Any]:
        # slow to import, and only needed here
        import torch

        shared: dict[str, Tensor] = self.__dict__.setdefault("_shared", {})
        state = {name: value for name, value in self.__dict__.items() if name != "_shared"}
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                if name not in shared:  # the tensor is stored, because the array has no reference to its shared memory
                    shared[name] = torch.from_numpy(value).clone().share_memory_()  # type: ignore[no-untyped-call]
                    self.__dict__[name] = shared[name].numpy()
                state[name] = shared[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({k: v.numpy() if hasattr(v, "numpy") else v for k, v in state.items()})


class PackedStrings(SharedArrays):
    """A read-only list of strings in two arrays: no Python object per string.

    Example:
        >>> PackedStrings(["a.jpg", "b/c.jpg"])[1]
        'b/c.jpg'
        >>> PackedStrings(["a.jpg", "b/c.jpg"]).tolist()
        ['a.jpg', 'b/c.jpg']
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode() for string in strings]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
        self._ends = np.cumsum([len(item) for item in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Expected an index below {len(self)}, but got {index}.")
        index = index % len(self)
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].tobytes().decode()

    def tolist(self, start: int = 0, end: int | None = None) -> list[str]:
        """Return the strings of a range of rows, by default all."""
        ends = self._ends[start:end].tolist()
        if not ends:
            return []
        first = int(self._ends[start - 1]) if start else 0
        content = self._bytes[first : ends[-1]].tobytes()
        return [content[one - first : other - first].decode() for one, other in zip([first, *ends[:-1]], ends, strict=True)]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._bytes.nbytes + self._ends.nbytes


@dataclass(frozen=True, eq=False)
class InstanceTable(SharedArrays):
    """The instances of a data set, one row each, in packed arrays.

    Attributes:
        image_ids: (I,) int64.
        image_sizes: (I, 2) int32 width and height in the annotation file; 0 if missing.
        file_names: I names in the annotation file, relative to the image folder.
        image_index: (N,) int32 row of the image.
        instance_ids: (N,) int64 annotation id, or the row of the detection in its file.
        bbox: (N, 4) float64 x, y, width, height in image pixels, for the crop.
        bbox_scores: (N,) float64; 1 for annotated boxes.
        area: (N,) float32 in square pixels.
        keypoints: (N, K, 2) float32 in image pixels; 0 where unlabelled.
        visibility: (N, K) uint8: 0 unlabelled, 1 occluded, 2 visible.
    """

    image_ids: NDArray[np.int64]
    image_sizes: NDArray[np.int32]
    file_names: PackedStrings
    image_index: NDArray[np.int32]
    instance_ids: NDArray[np.int64]
    bbox: NDArray[np.float64]
    bbox_scores: NDArray[np.float64]
    area: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def num_keypoints(self) -> int:
        """K."""
        return int(self.visibility.shape[1])

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))

    def select(self, rows: NDArray[np.generic] | Sequence[int]) -> InstanceTable:
        """Keep some instances by a mask or indices; all images stay."""
        chosen = np.asarray(rows, None if len(rows) else np.int64)
        per_image = ("image_ids", "image_sizes", "file_names")
        names = [field.name for field in fields(self) if field.name not in per_image]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """All annotations of a set of images for AP, including crowds and instances without keypoints.

    Attributes:
        image_ids: (I,) int64 all images, also those without objects.
        object_image_ids: (M,) int64.
        instance_ids: (M,) int64 annotation ids.
        category_ids: (M,) int64.
        keypoints: (M, K, 2) float64 in image pixels.
        visibility: (M, K) uint8: 0 unlabelled, 1 occluded, 2 visible.
        bbox: (M, 4) float64 x, y, width, height in image pixels.
        area: (M,) float64 in square pixels.
        iscrowd: (M,) bool.
        num_keypoints: (M,) int64 from the annotation file; None counts the labelled ones. Objects with 0 are ignored.
        crowd_index: (I,) float64 crowding of each image from 0 to 1; None if the data set does not state it.
    """

    image_ids: NDArray[np.int64]
    object_image_ids: NDArray[np.int64]
    instance_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.uint8]
    bbox: NDArray[np.float64]
    area: NDArray[np.float64]
    iscrowd: NDArray[np.bool_]
    crowd_index: NDArray[np.float64] | None = None
    num_keypoints: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.object_image_ids)

    @property
    def is_ignored(self) -> NDArray[np.bool_]:
        """(M,) ignored objects: crowds, and those with a `num_keypoints` of 0."""
        number = (self.visibility > 0).sum(axis=1) if self.num_keypoints is None else self.num_keypoints
        ignored: NDArray[np.bool_] = self.iscrowd | (number == 0)
        return ignored

    def relabel(self, visibility: NDArray[np.uint8]) -> GroundTruth:
        """Replace the visibility (M, K); ignored objects stay ignored, and objects without labels become ignored."""
        number = np.where(self.is_ignored, 0, np.count_nonzero(visibility, axis=1))
        return replace(self, visibility=visibility, num_keypoints=number)

    def select(self, rows: slice | NDArray[np.generic] | Sequence[int]) -> GroundTruth:
        """Keep some objects by a slice, a mask or indices; all images stay."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        names = [field.name for field in fields(self) if field.name not in ("image_ids", "crowd_index")]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names if getattr(self, name) is not None})


@dataclass(frozen=True, eq=False)
class MpiiTruth:
    """The ground truth of PCKh: persons of MPII in the order of their annotation file."""

    keypoints: NDArray[np.float64]  # (N, 16, 2) float64 in image pixels counted from 1
    labelled: NDArray[np.bool_]  # (N, 16) bool, False where a keypoint is missing
    head_boxes: NDArray[np.float64]  # (N, 2, 2) float64 two opposite corners x y in the same pixels

    def __len__(self) -> int:
        return len(self.keypoints)


def exact_integer(value: Any) -> int | None:
    """Return the integer of a JSON number; None if it is not a 64-bit integer.

    Whole floats below 2**53 are integers, because some tools write every number as a float; above it they are ambiguous.

    Example:
        >>> exact_integer(2**53 + 1), exact_integer(139.0), exact_integer(1.5), exact_integer(2.0**53), exact_integer("1")
        (9007199254740993, 139, None, None, None)
    """
    if type(value) is float:
        return int(value) if abs(value) < _WHOLE_FLOATS and value.is_integer() else None
    return value if type(value) is int and -_LIMIT <= value < _LIMIT else None


def exact_int64(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Convert an array of integers to int64.

    Raises:
        ValueError: with the name, if the array has other numbers, or one outside of int64.
    """
    if values.size and values.dtype.kind not in "iub":
        raise ValueError(f"Expected {name} to be integers, but got {values.dtype}.")
    if values.dtype.kind == "u" and values.size and int(values.max()) >= _LIMIT:
        raise ValueError(f"Expected {name} to fit in int64, up to {_LIMIT - 1}, but got {values.max()}.")
    return values.astype(np.int64, copy=False)
