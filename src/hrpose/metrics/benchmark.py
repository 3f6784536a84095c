"""What a benchmark's own evaluation does otherwise than COCO's: the areas, who counts, which results are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.oks import Floats
from hrpose.structures import GroundTruth


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The evaluation of a benchmark; the defaults are COCO's, with the sigmas that belong to the file.

    Attributes:
        name: of the benchmark, or "auto" for that of none.
        measure: "oks" gives AP, "pck" the PCK of JHMDB, "pckh" the PCKh of MPII.
        sigmas: name of a known skeleton; None takes what the file says.
        keypoint_fields: fields of an annotation, each with the number of keypoints that are taken of it; None takes `keypoints`.
        area_from_bbox: share of its box that a person without area is taken to cover.
        use_area: False takes that share of the box for all persons, even where an area is annotated.
        num_keypoints: persons of 0 keypoints are ignored: those as the file has it "stated", or as they are "labelled".
        leave_out_unscored: results whose keypoint scores are all 0 are left out, as xtcocotools does.
        crowd_ranges: AP of images of little (AP_easy), more (AP_medium) and much crowding (AP_hard) is part of the result.
        part_scores: results are ranked by `wholebody_score` and their parts by `foot_score`, ..., where they have these.
    """

    name: str = "auto"
    measure: Literal["oks", "pck", "pckh"] = "oks"
    sigmas: str | None = None
    keypoint_fields: dict[str, int] | None = None
    area_from_bbox: float = 1.0
    use_area: bool = True
    num_keypoints: Literal["stated", "labelled"] = "stated"
    leave_out_unscored: bool = False
    crowd_ranges: bool = False
    part_scores: bool = False

    def adjust(self, truth: GroundTruth, area_from_bbox: float | None = None) -> GroundTruth:
        """Return the ground truth with the areas and the ignored persons of the benchmark.

        Args:
            truth: as it is annotated.
            area_from_bbox: share of the box instead of the benchmark's.
        """
        share = self.area_from_bbox if area_from_bbox is None else area_from_bbox
        area = truth.area if self.use_area else truth.bbox[:, 2] * truth.bbox[:, 3] * share
        return replace(truth, area=area, num_keypoints=truth.num_keypoints if self.num_keypoints == "stated" else None)

    def counted(self, keypoint_scores: Floats) -> NDArray[np.bool_]:
        """Find the results that count, (N,): all, or those with a keypoint score above 0.

        Args:
            keypoint_scores: (N, K).
        """
        scored: NDArray[np.bool_] = np.any(keypoint_scores > 0, axis=1)
        return scored if self.leave_out_unscored else np.ones(len(scored), bool)

    def round_crowding(self, crowding: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return AP_easy, AP_medium and AP_hard with four decimals, as CrowdPose's code does; nothing for other benchmarks.

        Args:
            crowding: numbers of the ranges, by their names.
        """
        if not self.crowd_ranges:
            return {}
        return {f"AP_{name}": float(np.round(row["AP"], 4)) for name, row in crowding.items()}
