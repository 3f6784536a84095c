import logging
import math
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.skeletons import COCO, KNOWN_SKELETONS, MPII, Skeleton, known_skeleton

NAMES = ("head", "near", "off", "tail")


def test_coco_mirror_pairs_are_the_official_ones() -> None:
    assert COCO.flip_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


def test_mpii_mirror_pairs_are_the_official_ones() -> None:
    assert MPII.flip_pairs == ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))


def test_upper_bodies_are_the_official_ones() -> None:
    assert COCO.upper_body == tuple(range(11))
    assert COCO.lower_body == tuple(range(11, 17))
    assert MPII.upper_body == tuple(range(7, 16))
    assert MPII.lower_body == tuple(range(7))


def test_coco_sigmas_are_those_of_the_evaluation_code() -> None:
    tenths = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
    assert COCO.sigmas == pytest.approx([value / 10 for value in tenths])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_ear", "right_ear"),
        ("ear_left", "ear_right"),
        ("l_ear", "r_ear"),
        ("leftEar", "rightEar"),
        ("L Ear", "R Ear"),
        ("leftear", "rightear"),
        ("rear", "lear"),
    ],
)
def test_pairs_are_found_in_common_spellings(left, right) -> None:
    skeleton = Skeleton.from_names(["nose", left, right])
    assert skeleton.flip_permutation == (0, 2, 1)
    assert skeleton.sigmas == (0.026, 0.035, 0.035)


def test_sides_are_those_of_the_names() -> None:
    names = ["nose", "leftEar", "R.ear", "l_knee", "right-knee", "left_right", "upright", "Left", "RIGHT"]
    sides = Skeleton.from_names(names, sigmas=[0.1] * len(names)).sides
    assert sides == ("middle", "left", "right", "left", "right", "middle", "middle", "left", "right")
    assert COCO.sides == ("middle", *("left", "right") * 8)


def test_names_that_only_contain_a_side_are_not_a_pair() -> None:
    assert Skeleton.from_names(["cleft", "bright", "lever"], sigmas=[0.1] * 3).flip_pairs == ()


def test_unknown_names_have_no_upper_body_and_a_warning_about_sigmas(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        skeleton = Skeleton.from_names(["tip", "left_bolt", "right_bolt", "base_1", "base_2"], name="bracket")
    assert skeleton.upper_body == skeleton.lower_body == ()
    assert skeleton.sigmas == (0.05,) * 5
    assert skeleton.flip_permutation == (0, 2, 1, 3, 4)
    assert "tip, left_bolt, right_bolt, base_1, base_2" in caplog.text
    assert "skeleton.sigmas" in caplog.text


def test_a_side_without_counterpart_gives_a_warning(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        skeleton = Skeleton.from_names(["nose", "left_ear"])
    assert skeleton.flip_permutation == (0, 1)
    assert "left_ear" in caplog.text


def test_a_warning_lists_only_the_first_names(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        Skeleton.from_names([f"left_{k}" for k in range(9)], sigmas=[0.1] * 9)
    assert len(caplog.records) == 1
    assert "left_0, left_1, left_2, left_3, left_4 and 4 more" in caplog.text


def test_given_pairs_need_no_counterpart(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        Skeleton.from_names(["left_ear", "other_ear"], sigmas=[0.1] * 2, flip_pairs=[[0, 1]])
    assert caplog.text == ""


def test_joined_sides_have_an_upper_body() -> None:
    assert Skeleton.from_names(["nose", "lefthip", "righthip", "LKnee", "RKnee"]).lower_body == (1, 2, 3, 4)


def test_a_category_gives_names_edges_and_sigmas() -> None:
    skeleton = Skeleton.from_category(
        {"name": "arm", "keypoints": ["shoulder", "elbow", "wrist"], "skeleton": [[1, 2], [2, 3]], "sigmas": [0.1, 0.2, 0.3]}
    )
    assert skeleton.name == "arm"
    assert skeleton.edges == ((0, 1), (1, 2))
    assert skeleton.sigmas == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"name": "person"}, "'person'"),
        ({"name": "x", "keypoints": ["a", "a"]}, "unique keypoint names.*more than once: a"),
        ({"name": "x", "keypoints": ["a", "b"], "sigmas": [0.1]}, "2 positive OKS sigmas"),
        ({"name": "x", "keypoints": ["a", "b"], "sigmas": [0.1, 0]}, "2 positive OKS sigmas"),
        ({"name": "x", "keypoints": "nose"}, "but got 'nose'"),
        ({"name": "x", "keypoints": [{"name": "nose"}]}, r"but got \[{'name': 'nose'}\]"),
        ({"name": "x", "keypoints": [1.5, 2]}, r"but got \[1.5, 2\]"),
    ],
)
def test_an_invalid_category_is_refused(category, message) -> None:
    with pytest.raises(ValueError, match=message):
        Skeleton.from_category(category)


