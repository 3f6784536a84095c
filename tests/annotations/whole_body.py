"""A few persons in the form of COCO-WholeBody: 17 keypoints as in COCO, and four more fields with their flags."""

from typing import Any

import numpy as np
from tiny_coco import annotation, content

FIELDS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def whole_body_annotation(number: int, **changes: Any) -> dict[str, Any]:
    """Return a person with all parts valid; the coordinates of the hands have fractions, as in the real files."""
    rng = np.random.default_rng(1000 + number)
    row = annotation(number)
    for field, count in list(FIELDS.items())[1:]:
        digits = 4 if "hand" in field else 0
        points = rng.uniform(5, 60, (count, 2)).round(digits).tolist()
        row[field] = [value for x, y in points for value in (x, y, 1.0 + number % 2)]
        row[f"{field.removesuffix('_kpts')}_valid"] = True
    row["face_box"] = [1.0, 2.0, 3.0, 4.0]
    return {**row, **changes}


def whole_body_content(num_instances: int) -> dict[str, Any]:
    """Return a file with four images and some persons."""
    return {**content(0), "annotations": [whole_body_annotation(i) for i in range(num_instances)]}
