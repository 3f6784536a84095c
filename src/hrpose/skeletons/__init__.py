"""Skeletons: names, edges, mirror pairs, OKS sigmas and upper body of keypoint sets, of known data sets or custom ones."""

from hrpose.skeletons.known import (
    AIC,
    ANIMALPOSE,
    AP10K,
    COCO,
    CROWDPOSE,
    HALPE,
    HALPE26,
    HUMANART21,
    JHMDB,
    KNOWN_SKELETONS,
    MPII,
    WHOLEBODY,
    describe_sigmas,
    known_skeleton,
    sigma_sources,
    whole_body_parts,
)
from hrpose.skeletons.names import keypoint_key, match_names
from hrpose.skeletons.skeleton import Skeleton, read_keypoint_names

__all__ = [
    "AIC",
    "ANIMALPOSE",
    "AP10K",
    "COCO",
    "CROWDPOSE",
    "HALPE",
    "HALPE26",
    "HUMANART21",
    "JHMDB",
    "KNOWN_SKELETONS",
    "MPII",
    "WHOLEBODY",
    "Skeleton",
    "describe_sigmas",
    "keypoint_key",
    "known_skeleton",
    "match_names",
    "read_keypoint_names",
    "sigma_sources",
    "whole_body_parts",
]
