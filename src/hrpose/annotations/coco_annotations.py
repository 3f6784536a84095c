"""The instances of the chosen categories of a COCO keypoint file, as packed arrays."""

from __future__ import annotations

import array
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import Row, check_unique, integers, list_first
from hrpose.errors import DataError, DataWarning
from hrpose.geometry import Rules, clip_bbox
from hrpose.skeletons import KNOWN_SKELETONS, Skeleton, keypoint_key, read_keypoint_names
from hrpose.structures import GroundTruth, InstanceTable, PackedStrings

_FIELDS_OF = {"wholebody": {"foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"}, "humanart": {"keypoints_21"}}
_KEYS_OF = {
    name: [keypoint_key(keypoint) for keypoint in KNOWN_SKELETONS[name].keypoint_names]
    for name in ("crowdpose", "aic", "jhmdb", "mpii")
}
_CROWDPOSE = _KEYS_OF["crowdpose"]
_MOST_LISTED = 12  # categories in a message
_CROWD, _NO_KEYPOINTS = "marked `iscrowd`", "without keypoints"
_AREA, _BOX = "with an `area` of 0", "with a box outside the image or without size"


@dataclass(frozen=True, eq=False)
class CocoAnnotations:
    """The instances of the chosen categories, sorted by image, and within an image in the order of the file.

    Attributes:
        file: path of the file.
        category: the entry of `categories`; for several categories the first entry, with the names of all.
        own_category_ids: ids of the chosen categories.
        category_ids: ids of all categories of the file.
        image_ids: (I,) int64.
        image_sizes: (I, 2) int32 width and height; 0 where unknown.
        file_names: I names relative to the image folder.
        image_index: (M,) int32 row of the image.
        instance_ids: (M,) int64 annotation ids.
        bbox: (M, 4) float64 x, y, width, height of the file, or around the keypoints.
        has_bbox: (M,) bool, False where the box is around the keypoints.
        area: (M,) float64 in square pixels, of the file or computed from the box.
        has_area: (M,) bool, False where the area was computed from the box.
        area_from_bbox: share of the box that replaces a missing `area`.
        iscrowd: (M,) bool.
        keypoints: (M, K, 2) in the smallest type that holds them exactly; 0 where unlabelled.
        visibility: (M, K) uint8.
        has_keypoints: (M,) bool, False where all 3K numbers of the file are 0.
        num_keypoints: (M,) int64 of the file; the number of labelled keypoints where missing.
        other_categories: annotation ids of other categories with keypoints by name, if no category was chosen by name.
        crowd_index: (I,) float64 from 0 to 1; None if the file has none.
        other_fields: names of other fields with keypoints, such as `foot_kpts`.
    """

    file: Path
    category: Mapping[str, Any]
    own_category_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    image_ids: NDArray[np.int64]
    image_sizes: NDArray[np.int32]
    file_names: PackedStrings
    image_index: NDArray[np.int32]
    instance_ids: NDArray[np.int64]
    bbox: NDArray[np.float64]
    has_bbox: NDArray[np.bool_]
    area: NDArray[np.float64]
    has_area: NDArray[np.bool_]
    area_from_bbox: float
    iscrowd: NDArray[np.bool_]
    keypoints: NDArray[np.generic]
    visibility: NDArray[np.uint8]
    has_keypoints: NDArray[np.bool_]
    num_keypoints: NDArray[np.int64]
    other_categories: Mapping[str, NDArray[np.int64]]
    crowd_index: NDArray[np.float64] | None = None
    other_fields: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_index)

    def skeleton(
        self,
        sigmas: Sequence[float] | None = None,
        flip_pairs: Sequence[Sequence[int | str]] | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> Skeleton:
        """Build the skeleton of the category: names, edges, mirror pairs, sigmas.

        Args:
            sigmas: K OKS sigmas instead of the category's.
            flip_pairs: mirror pairs instead of the category's, by name or 0-based index.
            names: K names instead of the category's.

        Raises:
            DataError: if the keypoints have no names, the number of names is not K, or an entry of the category is invalid.
        """
        num_keypoints, title = self.visibility.shape[1], self.category.get("name")
        given = {"keypoints": None if names is None else list(names), "sigmas": sigmas, "flip_pairs": flip_pairs}
        category = {**self.category, **{key: value for key, value in given.items() if value is not None}}
        category |= {} if flip_pairs is None else {"flip_idx": None}
        found = len(read_keypoint_names(category))
        if found != num_keypoints:
            where = "`skeleton.names`" if names is not None else f"category {title!r}"
            raise DataError(
                f"{self.file}: expected {where} to name the {num_keypoints} keypoints of its annotations, but found "
                f"{found or 'no'} names. Set all of them, skeleton.names=[nose,left_eye,...], or a known skeleton, such as "
                "skeleton=coco or skeleton=wholebody (COCO-WholeBody)."
            )
        try:
            return Skeleton.from_category(category)
        except ValueError as error:
            raise DataError(
                f"{self.file}: category {title!r} has no valid skeleton. {error} Fix the category or the given values, or choose "
                "a known skeleton, such as skeleton=coco."
            ) from error

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Return the keypoint names of the category; empty if it has none."""
        return read_keypoint_names(self.category)

    @property
    def benchmark(self) -> str | None:
        """Return the benchmark that the fields and keypoint names of the file indicate; None if there is none."""
        names = [keypoint_key(name) for name in self.keypoint_names]
        for name, fields in _FIELDS_OF.items():
            if fields & {*self.other_fields}:
                return name
        head = [*_CROWDPOSE[:12], "head"]  # the files say "head" for the top of the head
        if names[:13] == head or (self.crowd_index is not None and self.visibility.shape[1] == len(_CROWDPOSE)):
            return "crowdpose"
        return next((name for name, keys in _KEYS_OF.items() if names == keys), None)

    def instances(self, rules: Rules = "official") -> InstanceTable:
        """Select the instances for training, or for a test with annotated boxes, and clip their boxes to the image.

        Crowds and instances without keypoints are left out. The official rules also leave out instances without area or outside
        the image (`COCODataset._load_coco_keypoint_annotation_kernal`), and boxes without width and height after clipping. The
        rules of MMPose ignore the area, but require a box with width and height, a labelled keypoint and `num_keypoints` > 0.

        Args:
            rules: "official" or "mmpose".

        Warns:
            DataWarning: with the number of labelled instances left out because of their box or area.
        """
        left_out, bbox = self._left_out(rules)
        labelled = ~(left_out[_CROWD] | left_out[_NO_KEYPOINTS])
        is_lost = np.any(list(left_out.values()), axis=0)
        lost = np.flatnonzero(labelled & is_lost)
        if len(lost):
            reasons = _list_counts({reason: rows[lost] for reason, rows in left_out.items()})
            warnings.warn(
                f"{self.file}: {len(lost)} of {np.count_nonzero(labelled)} instances with keypoints are left out: {reasons} "
                f"(annotation ids {list_first(self.instance_ids[lost])}).{self._box_hint(lost)}",
                DataWarning,
                stacklevel=2,
            )
        return self._table(~is_lost, bbox)

    def labelled(self) -> InstanceTable:
        """Select the instances with labelled keypoints that a network for whole images is trained on.

        Boxes and areas do not matter, and a crowd counts if its `num_keypoints` is above 0, as in HigherHRNet's official code.
        """
        return self._table((self.visibility > 0).any(axis=1) & (~self.iscrowd | (self.num_keypoints > 0)), self.bbox)

    def describe_left_out(self, rules: Rules = "official") -> str:
        """Describe how many instances `instances` leaves out for each reason; an instance can have several."""
        left_out, _ = self._left_out(rules)
        return _list_counts(left_out) + self._box_hint(np.flatnonzero(left_out[_BOX]))

    def _table(self, kept: NDArray[np.bool_], bbox: NDArray[np.float64]) -> InstanceTable:
        return InstanceTable(
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
            file_names=self.file_names,
            image_index=self.image_index[kept],
            instance_ids=self.instance_ids[kept],
            bbox=bbox[kept],
            bbox_scores=np.ones(np.count_nonzero(kept)),
            area=self.area[kept].astype(np.float32),
            keypoints=self.keypoints[kept].astype(np.float32),
            visibility=self.visibility[kept],
        )

    def _box_hint(self, rows: NDArray[np.intp]) -> str:
        """Suggest boxes around the keypoints if boxes of these rows have no width or height."""
        empty = (self.bbox[rows, 2:] == 0).any(axis=1) & (self.visibility[rows] > 0).any(axis=1)
        if not empty.any():
            return ""
        return (
            f" {np.count_nonzero(empty)} boxes have no width or height: data.bbox_from_keypoints=0.25 replaces them by the box "
            "around the keypoints, with a margin of 0.25 of its longer side."
        )

    def _left_out(self, rules: Rules) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.float64]]:
        """Return which instances are left out for each reason, (M,) each, and the clipped boxes (M, 4)."""
        bbox = clip_bbox(self.bbox, self.image_sizes[self.image_index], rules)
        if rules == "mmpose":
            return {
                _CROWD: self.iscrowd,
                _NO_KEYPOINTS: ~(self.visibility > 0).any(axis=1) | (self.num_keypoints == 0),
                _BOX: ~(bbox[:, 2:] > 0).all(axis=1),
            }, bbox
        return {
            _CROWD: self.iscrowd,
            _NO_KEYPOINTS: ~self.has_keypoints,
            _AREA: ~(self.area > 0),
            _BOX: (bbox[:, 2:] < 0).any(axis=1) | (bbox[:, 2:] == 0).all(axis=1),
        }, bbox

    def ground_truth(self) -> GroundTruth:
        """Return all instances, including crowds and those without keypoints, for AP."""
        return GroundTruth(
            image_ids=self.image_ids,
            object_image_ids=self.image_ids[self.image_index],
            instance_ids=self.instance_ids,
            category_ids=np.full(len(self), int(self.category["id"]), np.int64),
            keypoints=self.keypoints.astype(np.float64),
            visibility=self.visibility,
            bbox=self.bbox,
            area=self.area,
            iscrowd=self.iscrowd,
            num_keypoints=self.num_keypoints,
            crowd_index=self.crowd_index,
        )


def _list_counts(reasons: Mapping[str, NDArray[np.bool_]]) -> str:
    return ", ".join(f"{np.count_nonzero(rows)} {reason}" for reason, rows in reasons.items() if rows.any())


def choose_categories(
    categories: Sequence[Row], wanted: str | Sequence[str] | None, rows: Sequence[Row] | None, file: Path
) -> list[Row]:
    """Return categories with the same keypoints by name: "all" is all with keypoints, None the one with keypoints, or "person".

    The message of the error counts the annotations `rows` of each category.

    Raises:
        DataError: if a category is missing or ambiguous, or several have different keypoints.
    """
    integers(categories, "id", "category", file)
    names = [entry.get("name") for entry in categories]
    named = [entry for entry in categories if entry.get("keypoints")] or list(categories)
    if wanted is None:
        persons = [entry for entry in named if entry.get("name") == "person"]
        chosen = persons if len(named) > 1 and len(persons) == 1 else named
        if len(chosen) != 1:
            raise DataError(f"{file}: expected one category with `keypoints`. {_list_categories(categories, rows)}")
        return chosen
    if wanted == "all" and wanted not in names:
        chosen = named
    else:
        chosen = []
        for name in [wanted] if isinstance(wanted, str) else wanted:
            found = [entry for entry in categories if entry.get("name") == name]
            if len(found) != 1:
                raise DataError(
                    f"{file}: expected one category named {name!r}, but found {len(found)}. {_list_categories(categories, rows)}"
                )
            chosen += found
    if not chosen or len({tuple(entry.get("keypoints") or ()) for entry in chosen}) > 1:
        raise DataError(
            f"{file}: expected categories with the same keypoints in the same order. {_list_categories(categories, rows)}"
        )
    return chosen


def select_objects(
    rows: list[Row], chosen: Sequence[Row], categories: list[Row], image_ids: NDArray[np.int64], file: Path
) -> tuple[list[Row], NDArray[np.int32]]:
    """Return the M annotations of the chosen categories, sorted by image, and the index of the image of each, (M,).

    Raises:
        DataError: if an annotation id is missing or repeats, or an image or category does not exist.
    """
    ids = integers(rows, "id", "annotation", file)
    check_unique(ids, "annotation", file)
    sections = {"image_id": ("images", image_ids.tolist()), "category_id": ("categories", [entry["id"] for entry in categories])}
    places = {}
    for key, (section, known) in sections.items():
        index_of = {own: index for index, own in enumerate(known)}
        values = integers(rows, key, "annotation", file).tolist()
        places[key] = np.array([index_of.get(value, -1) for value in values], np.int32)
        for place in np.flatnonzero(places[key] < 0)[:1]:
            raise DataError(
                f"{file}: expected `{key}` of annotation {ids[place]} to be an `id` of `{section}`, but got {values[place]}. "
                "Add the entry, or remove the annotation."
            )
    image_index = places["image_id"]
    own_places = [place for place, entry in enumerate(categories) if any(entry is one for one in chosen)]
    own = np.flatnonzero(np.isin(places["category_id"], own_places))
    order = own[np.argsort(image_index[own], kind="stable")]
    return [rows[place] for place in order.tolist()], image_index[order]


def find_other_categories(content: Mapping[str, list[Row]], own_ids: Collection[int]) -> dict[str, NDArray[np.int64]]:
    """Return the ids of annotations with keypoints of other categories, by category name."""
    names = {entry["id"]: str(entry.get("name")) for entry in content["categories"] if entry["id"] not in own_ids}
    found: dict[str, list[int]] = {}
    for row in content["annotations"] if names else []:
        if row["category_id"] in names and any(row.get("keypoints") or ()):
            found.setdefault(names[row["category_id"]], []).append(row["id"])
    return {name: np.array(ids, np.int64) for name, ids in found.items()}


def _list_categories(categories: Sequence[Row], rows: Sequence[Row] | None) -> str:
    """List the categories with their numbers of keypoints and instances, and the argument that selects each."""
    if not categories:
        return "`categories` is empty. Add an entry with `id`, `name` and `keypoints`."
    lengths: dict[Any, list[int]] = {}  # of the keypoints of annotations, by category
    for row in rows or ():
        values, owner = row.get("keypoints"), row.get("category_id")
        if isinstance(values, list | array.array) and len(values) and isinstance(owner, int):
            lengths.setdefault(owner, []).append(len(values) // 3)
    lines = ["Its categories, each with the argument that selects it in fit and test (elsewhere `category`):"]
    for entry in categories[:_MOST_LISTED]:
        own = lengths.get(entry["id"], [])
        number = len(entry.get("keypoints") or ()) or max(own, default=0)
        instances = "" if rows is None else f", {len(own)} instances with keypoints"
        lines.append(f"  {entry.get('name')!r}: {number} keypoints{instances}: {_argument(entry.get('name'))}")
    if len(categories) > _MOST_LISTED:
        lines.append(f"  ... and {len(categories) - _MOST_LISTED} more")
    if len(categories) > 1 and len({repr(entry["keypoints"]) for entry in categories if entry.get("keypoints")}) == 1:
        lines.append("  all categories with keypoints as one: data.category=all")
    if rows is not None and not rows:
        lines.append("The file has no annotations.")
    elif rows is not None and not lengths:
        lines.append("No annotation has keypoints: export one skeleton with several keypoints instead of single points.")
    return "\n".join(lines)


def _argument(name: Any) -> str:
    text = str(name)
    plain = text.isascii() and text.replace("_", "").isalnum() and not text[:1].isdigit()
    return f"data.category={text}" if plain else f"'data.category=\"{text}\"'"
