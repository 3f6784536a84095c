"""Sides and mirror pairs in names of any script, and the same keypoints in two sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.skeletons import COCO, HALPE, WHOLEBODY, keypoint_key, match_names
from hrpose.skeletons.names import read_names

EXCHANGED = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R", "左": "右"}
EXCHANGED |= {right: left for left, right in EXCHANGED.items()}

# Words, tokens of sides and separators in any order, so that many names differ by one token.
PIECES = st.sampled_from(["ear", "Hip", "眼", "нос", "é", "1", "+", "★", "", "_", "-", " ", *EXCHANGED])
NAMES = st.one_of(st.text(min_size=1), st.lists(PIECES, min_size=1, max_size=4).map("".join).filter(bool))
SETS = st.lists(NAMES, min_size=1, max_size=12, unique=True)


def pairs(*names: str) -> list[tuple[str, str]]:
    mirrors = [(index, reading.mirror) for index, reading in enumerate(read_names(names))]
    return [(names[index], names[other]) for index, other in mirrors if other is not None and index < other]


def one_exchanged(name: str) -> set[str]:
    """Yield every name that results from swapping one token."""
    places = [(token, at) for token in EXCHANGED for at in range(len(name)) if name.startswith(token, at)]
    return {name[:at] + EXCHANGED[token] + name[at + len(token) :] for token, at in places}


@given(SETS)
def test_mirroring_twice_is_the_identity(names):
    mirrors = [index if reading.mirror is None else reading.mirror for index, reading in enumerate(read_names((*names,)))]
    assert [mirrors[other] for other in mirrors] == list(range(len(names)))


@given(SETS)
def test_names_that_differ_by_one_side_are_not_both_without_a_pair(names):
    alone = {name for name, reading in zip(names, read_names((*names,)), strict=True) if reading.mirror is None}
    assert {name: alone & one_exchanged(name) for name in alone} == {name: set() for name in alone}


@given(SETS)
def test_the_two_names_of_a_pair_have_opposite_sides(names):
    readings = read_names((*names,))
    opposite = {"left": "right", "right": "left", "middle": "middle"}
    for reading in readings:
        if reading.mirror is not None:
            assert readings[reading.mirror].side == opposite[reading.side]


@given(SETS)
def test_a_set_matches_itself_name_by_name(names):
    assert match_names(names, names) == {index: index for index in range(len(names))}


@given(SETS, SETS)
def test_two_sets_match_one_to_one_and_equal_names_first(names, others):
    matched = match_names(names, others)
    assert len(set(matched.values())) == len(matched)
    assert {names.index(name): others.index(name) for name in {*names} & {*others}}.items() <= matched.items()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        *(("leftear", "rightear"), ("earleft", "earright"), ("LEFTEAR", "RIGHTEAR"), ("LeftEar", "RightEar")),
        *(("lhip", "rhip"), ("LHip", "RHip"), ("Lhip", "Rhip"), ("hipl", "hipr"), ("L_Ear", "R_Ear"), ("l.ear", "r.ear")),
        *(("earL", "earR"), ("left ear", "right ear"), ("Left-Ear", "Right-Ear"), ("Left Ear", "right_ear")),
        *(("1_left", "1_right"), ("forelegL1", "forelegR1"), ("frontleftpaw", "frontrightpaw"), ("flpaw", "frpaw")),
        *(("左眼", "右眼"), ("眼_左", "眼_右"), ("глаз_L", "глаз_R"), ("LEAR", "REAR"), ("left_L1", "right_L1")),
        ("left_eye_left_corner", "right_eye_right_corner"),
    ],
)
def test_a_pair_differs_by_its_side(left, right):
    assert pairs("nose", left, right) == [(left, right)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("left_eye_l left_eye_r right_eye_l right_eye_r", "left_eye_l:right_eye_r left_eye_r:right_eye_l"),
        ("l_ear lear r_ear rear", "l_ear:r_ear lear:rear"),
        ("L_ear l_ear r_ear R_ear", "L_ear:R_ear l_ear:r_ear"),
        ("left light right", "left:right"),
        ("fl fr rl rr", "fl:fr rl:rr"),
        ("lf rf lr rr", "lf:rf lr:rr"),
        ("l+1 r+1 l-1 r-1", "l+1:r+1 l-1:r-1"),
    ],
)
def test_the_most_reliable_pairs_come_first(names, expected):
    assert pairs(*names.split()) == [tuple(pair.split(":")) for pair in expected.split()]


@pytest.mark.parametrize("names", ["Nearear Offear", "1 2", "A a", "p+1 p-1", "鼻 нос", "cleft bright lever", "é è"])
def test_other_names_are_not_a_pair(names):
    assert pairs(*names.split()) == []


def test_a_joined_side_counts_only_in_a_pair():
    assert [reading.side for reading in read_names(("leftear", "rightear", "upright", "cleft"))] == [
        *("left", "right", "middle", "middle")
    ]
    assert [reading.words for reading in read_names(("LHip", "RHip", "lear", "rear", "neck"))] == [
        *(("hip",), ("hip",), ("ear",), ("ear",), ("neck",))
    ]


def test_long_names_are_parsed_in_linear_time():
    pairs("l" * 200_000, "l_" * 100_000)  # takes hours if each letter is tried


@pytest.mark.parametrize("name", ["left_eye", "leftEye", "Left-Eye", "l.eye", "eye_left", "L_EYE", "lefteye", "eye(L)"])
def test_a_keypoint_has_one_key_in_all_spellings(name):
    assert keypoint_key(name) == "lefteye"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("thorax", "neck"), ("upper_neck", "neck"), ("left_eye", "right_eye"), ("eye", "left_eye"), ("toe1", "toe2")),
        *(("鼻", "нос"), ("★", "☆"), ("-", "_"), ("p+1", "p-1"), ("toe_1_2", "toe_12"), ("左眼", "右眼")),
    ],
)
def test_keypoints_of_other_names_have_other_keys(one, other):
    assert keypoint_key(one) != keypoint_key(other)
    assert match_names([one], [other]) == {}


def test_the_top_of_the_head_has_two_names():
    assert keypoint_key("top_head") == keypoint_key("headTop") == keypoint_key("head_top")


def test_one_accent_in_two_encodings_is_one_key():
    assert keypoint_key("genou_\u00e9") == keypoint_key("genou_e\u0301")


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (["A", "a"], ["a"], {1: 0}),
        (["A", "a"], ["A"], {0: 0}),
        (["left_ear", "leftEar"], ["LeftEar"], {}),
        (["rear", "lear", "Rear"], ["rear"], {0: 0}),
        (["nose", "lhip", "rhip"], ["right_hip", "left_hip", "nose"], {0: 2, 1: 1, 2: 0}),
        (["eyeleft", "eyeright"], ["r_eye", "l_eye"], {0: 1, 1: 0}),
        (["face-0", "face-67"], list(HALPE.keypoint_names), {0: 26, 1: 93}),
    ],
)
def test_sets_match_by_name_and_then_by_key(names, others, expected):
    assert match_names(names, others) == expected


def test_the_body_of_a_whole_body_is_that_of_coco():
    assert match_names(COCO.keypoint_names, WHOLEBODY.keypoint_names) == {index: index for index in range(17)}
