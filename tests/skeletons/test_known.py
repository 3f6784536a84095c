"""The keypoints of data sets of bodies: names as in their files, pairs and sigmas as published."""

import pytest

from hrpose.skeletons import (
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
    Skeleton,
    describe_sigmas,
    sigma_sources,
    whole_body_parts,
)
from published_keypoints import COCO_PAIRS, COCO_SIGMAS, pieces

# `keypoints` of the category, as the annotation files of the data sets have it.
NAMES_IN_FILES = {
    "crowdpose": "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip "
    "left_knee right_knee left_ankle right_ankle head neck",
    "aic": "Right_Shoulder Right_Elbow Right_Wrist Left_Shoulder Left_Elbow Left_Wrist Right_Hip Right_Knee Right_Ankle "
    "Left_Hip Left_Knee Left_Ankle Head_top Neck",
    "jhmdb": "neck belly head right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow right_knee "
    "left_knee right_wrist left_wrist right_ankle left_ankle",
    "ap10k": "left_eye right_eye nose neck root_of_tail left_shoulder left_elbow left_front_paw right_shoulder right_elbow "
    "right_front_paw left_hip left_knee left_back_paw right_hip right_knee right_back_paw",
}
PAIRS = {
    "coco": COCO_PAIRS,
    "mpii": ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    "crowdpose": ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
    "aic": ((0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)),
    "jhmdb": ((3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14)),
    "humanart21": (*COCO_PAIRS, (17, 18), (19, 20)),
    "ap10k": ((0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16)),
    "animalpose": ((0, 1), (2, 3), (8, 9), (10, 11), (12, 13), (14, 15), (16, 17), (18, 19)),
}
# As MMPose's configs/_base_/datasets have them, which was read beside the evaluation code of the data sets.
SIGMAS = {
    "coco": COCO_SIGMAS,
    "crowdpose": (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    "aic": (
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941),
        *(0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
    ),
    "jhmdb": (*(0.025, 0.107, 0.025, 0.079, 0.079, 0.107, 0.107, 0.072, 0.072, 0.087, 0.087, 0.062, 0.062, 0.089, 0.089),),
    "humanart21": (*COCO_SIGMAS, 0.089, 0.089, 0.089, 0.089),
    "ap10k": (
        *(0.025, 0.025, 0.026, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087),
        *(0.089, 0.089),
    ),
    "animalpose": (
        *(0.025, 0.025, 0.026, 0.035, 0.035, 0.1, 0.1, 0.1, 0.107, 0.107, 0.107, 0.107, 0.087, 0.087, 0.087, 0.087),
        *(0.089, 0.089, 0.089, 0.089),
    ),
}
BODIES = (COCO, MPII, CROWDPOSE, AIC, JHMDB, HUMANART21, AP10K, ANIMALPOSE)
# Of the 68 points of iBUG, as MMPose swaps them.
FACE_PAIRS = (
    *((0, 16), (1, 15), (2, 14), (3, 13), (4, 12), (5, 11), (6, 10), (7, 9)),
    *((17, 26), (18, 25), (19, 24), (20, 23), (21, 22), (31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)),
)
# 17 + 6 + 68 + 21 + 21 numbers, as MMPose has them; read beside evaluation/myeval_wholebody.py of COCO-WholeBody.
WHOLEBODY_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062),
    *(0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.068, 0.066, 0.066),
    *(0.092, 0.094, 0.094, 0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031),
    *(0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041, 0.045),
    *(0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015),
    *(0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017),
    *(0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010),
    *(0.034, 0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009),
    *(0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01),
    *(0.008, 0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035),
    *(0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02, 0.019),
    *(0.022, 0.031, 0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024),
    *(0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02),
    *(0.019, 0.022, 0.031),
)


