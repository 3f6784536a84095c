"""The records of hrpose, from the annotation file to the poses."""

from hrpose.structures.batches import Batch, Crop, CropBatch, ImageBatch, RawBatch, Sample, WholeImageBatch
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
    "ImageBatch",
    "InstanceTable",
    "MpiiTruth",
    "PackedStrings",
    "Poses",
    "RawBatch",
    "Sample",
    "SharedArrays",
    "WholeImageBatch",
    "exact_int64",
    "exact_integer",
    "rescore",
    "result_rows",
]
