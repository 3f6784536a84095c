"""Images of drawn people: a COCO dataset for training without a download, and a video.

Each module uses those before it: people (posture, clothes), canvas (shaded solids), painting (a person on a canvas), labels
(keypoints and boxes), scene (one image), motion (a video), writing (files).
"""

from hrpose.synthetic.motion import Frame, draw_walk
from hrpose.synthetic.writing import write_dataset

__all__ = ["Frame", "draw_walk", "write_dataset"]
