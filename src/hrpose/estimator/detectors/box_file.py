"""Boxes that somebody has found or drawn already, in a COCO file."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from hrpose.annotations.detections import read_photo_boxes
from hrpose.errors import DataError
from hrpose.estimator.detectors.boxes import Detections


class BoxFile:
    """The boxes of a COCO file, looked up by the paths of the photos.

    Given to `PoseEstimator` as its detector, it answers for images that come as paths; their pixels are then taken as they are
    stored, as the boxes were made on them.

    Args:
        boxes: detections in the form of COCO results, a list of {image_id, category_id, bbox, score}; or a COCO annotation
            file, whose boxes are taken with the score 1, crowds left out, and clipped as `hrpose test` clips them.
        annotations: a COCO file whose `images` name the photos; detections need it.
        min_score: detections that score below it are left out.

    Raises:
        DataError: if a file cannot be used, or the detections come without names.

    Example:
        >>> boxes = BoxFile("detections.json", "person_keypoints_val2017.json")  # doctest: +SKIP
        >>> estimator = PoseEstimator.from_checkpoint("best.ckpt", detector=boxes)  # doctest: +SKIP
        >>> poses = estimator(["val2017/000000000785.jpg", "val2017/000000001000.jpg"])  # doctest: +SKIP
    """

    def __init__(self, boxes: str | Path, annotations: str | Path | None = None, *, min_score: float = 0.0) -> None:
        known = read_photo_boxes(annotations, boxes, min_score=min_score)
        assert known is not None, "`boxes` is a file"
        self._known = known
        self._file = str(annotations or boxes)
        self._by_last_part: dict[str, list[str]] = {}
        for name in known.image_ids:
            self._by_last_part.setdefault(PurePath(name).name, []).append(name)

    def image_id(self, photo: str | Path) -> int:
        """Tell the id of a photo by its path, which ends with the `file_name` that the file has for it.

        Raises:
            DataError: if no photo has such a name.
        """
        parts = Path(photo).parts
        names = [
            name for name in self._by_last_part.get(Path(photo).name, ()) if _ends_with(parts, PurePath(name).parts)
        ]
        if not names:
            raise DataError(
                f"Expected {photo} to be one of the {len(self._known.image_ids)} photos of {self._file}, but none is called so."
            )
        return self._known.image_ids[max(names, key=len)]

    def of(self, photo: Any) -> Detections:
        """Give the boxes (N, 4) x, y, width, height of a photo and their scores (N,), in the order of the file.

        Raises:
            DataError: if the photo is no path, or none of the file.
        """
        if not isinstance(photo, str | Path):
            raise DataError(
                f"Expected images as paths, because their boxes are looked up in {self._file} by their names, but got "
                f"{type(photo).__name__}."
            )
        found = self._known.boxes_of(self.image_id(photo))
        assert found is not None, "the file has boxes"
        return found


def _ends_with(parts: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return parts[-len(end) :] == end
