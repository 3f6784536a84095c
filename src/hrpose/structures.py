"""The records that flow through hrpose: from the annotation file to the poses.

Legend of the shapes: I images, N instances (persons), M annotated objects, K keypoints, B batch, H W input, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the records are numpy: what only evaluates need not wait for torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Crop:
    """What a network looks at: a turned, possibly mirrored rectangle of a photo.

    Attributes:
        center: (2,) in photo pixels, of the photo as it is (not mirrored).
        scale: (2,) width and height in photo pixels.
        rotation: degrees.
        flip: whether the crop is mirrored left to right.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    rotation: float = 0.0
    flip: bool = False


class _SharedArrays:
    """Arrays that move into shared memory when they are first sent to another process.

    A forked worker reads its parent's pages; a spawned one receives handles instead of copies. Either way a worker holds
    no copy of its own.
    """

    def __getstate__(self) -> dict[str, Any]:
        # slow to import, and only needed here
        import torch

        shared: dict[str, Tensor] = self.__dict__.setdefault("_shared", {})
        state = {name: value for name, value in self.__dict__.items() if name != "_shared"}
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                if name not in shared:  # an array does not know that it lies in shared memory: the tensor is kept
                    shared[name] = torch.from_numpy(value).clone().share_memory_()  # type: ignore[no-untyped-call]
                    self.__dict__[name] = shared[name].numpy()
                state[name] = shared[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({k: v.numpy() if hasattr(v, "numpy") else v for k, v in state.items()})


class PackedStrings(_SharedArrays):
    """A read-only list of strings in two arrays: no Python object per string.

    Example:
        >>> PackedStrings(["a.jpg", "b/c.jpg"])[1]
        'b/c.jpg'
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

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._bytes.nbytes + self._ends.nbytes


@dataclass(frozen=True, eq=False)
class InstanceTable(_SharedArrays):
    """The persons of a data set, one row each, in packed arrays.

    Attributes:
        image_ids: (I,) int64.
        image_sizes: (I, 2) int32 width and height as the annotation file states them.
        file_names: I names, relative to the photo folder, as the annotation file states them.
        image_index: (N,) int32 row of the photo.
        instance_ids: (N,) int64 annotation id, or the row of the detection in its file.
        bbox: (N, 4) float64 x, y, width, height in photo pixels, as the crop uses it.
        bbox_scores: (N,) float32; 1 for annotated boxes.
        area: (N,) float32 in square pixels.
        keypoints: (N, K, 2) float32 in photo pixels; 0 where unlabelled.
        visibility: (N, K) uint8: 0 unlabelled, 1 occluded, 2 visible.
    """

    image_ids: NDArray[np.int64]
    image_sizes: NDArray[np.int32]
    file_names: PackedStrings
    image_index: NDArray[np.int32]
    instance_ids: NDArray[np.int64]
    bbox: NDArray[np.float64]
    bbox_scores: NDArray[np.float32]
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
        """Bytes held by all arrays."""
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Everything annotated in a set of photos, crowds and persons without keypoints included: what AP is measured against.

    Attributes:
        image_ids: (I,) int64 all photos, also those without objects.
        object_image_ids: (M,) int64.
        instance_ids: (M,) int64 annotation ids.
        category_ids: (M,) int64.
        keypoints: (M, K, 2) float64 in photo pixels.
        visibility: (M, K) uint8: 0 unlabelled, 1 occluded, 2 visible.
        bbox: (M, 4) float64 x, y, width, height in photo pixels.
        area: (M,) float64 in square pixels.
        iscrowd: (M,) bool.
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

    def __len__(self) -> int:
        return len(self.object_image_ids)


@dataclass(frozen=True, eq=False)
class Poses:
    """Estimated poses in photo pixels, one row a person.

    Attributes:
        keypoints: (N, K, 2) float64 in photo pixels.
        keypoint_scores: (N, K) float32.
        scores: (N,) float64 instance scores: bbox score x mean confident keypoint score.
        bbox_scores: (N,) float32.
        center: (N, 2) float64 center of the crop in photo pixels.
        scale: (N, 2) float64 width and height of the crop in photo pixels.
        image_ids: (N,) int64.
        instance_ids: (N,) int64.
    """

    keypoints: NDArray[np.float64]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float64]
    bbox_scores: NDArray[np.float32]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    image_ids: NDArray[np.int64]
    instance_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: slice | NDArray[np.generic] | Sequence[int]) -> Poses:
        """Select rows by a slice, a mask or indices."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        return Poses(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @staticmethod
    def concatenate(parts: Sequence[Poses]) -> Poses:
        """Join poses of several batches into one record.

        Raises:
            ValueError: if there are no parts.
        """
        if not parts:
            raise ValueError("Expected at least one Poses record to concatenate, but got none.")
        return Poses(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Poses)))

    @property
    def area(self) -> NDArray[np.float64]:
        """(N,) area of the padded boxes in square pixels: what OKS between two predictions is measured by."""
        area: NDArray[np.float64] = self.scale.prod(axis=1)
        return area

    def to_coco(self, category_id: int = 1) -> list[dict[str, Any]]:
        """Give the poses as rows of a COCO keypoint result file."""
        triplets = np.concatenate([self.keypoints, self.keypoint_scores[..., None].astype(np.float64)], axis=-1)
        columns = zip(
            self.image_ids.tolist(),
            triplets.reshape(len(self), -1).tolist(),
            self.scores.tolist(),
            self.center.tolist(),
            self.scale.tolist(),
            strict=True,
        )
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": keypoints,
                "score": score,
                "center": center,
                "scale": scale,
            }
            for image_id, keypoints, score, center, scale in columns
        ]


class Sample(TypedDict):
    """One crop, as a dataset makes it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    keypoints: NDArray[np.float32]  # (K, 2) in input pixels, 0 where unlabelled
    visibility: NDArray[np.uint8]  # (K,)
    image_from_input: NDArray[np.float64]  # (2, 3)
    center: NDArray[np.float64]  # (2,) in photo pixels
    scale: NDArray[np.float64]  # (2,) in photo pixels
    bbox_score: float
    image_id: int
    instance_id: int


class RawBatch(TypedDict):
    """Crops as the loader's workers hand them over: bytes, not floats."""

    images: Tensor  # (B, H, W, 3) uint8 RGB
    keypoints: Tensor  # (B, K, 2) float32 in input pixels
    visibility: Tensor  # (B, K) uint8
    image_from_input: Tensor  # (B, 2, 3) float64
    center: Tensor  # (B, 2) float64
    scale: Tensor  # (B, 2) float64
    bbox_scores: Tensor  # (B,) float32
    image_ids: Tensor  # (B,) int64
    instance_ids: Tensor  # (B,) int64


class Batch(RawBatch):
    """A batch on the device: `images` has become (B, 3, H, W) float32, normalised; the codec has added what to learn."""

    target: Tensor  # (B, K, h, w) float32
    target_weight: Tensor  # (B, K, 1) float32
