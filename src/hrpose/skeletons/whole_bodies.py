"""The keypoints of data sets of whole bodies: body, feet, the 68 points of a face, the 21 of either hand."""

from collections.abc import Sequence

from hrpose.skeletons.bodies import COCO
from hrpose.skeletons.faces import FACE, FACE_LINES, FACE_RINGS
from hrpose.skeletons.skeleton import Skeleton

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
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


def _hand(side: str) -> tuple[str, ...]:
    """Name the 21 points of a hand: its root, then every finger from the palm to the tip."""
    return (f"{side}_hand_root", *(f"{side}_{finger}{k}" for finger in _FINGERS for k in range(1, 5)))


def _face_edges(first: int) -> tuple[tuple[int, int], ...]:
    """Join the points of a face whose first has the index `first`."""
    steps = [(k, k + 1) for start, end in (*FACE_LINES, *FACE_RINGS) for k in range(start, end)]
    return tuple((first + k, first + other) for k, other in (*steps, *((end, start) for start, end in FACE_RINGS)))


def _hand_edges(wrist: int, root: int) -> tuple[tuple[int, int], ...]:
    """Join a hand to the wrist, and the fingers to its root."""
    palm = [(root, root + 1 + 4 * finger) for finger in range(5)]
    fingers = [(root + 4 * finger + k, root + 4 * finger + k + 1) for finger in range(5) for k in range(1, 4)]
    return ((wrist, root), *palm, *fingers)


WHOLEBODY = Skeleton.from_names(
    (*COCO.keypoint_names, *_FEET, *FACE, *_hand("left"), *_hand("right")),
    name="wholebody",
    edges=(
        *COCO.edges,
        *((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22)),
        *_face_edges(23),
        *_hand_edges(9, 91),
        *_hand_edges(10, 112),
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
    (*HALPE26.keypoint_names, *FACE, *_hand("left"), *_hand("right")),
    name="halpe",
    edges=(*HALPE26.edges, *_face_edges(26), *_hand_edges(9, 94), *_hand_edges(10, 115)),
    # the same file; an older copy of it under cocoapi/ has 0.025 for the very last keypoint
    sigmas=(*HALPE26.sigmas, *(0.015,) * (68 + 42)),
)
"""The 136 keypoints of Halpe full body (Li et al., CVPR 2020): 26 of body and feet, 68 of the face, 21 of a hand."""


def whole_body_parts(keypoint_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Part a whole body as its benchmarks do, each part being measured on its own too.

    Args:
        keypoint_names: of any skeleton.

    Returns:
        The indices of body, foot, face, left hand and right hand; nothing for a skeleton without the 68 points of a face.
    """
    if not set(FACE) <= set(keypoint_names):
        return {}
    part_of = {
        **dict.fromkeys(_FEET, "foot"),
        **dict.fromkeys(FACE, "face"),
        **dict.fromkeys(_hand("left"), "left hand"),
        **dict.fromkeys(_hand("right"), "right hand"),
    }
    parts: dict[str, list[int]] = {name: [] for name in ("body", "foot", "face", "left hand", "right hand")}
    for index, name in enumerate(keypoint_names):
        parts[part_of.get(name, "body")].append(index)
    return {name: tuple(indices) for name, indices in parts.items()}
