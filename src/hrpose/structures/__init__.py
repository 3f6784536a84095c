"""The records that flow through hrpose: from the annotation file to the poses."""

from hrpose.structures.batches import Batch, Crop, CropBatch, RawBatch, Sample
from hrpose.structures.poses import Poses
from hrpose.structures.tables import GroundTruth, InstanceTable, MpiiTruth, PackedStrings

__all__ = [
    "Batch",
    "Crop",
    "CropBatch",
    "GroundTruth",
    "InstanceTable",
    "MpiiTruth",
    "PackedStrings",
    "Poses",
    "RawBatch",
    "Sample",
]
