"""Names beside a picture: each in the column of its side, in order, apart; numbers where there is room."""

import numpy as np
import pytest
from callouts import _free_places, _spread, _two_columns, draw_callouts, draw_numbers

from hrpose.skeletons import COCO, Skeleton
from hrpose.visualize import draw_poses

PAPER = np.full((240, 200, 3), 230, np.uint8)


def somebody() -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 180, (17, 2))
    points[0, 0] = 99.5
    return points


@pytest.mark.parametrize(
    ("wanted", "spread"),
    [
        ([50, 100, 150], [50, 100, 150]),
        ([100, 100], [95, 105]),
        ([100, 101, 102], [91, 101, 111]),
        ([0, 2, 200], [5, 15, 200]),
        ([239, 239], [225, 235]),
    ],
)
def test_names_are_moved_apart_as_little_as_possible(wanted, spread) -> None:
    assert _spread(np.array(wanted, float), 10, 240).tolist() == pytest.approx(spread)


def test_more_names_than_fit_stand_closer() -> None:
    heights = _spread(np.full(40, 120.0), 10, 240)
    assert np.ptp(np.diff(heights)) == pytest.approx(0, abs=1e-9)
    assert heights[0] >= 0
    assert heights[-1] <= 240


def test_a_column_has_the_names_of_its_half_from_top_to_bottom() -> None:
    points = somebody()
    left, right = _two_columns(points, range(17), 99.5)
    assert sorted(left + right) == list(range(17))
    for column in (left, right):
        assert (np.diff(points[column, 1]) >= 0).all()
    assert all(points[k, 0] < 99.5 for k in left if k)
    assert all(points[k, 0] > 99.5 for k in right if k)


def test_callouts_widen_the_picture_and_leave_the_person_as_it_is() -> None:
    points = somebody()
    drawn = draw_callouts(PAPER, points, COCO, indices=[5, 7, 9])
    margin = (drawn.shape[1] - 200) // 2
    assert drawn.shape == (240, 200 + 2 * margin, 3)
    assert (drawn[:, :margin] != 230).any() or (drawn[:, -margin:] != 230).any()
    seen = np.zeros(17)
    seen[[5, 7, 9]] = 2
    person = draw_poses(
        np.pad(PAPER, ((0, 0), (margin, margin), (0, 0)), constant_values=230),
        points + np.array([margin, 0]),
        COCO,
        visibility=seen,
    )
    dots = (person != 230).any(axis=2)
    dots[:, :margin] = dots[:, -margin:] = False
    assert (drawn[dots] == person[dots]).mean() > 0.95  # lines end below the dots, and shine through their soft edges
    assert (PAPER == 230).all()


def test_numbers_cover_neither_each_other_nor_a_dot() -> None:
    points = np.stack(np.meshgrid(np.arange(40, 200, 40.0), np.arange(40, 200, 40.0)), axis=-1).reshape(-1, 2)
    sizes = np.tile([20.0, 12.0], (16, 1))
    places = _free_places(points, sizes, (240, 240, 3))
    apart = (np.abs(places[:, None] - places) >= (sizes[0])).any(axis=-1) | np.eye(16, dtype=bool)
    assert apart.all()
    assert (np.abs(places[:, None] - points) > sizes[0] / 2).any(axis=-1).all()
    assert ((places > sizes / 2) & (places < 240 - sizes / 2)).all()
    assert np.linalg.norm(places - points, axis=1).max() < 40


def test_numbers_are_drawn_for_what_is_asked_alone() -> None:
    skeleton = Skeleton.from_names(["nose", "neck"], sigmas=[0.1, 0.1])
    points = np.array([[60.0, 60.0], [140.0, 180.0]])
    drawn = draw_numbers(PAPER, points, skeleton, indices=[1])
    changed = np.argwhere((drawn != PAPER).any(axis=2))
    assert np.abs(changed - (180, 140)).max() < 45
    with pytest.raises(ValueError, match=r"keypoints \(N, 2, 2\) for the skeleton"):
        draw_numbers(PAPER, points[:1], skeleton, indices=[0])
