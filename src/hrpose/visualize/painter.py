"""The style of annotated pictures and videos, set once and used for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.visualize.colours import person_colours
from hrpose.visualize.pictures import Image
from hrpose.visualize.poses import draw_poses


@dataclass(frozen=True)
class PosePainter:
    """Draw poses on their pictures, all in one style.

    Attributes:
        labels: whether to write beside people who they are: in videos their number, on photos their score. None writes the
            numbers only.
        boxes: whether to frame what the network looked at.
        min_score: people with a lower instance score are left out.
        min_keypoint_score: keypoints with a lower score are left out.
    """

    labels: bool | None = None
    boxes: bool = False
    min_score: float = 0.2
    min_keypoint_score: float = 0.2

    def __call__(self, image: Image, poses: Poses, skeleton: Skeleton, *, numbered: bool = False) -> Image:
        """Draw the people on a copy of a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            poses: the people.
            skeleton: names and edges of the keypoints.
            numbered: whether `instance_ids` say who is who, as in a video.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        shown = poses[poses.scores >= self.min_score]
        texts = (
            [str(number) for number in shown.instance_ids] if numbered else [f"{score:.2f}" for score in shown.scores]
        )
        labelled = numbered if self.labels is None else self.labels
        bbox = shown.bbox if shown.bbox is not None else np.hstack([shown.center - shown.scale / 2, shown.scale])
        return draw_poses(
            image,
            shown,
            skeleton,
            score_threshold=self.min_keypoint_score,
            bboxes=bbox if self.boxes else None,
            labels=texts if labelled else None,
            label_colours=person_colours(shown.instance_ids) if numbered else None,
        )