@pytest.mark.parametrize(
    ("edges", "expected", "level"),
    [
        ([[1, 2], [2, 3]], ((0, 1), (1, 2)), None),
        ([[1.0, 3.0]], ((0, 2),), None),
        ([[0, 1], [1, 2]], ((0, 1), (1, 2)), logging.INFO),  # 0-based: a 0 and no 3
        ([["tip", "base"]], ((0, 2),), None),
        (None, (), None),
        ([], (), None),
        ([[0, 3]], (), logging.WARNING),  # a 0 and a 3
        ([[1, 4], [1, 2]], (), logging.WARNING),
        ([[-1, 2]], (), logging.WARNING),
        ([[1, 2], (1,)], (), logging.WARNING),
        ([["tip", "toe"]], (), logging.WARNING),
        ([5], (), logging.WARNING),
        (5, (), logging.WARNING),
        ("ab", (), logging.WARNING),
        ({"from": 1, "to": 2}, (), logging.WARNING),
        ([[True, 2]], (), logging.WARNING),
        ([[math.nan, 2]], (), logging.WARNING),
    ],
)
def test_edges_are_read_or_dropped_with_one_warning(edges, expected, level, caplog) -> None:
    category = {"name": "x", "keypoints": ["tip", "middle", "base"], "sigmas": [0.1] * 3, "skeleton": edges}
    with caplog.at_level(logging.INFO):
        assert Skeleton.from_category(category).edges == expected
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])


@pytest.mark.parametrize("names", [array("d", [1, 2]), [1, 2], ["1", "2"], (1.0, "2")])
def test_numbers_are_names(names) -> None:
    assert Skeleton.from_category({"name": "x", "keypoints": names}).keypoint_names == ("1", "2")


def test_many_unknown_names_give_one_short_warning(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        Skeleton.from_names([f"dot {k}" for k in range(1, 295)])
    assert len(caplog.records) == 1
    assert "dot 1, dot 2, dot 3, dot 4, dot 5 and 289 more" in caplog.text


def test_numbers_as_names_give_no_warning_about_sigmas(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        skeleton = Skeleton.from_names([str(k) for k in range(1, 295)])
    assert caplog.records == []
    assert skeleton.lacks_flip_pairs  # the training warns about this


def test_symmetries_are_mirror_pairs() -> None:
    assert Skeleton.from_category(category(symmetries=[["near", "off"]])).flip_pairs == ((1, 2),)
    assert Skeleton.from_category(category(symmetries=[[0, 3]], flip_pairs=[[1, 2]])).flip_pairs == ((1, 2),)


@pytest.mark.parametrize("skeleton", [COCO, MPII, Skeleton.from_names(["nose", "neck"])])
def test_a_skeleton_survives_plain_containers(skeleton) -> None:
    assert Skeleton.from_dict(skeleton.to_dict()) == skeleton


def skeleton(pairs=None) -> Skeleton:
    return Skeleton.from_names(NAMES, sigmas=[0.1] * 4, flip_pairs=pairs)


def category(**entries) -> dict[str, object]:
    return {"name": "horse", "keypoints": list(NAMES), "sigmas": [0.1] * 4, **entries}


@pytest.mark.parametrize("pairs", [[["near", "off"]], [[2, 1]], [("near", 2)], ((1, 2),)])
def test_pairs_are_given_by_name_or_index(pairs):
    found = skeleton(pairs)
    assert found.flip_pairs == ((1, 2),)
    assert found.flip_permutation == (0, 2, 1, 3)
    assert Skeleton.from_category(category(flip_pairs=pairs)).flip_permutation == (0, 2, 1, 3)


def test_given_pairs_have_precedence_over_names():
    assert Skeleton.from_names(["left", "right", "top"], sigmas=[0.1] * 3, flip_pairs=[["right", "top"]]).flip_pairs == ((1, 2),)
    assert known_skeleton("coco", flip_pairs=[["nose", "left_eye"]]).flip_pairs == ((0, 1),)
    assert known_skeleton("coco") is COCO


@given(st.permutations(range(4)))
def test_a_flip_idx_is_accepted_if_it_is_its_own_inverse(order):
    if [order[k] for k in order] == [0, 1, 2, 3]:
        assert Skeleton.from_category(category(flip_idx=order)).flip_permutation == tuple(order)
    else:
        with pytest.raises(ValueError, match="`flip_idx` of skeleton 'horse'"):
            Skeleton.from_category(category(flip_idx=order))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3))
