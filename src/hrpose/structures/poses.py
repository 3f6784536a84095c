"""Estimated poses and their instance scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.errors import import_optional
from hrpose.skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class Poses:
    """Estimated poses, one row per instance.

    Attributes:
        keypoints: (N, K, 2) float64 in image pixels.
        keypoint_scores: (N, K) float32.
        scores: (N,) float64 instance scores: see `rescore`.
        bbox_scores: (N,) float64.
        center: (N, 2) float64 center of the crop in image pixels.
        scale: (N, 2) float64 width and height of the crop in image pixels.
        image_ids: (N,) int64.
        instance_ids: (N,) int64.
        bbox: (N, 4) float64 x, y, width, height in image pixels of the boxes of the crops; None if unknown.
        skeleton: of the K keypoints; None if unknown.

    Example:
        >>> confident = poses.above(0.5)  # doctest: +SKIP
        >>> for pose in confident:  # doctest: +SKIP
        ...     print(pose.scores[0], dict(zip(pose.keypoint_names, pose.keypoints[0], strict=True)))
        >>> picture = hrpose.draw_poses("image.jpg", confident)  # doctest: +SKIP
    """

    keypoints: NDArray[np.float64]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float64]
    bbox_scores: NDArray[np.float64]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    image_ids: NDArray[np.int64]
    instance_ids: NDArray[np.int64]
    bbox: NDArray[np.float64] | None = None
    skeleton: Skeleton | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: int | slice | NDArray[np.generic] | Sequence[int]) -> Poses:
        """Select rows by a number, a slice, a mask or indices; a number selects a record of one row."""
        if isinstance(rows, int | np.integer):
            chosen: Any = np.array([range(len(self))[rows]])
        else:
            chosen = rows if isinstance(rows, slice) else np.asarray(rows, None if len(rows) else np.int64)
        parts = {name: value[chosen] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **parts)

    def __iter__(self) -> Iterator[Poses]:
        """Yield the instances, each as a record of one row."""
        return (self[row] for row in range(len(self)))

    def above(self, score: float) -> Poses:
        """Select the instances with a score above a number."""
        return self[self.scores > score]

    @staticmethod
    def concatenate(parts: Sequence[Poses]) -> Poses:
        """Join poses of several batches into one record.

        Raises:
            ValueError: if there are no parts, or they are of different skeletons.
        """
        if not parts:
            raise ValueError("Expected at least one Poses record to concatenate, but got none.")
        skeletons = {part.skeleton for part in parts}
        if len(skeletons) > 1:
            names = sorted("none" if skeleton is None else repr(skeleton.name) for skeleton in skeletons)
            raise ValueError(
                f"Expected poses of one skeleton, but got {', '.join(names)}. Join the poses of each skeleton separately."
            )
        arrays = [field.name for field in fields(Poses) if field.name != "skeleton"]
        if any(part.bbox is None for part in parts):
            arrays.remove("bbox")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return Poses(**joined, skeleton=parts[0].skeleton)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """K names, numbered if the skeleton is unknown."""
        if self.skeleton is not None:
            return self.skeleton.keypoint_names
        return tuple(f"keypoint_{index}" for index in range(self.keypoints.shape[1]))

    @property
    def area(self) -> NDArray[np.float64]:
        """(N,) area of the padded boxes in square pixels, for the OKS between two predictions."""
        area: NDArray[np.float64] = self.scale.prod(axis=1)
        return area

    def to_coco(self, category_id: int = 1) -> list[dict[str, Any]]:
        """Return the poses as rows of a COCO keypoint result file."""
        categories = np.full(len(self), category_id)
        places = {"center": self.center, "scale": self.scale}
        return result_rows(self.image_ids, categories, self.keypoints, self.keypoint_scores, self.scores, **places)

    def to_dataframe(self) -> Any:
        """Return the poses as a pandas table with a row per keypoint.

        Returns:
            `pandas.DataFrame` with the columns image_id, instance_id, instance (the row of this record), score (of the instance),
            keypoint (its name), x, y (image pixels) and keypoint_score.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        pandas = import_optional("pandas", "A table of poses", "pandas")
        num_instances, num_keypoints = self.keypoint_scores.shape
        by_instance = {
            "image_id": self.image_ids,
            "instance_id": self.instance_ids,
            "instance": np.arange(num_instances),
            "score": self.scores,
        }
        columns: dict[str, Any] = {name: np.repeat(values, num_keypoints) for name, values in by_instance.items()}
        columns["keypoint"] = list(self.keypoint_names) * num_instances
        columns |= {"x": self.keypoints[..., 0].ravel(), "y": self.keypoints[..., 1].ravel()}
        return pandas.DataFrame({**columns, "keypoint_score": self.keypoint_scores.ravel()})

    if not TYPE_CHECKING:  # a type checker would take any attribute for known

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError with the replacement of `draw`, a method of earlier versions."""
            replacement = " Use hrpose.draw_poses(image, poses)." if name == "draw" else ""
            raise AttributeError(f"'Poses' object has no attribute '{name}'.{replacement}")


def result_rows(
    image_ids: NDArray[np.int64],
    category_ids: NDArray[np.int64],
    keypoints: NDArray[np.float64],
    keypoint_scores: NDArray[np.floating[Any]],
    scores: NDArray[np.float64],
    **others: NDArray[Any],
) -> list[dict[str, Any]]:
    """Return N rows of a COCO keypoint result file.

    Args:
        image_ids: (N,).
        category_ids: (N,).
        keypoints: (N, K, 2) in image pixels.
        keypoint_scores: (N, K).
        scores: (N,) of the instances.
        others: (N, ...) by the names of further entries.
    """
    triplets = np.concatenate([keypoints, keypoint_scores[..., None]], axis=-1, dtype=np.float64)
    triplets = triplets.reshape(len(scores), 3 * keypoints.shape[1])
    columns = {"image_id": image_ids, "category_id": category_ids, "keypoints": triplets, "score": scores, **others}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def rescore(bbox_scores: ArrayLike, keypoint_scores: ArrayLike, *, threshold: float = 0.2) -> NDArray[np.float64]:
    """Compute instance scores: box scores times the mean of the keypoint scores above a threshold.

    Equal bit for bit to the paper's code, which computes the mean in float32, keypoint by keypoint.

    Args:
        bbox_scores: (N,) scores of the boxes, 1 for annotated ones.
        keypoint_scores: (N, K) float32 heights of the peaks of the heatmaps.
        threshold: only keypoint scores above it count; an instance without any gets 0.

    Returns:
        (N,) float64 instance scores.

    Raises:
        ValueError: if the lengths differ.

    Example:
        >>> from hrpose.metrics.functional import rescore
        >>> rescore([0.5], np.array([[0.5, 1.0, 0.1]], dtype=np.float32))
        array([0.375])
    """
    boxes, heights = np.asarray(bbox_scores, dtype=np.float64), np.asarray(keypoint_scores)
    if heights.ndim != 2 or boxes.shape != heights.shape[:1]:
        raise ValueError(
            "Expected arguments `bbox_scores` (N,) and `keypoint_scores` (N, K) to have the same N, "
            f"but got {boxes.shape} and {heights.shape}."
        )
    confident = heights > threshold
    total = np.cumsum(np.where(confident, heights, 0), axis=1, dtype=heights.dtype)[:, -1]
    count = np.maximum(confident.sum(axis=1), 1).astype(heights.dtype)
    scores: NDArray[np.float64] = boxes * (total / count)
    return scores
