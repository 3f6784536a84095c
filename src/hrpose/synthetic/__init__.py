"""People drawn by code, written to disk in the layout of COCO: something to train on before any download; and a film of them.

`write_dataset` and `draw_walk` are the ways in; `draw_specimen` draws a person to show keypoints on. The rooms behind them, from
the bottom: body (posture), canvas (shaded solids), people (clothes), painting (a person on a canvas), labels (what an annotator
would note), scenery, scene (one photo), specimen, motion (a film), detections, writing (files).
"""

from hrpose.synthetic.motion import Frame, draw_walk
from hrpose.synthetic.specimen import draw_specimen, specimen_keypoints
from hrpose.synthetic.writing import write_dataset

__all__ = ["Frame", "draw_specimen", "draw_walk", "specimen_keypoints", "write_dataset"]
