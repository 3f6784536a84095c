"""People drawn by code: a COCO dataset to train on without a download, a film, and one person to show keypoints on.

The files, from the bottom: people (posture, clothes), canvas (shaded solids), painting (a person on a canvas), labels (keypoints
and boxes), scene (one image), specimen, motion (a film), writing (files).
"""

from hrpose.synthetic.motion import Frame, draw_walk
from hrpose.synthetic.specimen import draw_specimen, specimen_keypoints
from hrpose.synthetic.writing import write_dataset

__all__ = ["Frame", "draw_specimen", "draw_walk", "specimen_keypoints", "write_dataset"]