@pytest.mark.parametrize(
    ("skeleton", "count"),
    [(COCO, 17), (MPII, 16), (CROWDPOSE, 14), (AIC, 14), (JHMDB, 15), (HUMANART21, 21), (AP10K, 17), (ANIMALPOSE, 20)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_names_are_as_many_as_published_and_unique(skeleton: Skeleton, count: int) -> None:
    assert skeleton.num_keypoints == len(set(skeleton.keypoint_names)) == count
    assert KNOWN_SKELETONS[skeleton.name] is skeleton


@pytest.mark.parametrize("name", NAMES_IN_FILES)
def test_names_and_their_order_are_those_of_the_files(name: str) -> None:
    names = list(KNOWN_SKELETONS[name].keypoint_names)
    assert [{"top_head": "head"}.get(name, name) for name in names] == NAMES_IN_FILES[name].lower().split()


@pytest.mark.parametrize("name", PAIRS)
def test_mirror_pairs_are_the_published_ones(name: str) -> None:
    skeleton = KNOWN_SKELETONS[name]
    assert skeleton.flip_pairs == PAIRS[name]
    assert [skeleton.flip_permutation[k] for k in skeleton.flip_permutation] == list(range(skeleton.num_keypoints))


@pytest.mark.parametrize("name", SIGMAS)
def test_sigmas_are_the_published_ones(name: str) -> None:
    assert KNOWN_SKELETONS[name].sigmas == SIGMAS[name]


@pytest.mark.parametrize("skeleton", BODIES, ids=lambda skeleton: skeleton.name)
def test_edges_are_connected_and_symmetric(skeleton: Skeleton) -> None:
    assert pieces(skeleton, set(range(skeleton.num_keypoints))) == 1
    flip = skeleton.flip_permutation
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset((flip[start], flip[end])) for start, end in skeleton.edges} == edges
    assert len(edges) == len(skeleton.edges)


@pytest.mark.parametrize("skeleton", BODIES[:-2], ids=lambda skeleton: skeleton.name)
def test_hips_and_legs_are_the_lower_body(skeleton: Skeleton) -> None:
    below = ("hip", "knee", "ankle", "pelvis", "toe")
    lower = [name for name in skeleton.keypoint_names if name.rpartition("_")[2] in below]
    assert [skeleton.keypoint_names[k] for k in skeleton.lower_body] == lower


def shifted(pairs: tuple[tuple[int, int], ...], first: int) -> tuple[tuple[int, int], ...]:
    return tuple((first + one, first + other) for one, other in pairs)


def both_hands(left: int, right: int) -> tuple[tuple[int, int], ...]:
    return tuple((left + k, right + k) for k in range(21))


@pytest.mark.parametrize(
    ("skeleton", "count"), [(WHOLEBODY, 133), (HALPE, 136), (HALPE26, 26)], ids=lambda value: getattr(value, "name", "")
)
def test_names_are_as_many_as_published_and_unique_for_whole_bodies(skeleton: Skeleton, count: int) -> None:
    assert skeleton.num_keypoints == len(set(skeleton.keypoint_names)) == count
    assert skeleton.keypoint_names[:17] == COCO.keypoint_names
    assert KNOWN_SKELETONS[skeleton.name] is skeleton


def test_parts_begin_where_the_fields_of_wholebody_begin() -> None:
    assert WHOLEBODY.keypoint_names[17:23] == (
        *("left_big_toe", "left_small_toe", "left_heel"),
        *("right_big_toe", "right_small_toe", "right_heel"),
    )
    starts = {23: "right_jaw_1", 31: "chin", 39: "left_jaw_1", 53: "nose_bridge_4", 91: "left_hand_root", 112: "right_hand_root"}
    assert {k: WHOLEBODY.keypoint_names[k] for k in starts} == starts
    assert WHOLEBODY.keypoint_names[92:97] == ("left_thumb1", "left_thumb2", "left_thumb3", "left_thumb4", "left_forefinger1")
    assert WHOLEBODY.keypoint_names[132] == "right_pinky_finger4"


def test_parts_begin_where_halpe_says() -> None:
    assert HALPE.keypoint_names[17:26] == (
        *("head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe"),
        *("left_heel", "right_heel"),
    )
    starts = {
        26: "right_jaw_1",
        93: "right_inner_lower_lip",
        94: "left_hand_root",
        115: "right_hand_root",
        135: "right_pinky_finger4",
    }
    assert {k: HALPE.keypoint_names[k] for k in starts} == starts
    assert HALPE26.keypoint_names == HALPE.keypoint_names[:26]


def test_mirror_pairs_are_the_published_ones_for_whole_bodies() -> None:
    halpe26 = (*COCO_PAIRS, (20, 21), (22, 23), (24, 25))
    assert HALPE26.flip_pairs == halpe26
    assert HALPE.flip_pairs == (*halpe26, *shifted(FACE_PAIRS, 26), *both_hands(94, 115))
    feet = ((17, 20), (18, 21), (19, 22))
    assert WHOLEBODY.flip_pairs == (*COCO_PAIRS, *feet, *shifted(FACE_PAIRS, 23), *both_hands(91, 112))
    for skeleton in (WHOLEBODY, HALPE, HALPE26):
        flip = skeleton.flip_permutation
        assert [flip[k] for k in flip] == list(range(skeleton.num_keypoints))


def test_sigmas_are_the_published_ones_for_whole_bodies() -> None:
    assert WHOLEBODY.sigmas == WHOLEBODY_SIGMAS
    assert HALPE26.sigmas == (*COCO_SIGMAS, 0.08, 0.08, 0.08, *(0.089,) * 6)
    assert HALPE.sigmas == (*HALPE26.sigmas, *(0.015,) * 110)


@pytest.mark.parametrize(("skeleton", "face"), [(WHOLEBODY, 23), (HALPE, 26)], ids=["wholebody", "halpe"])
def test_edges_of_whole_bodies_are_connected_and_include_face_lines(skeleton: Skeleton, face: int) -> None:
    features = set(range(face, face + 68))
    assert pieces(skeleton, set(range(skeleton.num_keypoints)) - features) == 1
    assert pieces(skeleton, features) == 9  # jaw, brows, nose and nostrils; eyes, lips outside and inside
    flip = skeleton.flip_permutation
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset((flip[start], flip[end])) for start, end in skeleton.edges} == edges
    assert len(edges) == len(skeleton.edges)


