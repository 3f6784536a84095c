"""Mirror pairs that are given."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.skeletons import COCO, KNOWN_SKELETONS, Skeleton, known_skeleton

NAMES = ("head", "near", "off", "tail")


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


def test_given_pairs_win_over_names():
    assert Skeleton.from_names(
        ["left", "right", "top"], sigmas=[0.1] * 3, flip_pairs=[["right", "top"]]
    ).flip_pairs == ((1, 2),)
    assert known_skeleton("coco", flip_pairs=[["nose", "left_eye"]]).flip_pairs == ((0, 1),)
    assert known_skeleton("coco") is COCO


@given(st.permutations(range(4)))
def test_an_order_is_taken_if_it_is_its_own_inverse(order):
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
        with pytest.raises(ValueError, match="each in one pair at most"):
            skeleton(pairs)


def test_an_order_may_name_keypoints():
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
        ({"flip_pairs": [["near", "of"]]}, "found 'of', which is none of them. Did you mean 'off'?"),
        ({"flip_pairs": ["near", "off"]}, "but found ['near', 'off']"),
        ({"flip_pairs": [[1, 2, 3]]}, "but found [[1, 2, 3]]"),
        ({"flip_pairs": 3}, "but found 3"),
        ({"flip_idx": [0, 2, 1]}, "each of its 4 keypoints, but found [0, 2, 1]"),
        ({"flip_idx": [0, 2, 2, 3]}, "found 2 ('off') for 1 ('near') and 2 ('off') for 2"),
        ({"flip_idx": [1, 2, 0, 3]}, "found 1 ('near') for 0 ('head') and 2 ('off') for 1"),
        ({"flip_idx": [0, 4, 1, 3]}, "but found 4"),
        ({"flip_idx": [0, 2, 1, 3], "flip_pairs": [[0, 3]]}, "the same pairs, but found ((0, 3),) and ((1, 2),)"),
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


def test_only_pairs_that_nobody_gave_are_lacking():
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
    with pytest.raises(ValueError, match=r"to be coco, mpii, .* but got 'cocoa'"):
        known_skeleton("cocoa")
