"""The skeletons of known data sets, with the keypoint order of their files and the sigmas of their evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrpose.errors import check_choice, list_names
from hrpose.skeletons.names import FACE
from hrpose.skeletons.skeleton import UNKNOWN_SIGMA, Skeleton, published_sigmas

COCO = Skeleton.from_names(
    (
        "nose",
        *("left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    name="coco",
    edges=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
)
"""The seventeen keypoints of COCO, OCHuman and Human-Art."""

MPII = Skeleton.from_names(
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    name="mpii",
    edges=(
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
        *((8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15)),
    ),
)
"""The sixteen keypoints of MPII."""

CROWDPOSE = Skeleton.from_names(
    (
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "top_head", "neck"),
    ),
    name="crowdpose",
    # the files of the data set name the top of the head "head" and have the edges of COCO, some of them out of range
    edges=(
        *((10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1)),
        *((0, 2), (1, 3), (2, 4), (3, 5), (12, 13), (1, 13), (0, 13)),
    ),
    # crowdposetools/cocoeval.py of Jeff-sjtu/CrowdPose
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
)
"""The fourteen keypoints of CrowdPose (Li et al., CVPR 2019)."""

AIC = Skeleton.from_names(
    (
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck"),
    ),
    name="aic",
    edges=(
        *((2, 1), (1, 0), (0, 13), (13, 3), (3, 4), (4, 5), (8, 7), (7, 6), (6, 9)),
        *((9, 10), (10, 11), (12, 13), (0, 6), (3, 9)),
    ),
    # half of delta in Evaluation/keypoint_eval/keypoint_eval.py of AIChallenger/AI_Challenger_2017
    sigmas=(
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941),
        *(0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
    ),
)
"""The fourteen keypoints of AI Challenger (Wu et al., 2017). Its sigmas are a third of COCO's, so its APs are low."""

JHMDB = Skeleton.from_names(
    (
        *("neck", "belly", "head", "right_shoulder", "left_shoulder", "right_hip", "left_hip"),
        *("right_elbow", "left_elbow", "right_knee", "left_knee", "right_wrist", "left_wrist"),
        *("right_ankle", "left_ankle"),
    ),
    name="jhmdb",
    edges=(
        *((13, 9), (9, 5), (5, 1), (1, 6), (6, 10), (10, 14), (1, 0), (0, 2)),
        *((0, 3), (3, 7), (7, 11), (0, 4), (4, 8), (8, 12)),
    ),
    # MMPose, configs/_base_/datasets/jhmdb.py: COCO's values, because the data set is evaluated by PCK
    sigmas=(*(0.025, 0.107, 0.025, 0.079, 0.079, 0.107, 0.107, 0.072, 0.072, 0.087, 0.087, 0.062, 0.062), *(0.089, 0.089)),
)
"""The fifteen keypoints of JHMDB (Jhuang et al., ICCV 2013)."""

HUMANART21 = Skeleton.from_names(
    (*COCO.keypoint_names, "left_finger", "right_finger", "left_toe", "right_toe"),
    name="humanart21",
    edges=(*COCO.edges, (15, 19), (16, 20), (9, 17), (10, 18)),
    # MMPose, configs/_base_/datasets/humanart21.py; the official code evaluates the seventeen of COCO
    sigmas=(*COCO.sigmas, 0.089, 0.089, 0.089, 0.089),
)
"""The twenty-one keypoints of Human-Art (Ju et al., CVPR 2023), in the field `keypoints_21`."""

