"""Convert labels of annotation tools to COCO keypoint files: one module per format, and one writer.

    conversion = convert_labels("my_project/data.yaml")
    print(conversion.describe())

A reader returns `Labels`, in which keypoints have names. `write` writes them as COCO files.
"""

from hrpose.annotations.converters.arrays import write_coco
from hrpose.annotations.converters.formats import FORMATS, convert_labels, recognise
from hrpose.annotations.converters.labelling import write_labels
from hrpose.annotations.converters.write import Conversion

__all__ = ["FORMATS", "Conversion", "convert_labels", "recognise", "write_coco", "write_labels"]
