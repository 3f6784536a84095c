"""Keypoint sets: names, edges, mirror pairs, OKS sigmas and the upper body, of the known data sets or of anybody's own object."""

from collections.abc import Mapping

from hrpose.skeletons.bodies import AIC, COCO, CROWDPOSE, HUMANART21, JHMDB, MPII
from hrpose.skeletons.skeleton import Skeleton, keypoint_key
from hrpose.skeletons.whole_bodies import HALPE, HALPE26, WHOLEBODY, whole_body_parts

__all__ = [
    "AIC",
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
    "keypoint_key",
    "whole_body_parts",
]

KNOWN_SKELETONS: Mapping[str, Skeleton] = {
    skeleton.name: skeleton for skeleton in (COCO, MPII, CROWDPOSE, AIC, HALPE26, HALPE, WHOLEBODY, HUMANART21, JHMDB)
}
"""The skeletons by their names. OCHuman and Human-Art annotate the keypoints of COCO."""