AP10K = Skeleton.from_names(
    (
        *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
        *("left_shoulder", "left_elbow", "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw"),
        *("left_hip", "left_knee", "left_back_paw", "right_hip", "right_knee", "right_back_paw"),
    ),
    name="ap10k",
    edges=(
        *((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10)),
        *((4, 11), (11, 12), (12, 13), (4, 14), (14, 15), (15, 16)),
    ),
    # MMPose, configs/_base_/datasets/ap10k.py, which uses COCO's values in this order; the paper states none
    sigmas=(
        *(0.025, 0.025, 0.026, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    upper_body=(0, 1, 2, 3, 5, 6, 7, 8, 9, 10),
)
"""The seventeen keypoints of animals in AP-10K (Yu et al., NeurIPS 2021), for all of its categories."""

ANIMALPOSE = Skeleton.from_names(
    (
        *("left_eye", "right_eye", "left_ear_base", "right_ear_base", "nose", "throat", "tail_base", "withers"),
        *("left_front_elbow", "right_front_elbow", "left_back_elbow", "right_back_elbow"),
        *("left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee"),
        *("left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw"),
    ),
    name="animalpose",
    edges=(
        *((0, 1), (0, 2), (1, 3), (0, 4), (1, 4), (4, 5), (5, 7), (6, 7), (5, 8), (8, 12), (12, 16)),
        *((5, 9), (9, 13), (13, 17), (6, 10), (10, 14), (14, 18), (6, 11), (11, 15), (15, 19)),
    ),
    # MMPose, configs/_base_/datasets/animalpose.py; the paper states none
    sigmas=(
        *(0.025, 0.025, 0.026, 0.035, 0.035, 0.10, 0.10, 0.10, 0.107, 0.107, 0.107, 0.107),
        *(0.087, 0.087, 0.087, 0.087, 0.089, 0.089, 0.089, 0.089),
    ),
    upper_body=(0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17),
)
"""The twenty keypoints of an animal in Animal-Pose (Cao et al., ICCV 2019)."""

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
# index ranges of the open and closed lines of a face
_FACE_LINES = ((0, 16), (17, 21), (22, 26), (27, 30), (31, 35))
_FACE_RINGS = ((36, 41), (42, 47), (48, 59), (60, 67))
_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")

# evaluation/myeval_wholebody.py of jin-s13/COCO-WholeBody
_FACE_SIGMAS = (
    *(0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038),
    *(0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009),
    *(0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007),
    *(0.013, 0.008, 0.011, 0.012, 0.010, 0.034, 0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008),
    *(0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.010, 0.008),
)
_HAND_SIGMAS = (
    *(0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017),
    *(0.021, 0.021, 0.032, 0.020, 0.019, 0.022, 0.031),
)
_FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)


# index pairs of the lines of a face and of a hand from its root, and the names of the 21 points of each hand
_FACE_EDGES = (
    *((k, k + 1) for start, end in (*_FACE_LINES, *_FACE_RINGS) for k in range(start, end)),
    *((end, start) for start, end in _FACE_RINGS),
)
_HAND_EDGES = (
    *((0, 1 + 4 * finger) for finger in range(5)),
    *((4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in range(1, 4)),
)
_LEFT_HAND, _RIGHT_HAND = (
    (f"{side}_hand_root", *(f"{side}_{finger}{k}" for finger in _FINGERS for k in range(1, 5))) for side in ("left", "right")
)

WHOLEBODY = Skeleton.from_names(
    (*COCO.keypoint_names, *_FEET, *FACE, *_LEFT_HAND, *_RIGHT_HAND),
    name="wholebody",
    edges=(
        *COCO.edges,
        *((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22)),
        *((23 + one, 23 + other) for one, other in _FACE_EDGES),
        *((9, 91), *((91 + one, 91 + other) for one, other in _HAND_EDGES)),
        *((10, 112), *((112 + one, 112 + other) for one, other in _HAND_EDGES)),
    ),
    sigmas=(*COCO.sigmas, *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
)
"""The 133 keypoints of COCO-WholeBody (Jin et al., ECCV 2020): 17 of the body, 6 of the feet, 68 of the face, 21 of a hand."""

HALPE26 = Skeleton.from_names(
    (
        *(*COCO.keypoint_names, "head", "neck", "hip"),
        *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
    ),
    name="halpe26",
    edges=(
        *((15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19), (18, 5), (5, 7), (7, 9)),
        *((18, 6), (6, 8), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
        *((15, 20), (15, 22), (15, 24), (16, 21), (16, 23), (16, 25)),
    ),
    # HalpeCOCOAPI/PythonAPI/halpecocotools/cocoeval.py of Fang-Haoshu/Halpe-FullBody. MMPose's halpe26.py cites the same
    # file, but has 0.026 for head and neck, 0.066 for the hip and 0.079 for the feet.
    sigmas=(*COCO.sigmas, 0.08, 0.08, 0.08, *(0.089,) * 6),
)
"""The first 26 keypoints of Halpe, those of body and feet."""

HALPE = Skeleton.from_names(
    (*HALPE26.keypoint_names, *FACE, *_LEFT_HAND, *_RIGHT_HAND),
    name="halpe",
    edges=(
        *HALPE26.edges,
        *((26 + one, 26 + other) for one, other in _FACE_EDGES),
        *((9, 94), *((94 + one, 94 + other) for one, other in _HAND_EDGES)),
        *((10, 115), *((115 + one, 115 + other) for one, other in _HAND_EDGES)),
    ),
    # the same file; an older copy of it under cocoapi/ has 0.025 for the very last keypoint
    sigmas=(*HALPE26.sigmas, *(0.015,) * (68 + 42)),
)
"""The 136 keypoints of Halpe full body (Li et al., CVPR 2020): 26 of body and feet, 68 of the face, 21 of a hand."""


KNOWN_SKELETONS: Mapping[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (COCO, MPII, CROWDPOSE, AIC, HALPE26, HALPE, WHOLEBODY, HUMANART21, JHMDB, AP10K, ANIMALPOSE)
}
"""The skeletons by name."""


def known_skeleton(name: str, *, flip_pairs: Sequence[Sequence[int | str]] | None = None) -> Skeleton:
    """Return a skeleton of `KNOWN_SKELETONS`, optionally with other mirror pairs, by name or 0-based index.

    Raises:
        ValueError: if there is no such skeleton, or a mirror pair is invalid.
    """
    check_choice("name", name, KNOWN_SKELETONS)
    known = KNOWN_SKELETONS[name]
    return known if flip_pairs is None else Skeleton.from_dict({**known.to_dict(), "flip_pairs": flip_pairs})


def sigma_sources(skeleton: Skeleton) -> dict[str, tuple[str, ...]]:
    """Return the keypoints of a skeleton by the source of their OKS sigmas.

    Sources are a known skeleton with the same sigmas, the published sigma of the name, the default for other names, or given
    values.
    """
    for known in KNOWN_SKELETONS.values():
        if known.sigmas == skeleton.sigmas:
            return {f"those of {known.name}": skeleton.keypoint_names}
    sources: dict[str, list[str]] = {}
    names = skeleton.keypoint_names
    for name, sigma, published in zip(names, skeleton.sigmas, published_sigmas(names), strict=True):
        default = f"the default of {UNKNOWN_SIGMA:g} for names without published sigma"
        expected, source = (UNKNOWN_SIGMA, default) if published is None else (published, "published for this name")
        sources.setdefault(source if sigma == expected else "as given", []).append(name)
    return {source: tuple(own) for source, own in sources.items()}


def describe_sigmas(skeleton: Skeleton) -> str:
    """Return the sources of the OKS sigmas in one line."""
    sources = sigma_sources(skeleton)
    parts = sources if len(sources) == 1 else [f"{source}: {list_names(names)}" for source, names in sources.items()]
    return "; ".join(parts)


def whole_body_parts(keypoint_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the indices of body, foot, face, left hand and right hand; empty without the 68 points of a face."""
    if not set(FACE) <= set(keypoint_names):
        return {}
    part_of = {
        **dict.fromkeys(_FEET, "foot"),
        **dict.fromkeys(FACE, "face"),
        **dict.fromkeys(_LEFT_HAND, "left hand"),
        **dict.fromkeys(_RIGHT_HAND, "right hand"),
    }
    parts = [part_of.get(name, "body") for name in keypoint_names]
    return {
        wanted: tuple(index for index, part in enumerate(parts) if part == wanted)
        for wanted in ("body", "foot", "face", "left hand", "right hand")
    }