def test_pairs_make_a_permutation_that_is_its_own_inverse_or_are_refused(pairs):
    flat = [index for pair in pairs for index in pair]
    if len(set(flat)) == len(flat):
        flip = skeleton(pairs).flip_permutation
        assert [flip[k] for k in flip] == [0, 1, 2, 3]
        assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in skeleton(pairs).flip_pairs}
    else:
        with pytest.raises(ValueError, match="in at most one pair"):
            skeleton(pairs)


def test_a_flip_idx_may_have_keypoint_names():
    assert Skeleton.from_category(category(flip_idx=["head", "off", "near", "tail"])).flip_pairs == ((1, 2),)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"flip_pairs": [[1, 4]]}, "indices from 0 to 3, but found 4"),
        ({"flip_pairs": [[-1, 2]]}, "but found -1"),
        ({"flip_pairs": [[1, True]]}, "but found True"),
        ({"flip_pairs": [[1, 1.5]]}, "but found 1.5"),
        ({"flip_pairs": [[1, 2], [2, 3]]}, "but found 2 ('off') more than once"),
        ({"flip_pairs": [[1, 1]]}, "but found 1 ('near') more than once"),
        ({"flip_pairs": [["near", "of"]]}, "found 'of', which is not a keypoint. Did you mean 'off'?"),
        ({"flip_pairs": ["near", "off"]}, "but found ['near', 'off']"),
        ({"flip_pairs": [[1, 2, 3]]}, "but found [[1, 2, 3]]"),
        ({"flip_pairs": 3}, "but found 3"),
        ({"flip_idx": [0, 2, 1]}, "each of its 4 keypoints, but found [0, 2, 1]"),
        ({"flip_idx": [0, 2, 2, 3]}, "found 2 ('off') for 1 ('near') and 2 ('off') for 2"),
        ({"flip_idx": [1, 2, 0, 3]}, "found 1 ('near') for 0 ('head') and 2 ('off') for 1"),
        ({"flip_idx": [0, 4, 1, 3]}, "but found 4"),
        ({"flip_idx": [0, 2, 1, 3], "flip_pairs": [[0, 3]]}, "to be equal, but found ((0, 3),) and ((1, 2),)"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(entries, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Skeleton.from_category(category(**entries))


def test_the_constructor_checks_its_pairs_too():
    parts = {"name": "x", "keypoint_names": NAMES, "edges": (), "sigmas": (0.1,) * 4, "upper_body": ()}
    assert Skeleton(**parts, flip_pairs=((2, 1),)).flip_pairs == ((1, 2),)
    with pytest.raises(ValueError, match="more than once"):
        Skeleton(**parts, flip_pairs=((1, 2), (2, 3)))


def test_flip_pairs_are_lacking_only_if_none_were_given():
    assert skeleton().lacks_flip_pairs
    assert not skeleton([]).lacks_flip_pairs
    assert not Skeleton.from_category(category(flip_idx=[0, 1, 2, 3])).lacks_flip_pairs
    assert not Skeleton.from_names(["tip"], sigmas=[0.1]).lacks_flip_pairs
    assert not any(known.lacks_flip_pairs for known in KNOWN_SKELETONS.values())


@pytest.mark.parametrize("pairs", [None, [], [["head", "tail"]]])
def test_pairs_survive_in_plain_containers(pairs):
    again = Skeleton.from_dict(skeleton(pairs).to_dict())
    assert again == skeleton(pairs)
    assert again.lacks_flip_pairs == skeleton(pairs).lacks_flip_pairs
    assert again.to_dict() == skeleton(pairs).to_dict()


def test_older_containers_without_pairs_find_them_in_the_names():
    content = {key: value for key, value in COCO.to_dict().items() if key != "flip_pairs"}
    assert Skeleton.from_dict(content) == COCO


def test_an_unknown_skeleton_is_refused():
    with pytest.raises(ValueError, match="'cocoa'"):
        known_skeleton("cocoa")


@pytest.mark.parametrize("sigmas", [3, "0.1", [0.1, "x"], [0.1, None], {"a": 1}, [0.1, 1e400]])
def test_sigmas_of_a_category_are_a_list_of_numbers(sigmas):
    with pytest.raises(ValueError, match="`sigmas` of skeleton 'mouse'"):
        Skeleton.from_category({"name": "mouse", "keypoints": ["nose", "tail"], "sigmas": sigmas})
