"""Augmentations of the crop equal the official ones for recorded draws."""

from pathlib import Path

import numpy as np
import pytest

from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale, ShiftScaleRotate
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import Crop

CROP = Crop(np.array([50.0, 60.0]), np.array([75.0, 100.0]))
MPII_UPPER, MPII_LOWER = tuple(range(7, 16)), tuple(range(7))  # the official halves: the pelvis is in the lower one


class Recorded:
    """Returns recorded draws in their order, and refuses other kinds."""

    def __init__(self, *draws: tuple[str, float]) -> None:
        self.draws = list(draws)

    def _next(self, kind: str) -> float:
        wanted, value = self.draws.pop(0)
        assert kind == wanted
        return value

    def random(self) -> float:
        return self._next("uniform")

    def standard_normal(self) -> float:
        return self._next("normal")


def test_half_body_equals_the_official_one(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "half_body.npz")
    for i in range(len(golden["valid"])):
        count = 16 if golden["is_mpii"][i] else 17
        aspect = golden["aspect"][i]
        crop = Crop(np.array([1.0, 2.0]), np.array([100.0 * aspect, 100.0]))
        halves = (MPII_UPPER, MPII_LOWER) if golden["is_mpii"][i] else (COCO.upper_body, COCO.lower_body)
        half_body = HalfBody(1.0, min_visible=0, upper_body=halves[0], lower_body=halves[1])
        draws = Recorded(("uniform", 0.0), ("normal", golden["draw_randn"][i]))
        found = half_body(crop, golden["joints"][i, :count, :2], golden["joints_vis"][i, :count, 0], draws)
        if golden["valid"][i]:
            np.testing.assert_allclose(found.center, golden["center"][i], rtol=1e-6)
            np.testing.assert_allclose(found.scale / 200, golden["scale"][i], rtol=1e-6)
        else:
            assert found is crop


MMPOSE_HALVES = [  # labelled of the upper and of the lower half, uniform draw, the half that is taken
    (11, 6, 0.69, "upper"),
    (11, 6, 0.71, "lower"),
    (7, 2, 0.99, "upper"),  # two are too few for the lower half
    (2, 6, 0.69, "upper"),  # and enough for the upper one, where the official code wants three
    (2, 6, 0.71, "lower"),
    (1, 6, 0.0, "lower"),
    (1, 2, 0.5, None),
]


@pytest.mark.parametrize(("upper", "lower", "draw", "half"), MMPOSE_HALVES)
def test_half_body_follows_the_rules_of_mmpose(upper: int, lower: int, draw: float, half: str | None) -> None:
    half_body = HalfBody(0.3, min_visible=3, rules="mmpose").for_skeleton(COCO)
    labels = np.zeros(17, np.uint8)
    labels[:upper] = labels[11 : 11 + lower] = 2
    points = np.stack([np.arange(17.0), np.arange(17.0) ** 2], axis=1)
    found = half_body(CROP, points, labels, Recorded(("uniform", 0.29), ("uniform", draw)))
    if half is None:
        assert found is CROP
        return
    chosen = points[:upper] if half == "upper" else points[11 : 11 + lower]
    np.testing.assert_allclose(found.center, chosen.mean(axis=0))
    np.testing.assert_allclose(found.extent, 1.5 * np.ptp(chosen, axis=0))
    assert found.scale[0] / found.scale[1] == pytest.approx(CROP.scale[0] / CROP.scale[1])
    np.testing.assert_array_less(found.extent, found.scale + 1e-9)


def test_half_body_draws_only_for_instances_with_enough_keypoints() -> None:
    half_body = HalfBody(0.3).for_skeleton(COCO)
    points, labels = np.arange(34.0).reshape(17, 2), np.zeros(17, np.uint8)
    labels[:8] = 2
    assert half_body(CROP, points, labels, Recorded()) is CROP
    labels[8] = 1
    assert half_body(CROP, points, labels, Recorded(("uniform", 0.3))) is CROP
    assert half_body(CROP, points, labels, Recorded(("uniform", 0.29), ("normal", 0.0))) is not CROP


def test_half_body_takes_its_halves_from_the_skeleton() -> None:
    half_body = HalfBody().for_skeleton(COCO)
    assert half_body.upper_body == tuple(range(11))
    assert half_body.lower_body == tuple(range(11, 17))
    given = HalfBody(upper_body=(1,), lower_body=(2,))
    assert given.for_skeleton(MPII) is given


def test_half_body_changes_nothing_without_two_halves() -> None:
    hand = Skeleton.from_names(["thumb", "index", "ring"], sigmas=[0.1] * 3)
    half_body = HalfBody(1.0, min_visible=0).for_skeleton(hand)
    assert half_body(CROP, np.ones((3, 2)), np.ones(3, np.uint8), Recorded()) is CROP