def test_feet_are_lower_face_and_hands_upper_body() -> None:
    assert WHOLEBODY.lower_body == tuple(range(11, 23))
    assert HALPE.lower_body == (*range(11, 17), *range(19, 26))


@pytest.mark.parametrize(
    ("skeleton", "counts"), [(WHOLEBODY, (17, 6, 68, 21, 21)), (HALPE, (20, 6, 68, 21, 21))], ids=["wholebody", "halpe"]
)
def test_a_whole_body_has_five_parts(skeleton: Skeleton, counts: tuple[int, ...]) -> None:
    parts = whole_body_parts(skeleton.keypoint_names)
    assert list(parts) == ["body", "foot", "face", "left hand", "right hand"]
    assert tuple(map(len, parts.values())) == counts
    assert sorted(k for part in parts.values() for k in part) == list(range(skeleton.num_keypoints))


def test_a_body_without_face_has_no_parts() -> None:
    assert whole_body_parts(COCO.keypoint_names) == whole_body_parts(HALPE26.keypoint_names) == {}


def test_the_source_of_each_sigma_is_stated() -> None:
    assert sigma_sources(CROWDPOSE) == {"those of crowdpose": CROWDPOSE.keypoint_names}
    skeleton = Skeleton.from_names(["nose", "left_ear", "tail"])
    (published, default) = sigma_sources(skeleton).items()
    assert published == ("published for this name", ("nose", "left_ear"))
    assert default[1] == ("tail",)
    assert "0.05" in default[0]
    given = Skeleton.from_names(["nose", "tail"], sigmas=[0.026, 0.2])
    assert sigma_sources(given) == {"published for this name": ("nose",), "as given": ("tail",)}
    assert describe_sigmas(given) == "published for this name: nose; as given: tail"
    assert describe_sigmas(COCO) == "those of coco"
