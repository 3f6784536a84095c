"""The keypoints of data sets of bodies: names as in their files, pairs and sigmas as published."""

import pytest

from hrpose.skeletons import AIC, COCO, CROWDPOSE, HUMANART21, JHMDB, KNOWN_SKELETONS, MPII, Skeleton
from published_keypoints import COCO_PAIRS, COCO_SIGMAS, pieces

# `keypoints` of the category, as the annotation files of the data sets have it.
NAMES_IN_FILES = {
    "crowdpose": "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip "
    "left_knee right_knee left_ankle right_ankle head neck",
    "aic": "Right_Shoulder Right_Elbow Right_Wrist Left_Shoulder Left_Elbow Left_Wrist Right_Hip Right_Knee Right_Ankle "
    "Left_Hip Left_Knee Left_Ankle Head_top Neck",
    "jhmdb": "neck belly head right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow right_knee "
    "left_knee right_wrist left_wrist right_ankle left_ankle",
}
PAIRS = {
    "coco": COCO_PAIRS,
    "mpii": ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    "crowdpose": ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
    "aic": ((0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)),
    "jhmdb": ((3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14)),
    "humanart21": (*COCO_PAIRS, (17, 18), (19, 20)),
}
# As MMPose's configs/_base_/datasets have them, which was read beside the evaluation code of the data sets.
SIGMAS = {
    "coco": COCO_SIGMAS,
    "crowdpose": (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    "aic": (
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941),
        *(0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
    ),
    "jhmdb": (
        *(0.025, 0.107, 0.025, 0.079, 0.079, 0.107, 0.107, 0.072, 0.072, 0.087, 0.087, 0.062, 0.062, 0.089, 0.089),
    ),
    "humanart21": (*COCO_SIGMAS, 0.089, 0.089, 0.089, 0.089),
}
BODIES = (COCO, MPII, CROWDPOSE, AIC, JHMDB, HUMANART21)


@pytest.mark.parametrize(
    ("skeleton", "count"),
    [(COCO, 17), (MPII, 16), (CROWDPOSE, 14), (AIC, 14), (JHMDB, 15), (HUMANART21, 21)],
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
def test_edges_make_one_figure_and_its_mirror_image_is_itself(skeleton: Skeleton) -> None:
    assert pieces(skeleton, set(range(skeleton.num_keypoints))) == 1
    flip = skeleton.flip_permutation
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset((flip[start], flip[end])) for start, end in skeleton.edges} == edges
    assert len(edges) == len(skeleton.edges)


@pytest.mark.parametrize("skeleton", BODIES, ids=lambda skeleton: skeleton.name)
def test_hips_and_what_is_below_are_the_lower_half(skeleton: Skeleton) -> None:
    below = ("hip", "knee", "ankle", "pelvis", "toe")
    lower = [name for name in skeleton.keypoint_names if name.rpartition("_")[2] in below]
    assert [skeleton.keypoint_names[k] for k in skeleton.lower_body] == lower
