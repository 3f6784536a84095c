"""Augmentations of the crop: equal to the official ones when fed the recorded draws."""

from pathlib import Path

import numpy as np
import pytest

from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import Crop

CROP = Crop(np.array([50.0, 60.0]), np.array([75.0, 100.0]))
MPII_UPPER, MPII_LOWER = tuple(range(7, 16)), tuple(range(7))  # the official halves: the pelvis is in the lower one


class Recorded:
    """Gives recorded draws back in their order, and refuses any other kind or order."""

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


def test_half_body_draws_only_for_persons_with_enough_keypoints() -> None:
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


def test_half_body_does_nothing_without_two_halves() -> None:
    hand = Skeleton.from_names(["thumb", "index", "ring"], sigmas=[0.1] * 3)
    half_body = HalfBody(1.0, min_visible=0).for_skeleton(hand)
    assert half_body(CROP, np.ones((3, 2)), np.ones(3, np.uint8), Recorded()) is CROP


def test_half_body_of_no_extent_is_no_crop() -> None:
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


def test_rotation_draws_no_angle_when_it_does_not_turn() -> None:
    assert RandomRotation(45)(CROP, None, None, Recorded(("uniform", 0.61))) is CROP


def test_flip_mirrors_half_of_the_crops_and_keeps_the_center() -> None:
    flipped = RandomFlip()(CROP, None, None, Recorded(("uniform", 0.49)))
    assert flipped.flip
    np.testing.assert_array_equal(flipped.center, CROP.center)
    assert RandomFlip()(CROP, None, None, Recorded(("uniform", 0.51))) is CROP


def test_crops_are_never_written_into() -> None:
    crop = Crop(CROP.center.copy(), CROP.scale.copy())
    rng = np.random.default_rng(0)
    for transform in (HalfBody(1.0).for_skeleton(COCO), RandomScale(), RandomRotation(), RandomFlip()):
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
