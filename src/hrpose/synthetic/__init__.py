"""People drawn by code: a COCO dataset to train on without a download, and a film.

The files, from the bottom: people (posture, clothes), canvas (shaded solids), painting (a person on a canvas), labels (keypoints
and boxes), scene (one image), motion (a film), writing (files).
"""

from hrpose.synthetic.motion import Frame, draw_walk
from hrpose.synthetic.writing import write_dataset

__all__ = ["Frame", "draw_walk", "write_dataset"]
