"""People drawn by code, written to disk in the layout of COCO: something to train on before any download.

`write_dataset` is the way in. The rooms behind it, from the bottom: body (posture), canvas (shaded solids), people (clothes),
painting (a person on a canvas), labels (what an annotator would note), scenery, scene (one photo), detections, writing (files).
"""

from hrpose.data.synthetic.writing import write_dataset

__all__ = ["write_dataset"]
