"""The 1 Euro filter equals its paper, and reduces the jitter of walking people without lag."""

import math
from dataclasses import replace

import numpy as np
import pytest
from walks import network_poses

from hrpose.tracking import OneEuroFilter, PoseSmoother


def paper(values, times, min_cutoff, beta, derivative_cutoff):
    """Compute algorithms 1 to 3 of the paper for one number."""

    def alpha(rate, cutoff):
        return 1.0 / (1.0 + rate / (2 * math.pi * cutoff))

    hat_x, hat_dx, out = values[0], 0.0, [values[0]]
    for before, now, x in zip(times, times[1:], values[1:], strict=False):
        rate = 1.0 / (now - before)
        hat_dx += alpha(rate, derivative_cutoff) * ((x - hat_x) * rate - hat_dx)
        hat_x += alpha(rate, min_cutoff + beta * abs(hat_dx)) * (x - hat_x)
        out.append(hat_x)
    return out


@pytest.mark.parametrize("settings", [(1.0, 0.0, 1.0), (0.3, 0.7, 2.0), (5.0, 0.01, 0.5)])
def test_the_filter_equals_the_paper_at_any_times(settings):
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.01, 0.2, 40)).tolist()
    values = rng.normal(size=(40, 3, 2)).cumsum(axis=0)
    names = dict(zip(("min_cutoff", "beta", "derivative_cutoff"), settings, strict=True))
    euro = OneEuroFilter(**names)
    filtered = np.array([euro(value, time) for value, time in zip(values, times, strict=True)])
    for place in np.ndindex(3, 2):
        expected = paper(values[(slice(None), *place)].tolist(), times, *settings)
        np.testing.assert_allclose(filtered[(slice(None), *place)], expected, rtol=1e-12)


def test_the_lag_of_a_ramp_is_that_of_a_low_pass():
    """Without beta the share of the new value is a = 1 / (1 + 1 / (2 pi fc T)); the lag settles at v T (1 - a) / a."""
    euro, step, speed = OneEuroFilter(min_cutoff=2.0), 0.04, 50.0
    for frame in range(200):
        filtered = euro(speed * step * frame, step * frame)
    assert speed * step * 199 - float(filtered) == pytest.approx(speed / (2 * math.pi * 2.0))


def test_beta_reduces_the_lag_of_fast_motion_relative_to_scale():
    def lag(beta, scale):
        euro = OneEuroFilter(beta=beta)
        return 100.0 - float([euro(frame, frame * 0.04, scale=scale) for frame in range(101)][-1])

    assert lag(0.0, 1.0) > 2 * lag(0.1, 1.0) > 4 * lag(10.0, 1.0)
    assert lag(10.0, 100.0) == pytest.approx(lag(0.1, 1.0))


def test_missing_values_stay_nan_and_a_gap_resets_the_filter():
    euro = OneEuroFilter(max_gap=1.0)
    euro([0.0, 0.0], 0.0)
    assert np.isnan(euro([np.nan, 1.0], 0.5)).tolist() == [True, False]
    third = euro([10.0, 1.0], 0.9)
    assert 0 < third[0] < 10  # still the old one
    assert third[0] == pytest.approx(10 / (1 + 1 / (2 * math.pi * 0.9)))  # over the whole time that has passed
    assert euro([20.0, np.nan], 5.0)[0] == 20.0


def test_earlier_times_and_other_shapes_are_refused():
    euro = OneEuroFilter()
    euro([0.0], 1.0)
    with pytest.raises(ValueError, match="1 s"):
        euro([0.0], 1.0)
    with pytest.raises(ValueError, match=r"\(1,\).*\(2,\)"):
        euro([0.0, 0.0], 2.0)


@pytest.mark.parametrize("name", ["min_cutoff", "derivative_cutoff", "max_gap"])
@pytest.mark.parametrize("kind", [OneEuroFilter, PoseSmoother])
def test_arguments_out_of_range_are_refused(kind, name):
    with pytest.raises(ValueError, match="to be positive"):
        kind(**{name: 0.0})
    with pytest.raises(ValueError, match="at least 0"):
        kind(beta=-1.0)


def errors(films, *, standing):
    """Smooth what a network would say; give the errors (n, 2) before and after, in heights of the person, frame by frame.

    Returns:
        The errors, and how they change from one frame to the next.
    """
    levels, changes = [], []
    for seed, film in enumerate(films):
        rng, smooth, before = np.random.default_rng(seed), PoseSmoother(), {}
        for frame in film:
            shown = replace(film[20], time=frame.time) if standing else frame
            given = network_poses(shown, rng)
            found = smooth(given, frame.time)
            for row, number in enumerate(given.instance_ids.tolist()):
                (truth,) = np.flatnonzero(shown.person_ids == number)
                both = np.stack([given.keypoints[row], found.keypoints[row]], axis=-1) - shown.keypoints[truth, ..., None]
                both[shown.visibility[truth] == 0] = np.nan
                both /= shown.bbox[truth, 3]
                levels.append(both)
                changes.append(both - before.get(number, np.nan))
                before[number] = both
    return [np.sqrt(np.nanmean(np.square(values), axis=(0, 1, 2))) for values in (levels, changes)]


@pytest.mark.parametrize(("standing", "jitter", "error"), [(False, 2.0, 0.95), (True, 3.5, 1.8)])
def test_jitter_is_reduced_without_lag(films, standing, jitter, error):
    """docs/predict.md states the factors: 2.2 walking, 3.7 standing. Without subtracting the movement it is 1.75."""
    levels, changes = errors(films, standing=standing)
    assert changes[0] / changes[1] > jitter
    assert levels[0] / levels[1] > error


def test_instances_are_filtered_independently(films):
    frames = films[2][10:30]
    together, alone = PoseSmoother(), PoseSmoother()
    for frame in frames:
        given = network_poses(frame, np.random.default_rng(int(1e6 * frame.time)))
        mine = np.flatnonzero(given.instance_ids == 1)
        found = together(given, frame.time)
        np.testing.assert_array_equal(found.keypoints[mine], alone(given[mine], frame.time).keypoints)
        assert (found.keypoints != given.keypoints).any() or frame is frames[0]


def test_keypoints_of_low_score_are_unchanged(films):
    smooth = PoseSmoother()
    for frame in films[0][10:14]:
        given = network_poses(frame, np.random.default_rng(0))
        given.keypoint_scores[:, 3] = 0.1
        found = smooth(given, frame.time)
        np.testing.assert_array_equal(found.keypoints[:, 3], given.keypoints[:, 3])
    assert (found.keypoints[:, 5] != given.keypoints[:, 5]).any()


def test_the_filter_of_a_missing_instance_is_reset(films):
    smooth = PoseSmoother(max_gap=0.5)
    given = network_poses(films[0][20], np.random.default_rng(0))
    smooth(given, 0.0)
    moved = replace(given, keypoints=given.keypoints + 40)
    np.testing.assert_array_equal(smooth(moved, 1.0).keypoints, moved.keypoints)


def test_duplicate_ids_are_refused(films):
    given = network_poses(films[0][20], np.random.default_rng(0))
    twice = replace(given, instance_ids=np.ones(len(given), np.int64))
    with pytest.raises(ValueError, match=r"\[1, 1"):
        PoseSmoother()(twice, 0.0)
