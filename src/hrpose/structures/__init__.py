"""The records that flow through hrpose: from the annotation file to the poses."""

from hrpose.structures.batches import Batch, Crop, CropBatch, RawBatch, Sample
from hrpose.structures.poses import Poses, rescore, result_rows
from hrpose.structures.tables import (
    GroundTruth,
    InstanceTable,
    MpiiTruth,
    PackedStrings,
    SharedArrays,
    exact_int64,
    exact_integer,
)

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
    "SharedArrays",
    "exact_int64",
    "exact_integer",
    "rescore",
    "result_rows",
]