def test_half_body_changes_nothing_if_the_half_has_no_extent() -> None:
    half_body = HalfBody(1.0).for_skeleton(COCO)
    draws = Recorded(("uniform", 0.0), ("normal", 0.0))
    assert half_body(CROP, np.ones((17, 2)), np.ones(17, np.uint8), draws) is CROP


@pytest.mark.parametrize(("draw", "factor"), [(0.5, 1.175), (-0.5, 0.825), (3.0, 1.35), (-3.0, 0.65)])
def test_scale_is_clipped(draw: float, factor: float) -> None:
    scaled = RandomScale(0.35)(CROP, None, None, Recorded(("normal", draw)))
    np.testing.assert_allclose(scaled.scale, CROP.scale * factor)
    np.testing.assert_array_equal(scaled.center, CROP.center)


@pytest.mark.parametrize(("draw", "angle"), [(0.5, 22.5), (-0.5, -22.5), (3.0, 90.0), (-3.0, -90.0)])
def test_rotation_is_clipped(draw: float, angle: float) -> None:
    assert RandomRotation(45)(CROP, None, None, Recorded(("uniform", 0.59), ("normal", draw))).rotation == angle


def test_rotation_draws_no_angle_if_it_changes_nothing() -> None:
    assert RandomRotation(45)(CROP, None, None, Recorded(("uniform", 0.61))) is CROP


def test_flip_mirrors_half_of_the_crops_and_keeps_the_center() -> None:
    flipped = RandomFlip()(CROP, None, None, Recorded(("uniform", 0.49)))
    assert flipped.flip
    np.testing.assert_array_equal(flipped.center, CROP.center)
    assert RandomFlip()(CROP, None, None, Recorded(("uniform", 0.51))) is CROP


def test_shift_scale_rotate_equals_mmpose() -> None:
    crop = Crop(CROP.center, CROP.scale, extent=np.array([30.0, 100.0]))
    normals = (0.5, 1.2, -0.25, -3.0, 1.0, 0.75)  # 1.2 and -3 lie outside and are drawn again
    draws = Recorded(*(("normal", value) for value in normals), ("uniform", 0.29), ("uniform", 0.59))
    found = ShiftScaleRotate()(crop, None, None, draws)
    np.testing.assert_allclose(found.center, [50 + 0.16 * 0.5 * 30, 60 - 0.16 * 0.25 * 100])  # of the box as it was drawn
    np.testing.assert_allclose(found.scale, 1.5 * CROP.scale)
    np.testing.assert_allclose(found.extent, [45.0, 150.0])
    assert found.rotation == 60.0
    draws = Recorded(*(("normal", value) for value in (0.5, 0.5, 0.5, 0.5)), ("uniform", 0.31), ("uniform", 0.61))
    still = ShiftScaleRotate()(CROP, None, None, draws)
    np.testing.assert_array_equal(still.center, CROP.center)
    np.testing.assert_allclose(still.scale, 1.25 * CROP.scale)
    assert (still.rotation, still.extent) == (0.0, None)


def test_draws_are_truncated_and_not_clipped() -> None:
    rng, transform = np.random.default_rng(0), ShiftScaleRotate()
    factors = np.array([transform(CROP, None, None, rng).scale[0] / CROP.scale[0] for _ in range(4000)])
    assert (factors > 0.5).all()
    assert (factors < 1.5).all()
    # deviation of the normal distribution cut off at -1 and 1: 0.5396
    assert factors.std() == pytest.approx(0.5 * 0.5396, rel=0.03)
    assert factors.mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": -0.1}, r"`shift`.*ShiftScaleRotate.*0.*-0.1"),
        ({"scale": 1.0}, r"ShiftScaleRotate.*`scale`.*1.*1.0"),
        ({"shift_probability": 2}, r"`shift_probability`.*ShiftScaleRotate.*1.*2"),
    ],
)
def test_shift_scale_rotate_checks_its_numbers(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        ShiftScaleRotate(**arguments)


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`rules`.*HalfBody.*'mine'"):
        HalfBody(rules="mine")


def test_crops_are_not_modified() -> None:
    crop = Crop(CROP.center.copy(), CROP.scale.copy())
    rng = np.random.default_rng(0)
    half_body = HalfBody(1.0).for_skeleton(COCO)
    for transform in (half_body, RandomScale(), RandomRotation(), RandomFlip(), ShiftScaleRotate(shift_probability=1)):
        transform(crop, rng.random((17, 2)), np.ones(17), rng)
    np.testing.assert_array_equal(crop.center, CROP.center)
    np.testing.assert_array_equal(crop.scale, CROP.scale)
    assert (crop.rotation, crop.flip) == (0.0, False)


@pytest.mark.parametrize("transform", [HalfBody, RandomRotation, RandomFlip])
def test_probabilities_are_checked(transform) -> None:
    with pytest.raises(ValueError, match=f"`probability` of {transform.__name__} .* 1.5"):
        transform(probability=1.5)


def test_scale_factor_is_checked() -> None:
    with pytest.raises(ValueError, match="`factor` of RandomScale"):
        RandomScale(1.0)
