"""Keypoint sets: names, edges, mirror pairs, OKS sigmas and the upper body, of the known data sets or of anybody's own object."""

from collections.abc import Mapping, Sequence

from hrpose.skeletons.bodies import AIC, COCO, CROWDPOSE, HUMANART21, JHMDB, MPII
from hrpose.skeletons.names import keypoint_key, match_names
from hrpose.skeletons.skeleton import Skeleton
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
    "known_skeleton",
    "match_names",
    "whole_body_parts",
]

KNOWN_SKELETONS: Mapping[str, Skeleton] = {
    skeleton.name: skeleton for skeleton in (COCO, MPII, CROWDPOSE, AIC, HALPE26, HALPE, WHOLEBODY, HUMANART21, JHMDB)
}
"""The skeletons by their names. OCHuman and Human-Art annotate the keypoints of COCO."""


def known_skeleton(name: str, *, flip_pairs: Sequence[Sequence[int | str]] | None = None) -> Skeleton:
    """Give a skeleton of `KNOWN_SKELETONS`.

    Args:
        name: of the skeleton, such as "coco".
        flip_pairs: mirror pairs instead of its own, by name or 0-based index.

    Raises:
        ValueError: if there is no such skeleton, or a pair does not fit it.
    """
    if name not in KNOWN_SKELETONS:
        raise ValueError(f"Expected `name` to be {', '.join(KNOWN_SKELETONS)}, but got {name!r}.")
    known = KNOWN_SKELETONS[name]
    return known if flip_pairs is None else Skeleton.from_dict({**known.to_dict(), "flip_pairs": flip_pairs})
