"""The bootstrap over images: a sample is the data set of the drawn images."""

from dataclasses import replace

import numpy as np
import pytest
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco

from hrpose.metrics.functional import Detections, accumulate, average_precision, match_detections, summarize
from hrpose.metrics.functional.bootstrap import bootstrap_average_precision, confidence_interval, paired_p_value
from hrpose.structures import GroundTruth


def drawn_copies(detections: Detections, truth: GroundTruth, drawn: np.ndarray) -> tuple[Detections, GroundTruth]:
    """Return the images as often as they were drawn, each copy with its own id."""
    found, people = [], []
    for copy, image_id in enumerate(np.unique(truth.image_ids)[drawn]):
        mine = detections.image_ids == image_id
        values = {name: value[mine] for name, value in vars(detections).items()}
        found.append({**values, "image_ids": np.full(mine.sum(), copy)})
        there = truth.object_image_ids == image_id
        values = vars(replace(truth.select(there), object_image_ids=np.full(there.sum(), copy)))
        people.append({name: value for name, value in values.items() if name != "image_ids" and value is not None})
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    objects = {name: np.concatenate([part[name] for part in people]) for name in people[0]}
    return Detections(**joined), GroundTruth(image_ids=np.arange(len(drawn)), **objects)


@pytest.mark.parametrize("seed", range(4))
def test_samples_equal_the_evaluation_of_the_drawn_images(seed: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=4, num_images=9, num_categories=2, distinct=True)
    detections, truth = detections_from_coco(results, 4), truth_from_coco(annotations, 4)
    samples = bootstrap_average_precision(match_detections(detections, truth, sigmas), num_samples=5, seed=seed)
    rng = np.random.default_rng(seed)
    for sample in samples:
        copies = drawn_copies(detections, truth, rng.integers(0, 9, 9))
        expected = average_precision(*copies, sigmas)["AP"]
        assert np.nan_to_num(sample, nan=-1.0) == pytest.approx(expected, abs=1e-12)


def test_samples_of_one_image_are_its_ap() -> None:
    annotations, results, sigmas = random_case(7, num_keypoints=4, num_images=1)
    matches = match_detections(detections_from_coco(results, 4), truth_from_coco(annotations, 4), sigmas)
    samples = bootstrap_average_precision(matches, num_samples=3)
    np.testing.assert_allclose(samples, summarize(accumulate(matches))["AP"], rtol=1e-12)
    assert confidence_interval(samples)[0] == confidence_interval(samples)[1]


def test_the_interval_is_the_central_share_of_the_samples() -> None:
    assert confidence_interval(np.arange(101.0), 0.9) == (pytest.approx(5), pytest.approx(95))
    with pytest.raises(ValueError, match=r"`level`.*0.*1.*95"):
        confidence_interval(np.arange(3.0), 95)


def test_p_value_of_a_paired_difference() -> None:
    samples = np.random.default_rng(0).normal(size=1000)
    assert paired_p_value(samples, samples) == 1.0
    assert paired_p_value(samples + 0.01, samples) == 0.001
    assert paired_p_value(samples, -samples) > 0.5
    with pytest.raises(ValueError, match=r"\(1000,\) and \(999,\)"):
        paired_p_value(samples, samples[1:])


def test_samples_without_instances_are_nan_and_left_out() -> None:
    annotations, results, sigmas = random_case(4, num_keypoints=4, num_images=6, distinct=True)
    image_id = annotations["annotations"][0]["image_id"]  # the other instances are in other images, and not annotated
    annotations["annotations"] = [row for row in annotations["annotations"] if row["image_id"] == image_id]
    matches = match_detections(detections_from_coco(results, 4), truth_from_coco(annotations, 4), sigmas)
    samples = bootstrap_average_precision(matches, num_samples=40, seed=1)
    rng = np.random.default_rng(1)
    drawn = np.array([(rng.integers(0, 6, 6) == matches.instance_images[0]).any() for _ in samples])
    np.testing.assert_array_equal(~np.isnan(samples), drawn)
    assert 0 < drawn.sum() < 40
    assert confidence_interval(samples) == confidence_interval(samples[drawn])
    assert paired_p_value(samples, samples / 2) == paired_p_value(samples[drawn], samples[drawn] / 2)
    with pytest.raises(ValueError, match="all 3 samples are NaN"):
        confidence_interval(np.full(3, np.nan))
    with pytest.raises(ValueError, match="none of the 3 samples"):
        paired_p_value(np.full(3, np.nan), np.ones(3))


def test_area_range_all_is_needed() -> None:
    annotations, results, sigmas = random_case(7, num_keypoints=4)
    matches = match_detections(
        detections_from_coco(results, 4), truth_from_coco(annotations, 4), sigmas, area_ranges={"large": (9216, 1e10)}
    )
    with pytest.raises(ValueError, match="an area range `all`"):
        bootstrap_average_precision(matches)
