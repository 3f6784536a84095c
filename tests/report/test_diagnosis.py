"""The diagnosis of injected faults and of sound runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hrpose.annotations.checks import Finding
from hrpose.metrics.functional import Detections
from hrpose.report import Instances, RunEvidence, Training, average_recall, diagnose
from hrpose.skeletons import AIC, COCO, Skeleton
from hrpose.structures import GroundTruth

NUM, SIZE = 60, np.array([320.0, 240.0])
FALLING = Training(losses=np.geomspace(2e-3, 5e-4, 40).tolist(), num_steps=800, rate=1e-3, trained_share=1.0, num_instances=500)


def sound(names: tuple[str, ...] = COCO.keypoint_names) -> RunEvidence:
    """Return poses of a good network, two per image, with errors of 1 % of the box."""
    rng = np.random.default_rng(0)
    sizes = rng.uniform([40, 60], [80, 110], (NUM, 2))
    low = rng.uniform([0, 0], SIZE - sizes)
    keypoints = low[:, None] + rng.uniform(0.05, 0.95, (NUM, len(names), 2)) * sizes[:, None]
    ids = np.arange(NUM)
    truth = GroundTruth(
        image_ids=np.arange(NUM // 2), object_image_ids=ids // 2, instance_ids=ids, category_ids=np.ones(NUM, np.int64),
        keypoints=keypoints, visibility=np.full((NUM, len(names)), 2, np.uint8), bbox=np.hstack([low, sizes]),
        area=0.5 * sizes.prod(axis=1), iscrowd=np.zeros(NUM, bool),
    )  # fmt: skip
    noise = rng.normal(0, 0.01, keypoints.shape) * np.sqrt(sizes.prod(axis=1))[:, None, None]
    scores, ones = np.linspace(1, 0.5, NUM), np.ones(NUM, np.int64)
    found = Detections(truth.object_image_ids, ones, keypoints + noise, scores, sizes.prod(axis=1))
    run = RunEvidence(
        score=0.0,
        detections=found,
        center=low + sizes / 2,
        scale=1.25 * sizes,
        truth=truth,
        skeleton=COCO if names == COCO.keypoint_names else Skeleton.from_names(names, sigmas=[0.05] * len(names)),
        training=FALLING,
        samples={"val": 0.0, "train": 0.0},
    )
    return with_sets(run)


def with_sets(run: RunEvidence) -> RunEvidence:
    truth = run.truth
    fields = {
        "keypoints": truth.keypoints,
        "labelled": truth.visibility > 0,
        "bbox": truth.bbox,
        "image_sizes": np.tile(SIZE, (len(truth), 1)),
    }
    twice = {name: np.concatenate([values, values]) for name, values in fields.items()}
    sets = [Instances(name="validation", **fields), Instances(name="training", **twice)]
    return replace(run, sets=sets)


def relabelled(run: RunEvidence, **fields: np.ndarray) -> RunEvidence:
    """Change the annotations of both sets, not the predictions."""
    return with_sets(replace(run, truth=replace(run.truth, **fields)))


def poor(run: RunEvidence) -> RunEvidence:
    """Return predictions of an untrained network: the center of every crop."""
    found = run.detections
    points = np.repeat(run.center[:, None], found.keypoints.shape[1], axis=1)
    return replace(run, detections=replace(found, keypoints=points))


def mean_pose(run: RunEvidence) -> RunEvidence:
    """Return predictions of a hardly trained network: the mean pose in every crop."""
    return replace(run, detections=replace(run.detections, keypoints=run.pairs.mean_poses))


def finding(check: str, count: int, total: int) -> Finding:
    return Finding(check=check, file="a.json", count=count, total=total, ids=(1,), what="w", consequence="C.", fix="F.")


def box_of(run: RunEvidence) -> tuple[np.ndarray, np.ndarray]:
    return run.truth.bbox[:, None, :2], run.truth.bbox[:, None, 2:]


def elsewhere(run: RunEvidence) -> RunEvidence:
    return replace(run, center=run.center + 1000, boxes="det")


def few_images(run: RunEvidence) -> RunEvidence:
    found = run.detections
    kept = {name: values[:6] for name, values in vars(found).items()}
    return replace(run, detections=Detections(**kept), center=run.center[:6], scale=run.scale[:6])


def trained(run: RunEvidence, **fields: object) -> RunEvidence:
    assert run.training is not None
    return replace(poor(run), training=replace(run.training, **fields))


def sampled(run: RunEvidence, **samples: float) -> RunEvidence:
    return replace(poor(run), samples={"val": 0.0, **samples})


FAULTS: dict[str, tuple[str, Callable[[RunEvidence], RunEvidence]]] = {
    "x and y exchanged in the validation set": ("axes", lambda r: relabelled(r, keypoints=r.truth.keypoints[..., ::-1])),
    "x and y exchanged in both sets": ("axes", lambda r: relabelled(poor(r), keypoints=r.truth.keypoints[..., ::-1])),
    "x and y of keypoints and boxes exchanged": (
        "axes",
        lambda r: relabelled(poor(r), keypoints=r.truth.keypoints[..., ::-1], bbox=r.truth.bbox[:, [1, 0, 3, 2]]),
    ),
    "shifted": ("shift", lambda r: relabelled(r, keypoints=r.truth.keypoints + np.array([30.0, -20.0]))),
    "labelled in images of half the size": ("scale", lambda r: relabelled(r, keypoints=r.truth.keypoints / 2)),
    "relative to the box": ("relative-to-box", lambda r: relabelled(r, keypoints=r.truth.keypoints - box_of(r)[0])),
    "relative to the box in both sets": (
        "relative-to-box",
        lambda r: relabelled(poor(r), keypoints=r.truth.keypoints - box_of(r)[0]),
    ),
    "another order": ("keypoint-order", lambda r: relabelled(r, keypoints=np.roll(r.truth.keypoints, 1, axis=1))),
    "left and right": ("left-right", lambda r: relabelled(r, keypoints=r.truth.keypoints[:, list(COCO.flip_permutation)])),
    "sigmas": (
        "sigmas",
        lambda r: replace(r, skeleton=replace(COCO, flip_pairs=None, sigmas=tuple(s / 10 for s in COCO.sigmas))),
    ),
    "sigmas and a poor network": (
        "sigmas",
        lambda r: replace(poor(r), skeleton=replace(COCO, flip_pairs=None, sigmas=tuple(s / 20 for s in COCO.sigmas))),
    ),
    "areas": ("areas", lambda r: relabelled(r, area=r.truth.area / 200)),
    "areas that are 1 % of the box": ("areas", lambda r: relabelled(poor(r), area=r.truth.area / 45)),
    "areas of 1": ("areas", lambda r: relabelled(poor(r), area=np.ones(NUM))),
    "boxes of corners": (
        "boxes-of-corners",
        lambda r: replace(poor(r), findings=[finding("boxes-of-corners", 30, 60), finding("keypoints-outside-box", 60, 60)]),
    ),
    "most keypoints outside their boxes": (
        "keypoints-outside-box",
        lambda r: replace(poor(r), findings=[finding("keypoints-outside-box", 40, 60)]),
    ),
    "keypoints at the origin": ("at-origin", lambda r: relabelled(poor(r), keypoints=0 * r.truth.keypoints)),
    "keypoints between 0 and 1": (
        "keypoints-normalised",
        lambda r: replace(
            relabelled(poor(r), keypoints=r.truth.keypoints / SIZE), findings=[finding("keypoints-normalised", 60, 60)]
        ),
    ),
    "a category of few": ("category", lambda r: replace(poor(r), category="horse", categories={"horse": 10, "rider": 90})),
    "no labelled keypoints": (
        "nothing-to-find",
        lambda r: relabelled(replace(r, score=-1.0), visibility=np.zeros((NUM, 17), np.uint8)),
    ),
    "num_keypoints 0": ("nothing-to-find", lambda r: relabelled(replace(r, score=-1.0), num_keypoints=np.zeros(NUM, np.int64))),
    "few images estimated": ("few-estimated", few_images),
    "boxes of a detector elsewhere": ("boxes-elsewhere", elsewhere),
    "loss of NaN": ("diverged", lambda r: trained(r, losses=[1.0, 0.5, float("nan"), float("nan")])),
    "loss that rose": ("rate-too-high", lambda r: trained(r, losses=[1.0, 40.0, 3.0, 2.0, 2.0])),
    "no better than empty heatmaps": (
        "rate-too-high",
        lambda r: trained(r, losses=[2.0, 1.0, 1.0, 1.0], rate=0.1, blank_loss=1.0),
    ),
    "loss that stays at a high rate": ("rate-too-high", lambda r: trained(r, losses=[1.0] * 20, rate=0.1)),
    "loss that stays at a low rate": ("rate-too-low", lambda r: trained(r, losses=[1.0] * 20, rate=1e-7)),
    "nothing trained": ("frozen", lambda r: trained(r, trained_share=0.01)),
    "a rate of 0": ("frozen", lambda r: trained(r, rate=0.0)),
    "another validation set": ("validation-differs", lambda r: sampled(r, train=0.8)),
    "red and blue": ("channel-order", lambda r: sampled(r, **{"val, red and blue swapped": 0.7})),
    "normalisation": ("normalisation", lambda r: sampled(r, **{"val, not normalised": 0.7})),
    "mirror pairs": ("flip-pairs", lambda r: sampled(r, **{"val, no flip test": 0.7})),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_fault_is_diagnosed(fault: str) -> None:
    name, inject = FAULTS[fault]
    found = diagnose(inject(sound()))
    assert found.name == name, str(found)
    assert found.evidence
    assert found.fix


def few_labelled(run: RunEvidence) -> RunEvidence:
    sets = [replace(data, labelled=np.arange(data.labelled.size).reshape(data.labelled.shape) < 5) for data in run.sets]
    return replace(poor(run), sets=sets)


def test_a_training_set_almost_without_labels_is_diagnosed() -> None:
    assert diagnose(few_labelled(sound())).name == "unlabelled"


SOUND: dict[str, Callable[[], RunEvidence]] = {
    "nothing learnt": lambda: poor(sound()),
    "the mean pose learnt": lambda: mean_pose(sound()),
    "one epoch of few steps": lambda: trained(sound(), losses=[3e-3, 2.5e-3], num_steps=2),
    "one step": lambda: trained(sound(), losses=[3e-3], num_steps=1),
    "a rise in the first steps": lambda: trained(sound(), losses=[1.5e-3, 1.2e-2, 3e-3, 1.4e-3], num_steps=12, blank_loss=1.2e-3),
    "a usual rate of SGD": lambda: trained(sound(), losses=[1.0] * 20, rate=0.05, usual_rate=0.1),
    "few steps without progress": lambda: trained(sound(), losses=[1.0] * 20, num_steps=20, rate=0.1),
    "a tiny set learnt by heart": lambda: replace(
        trained(sound(), num_instances=8), samples={"val": 0.02, "train": 0.9}, sets=sound().sets[:1]
    ),
    "one keypoint": lambda: poor(sound(("nose",))),
    "one keypoint, mean place": lambda: mean_pose(sound(("nose",))),
    "weights that were not trained here": lambda: replace(poor(sound()), training=None),
    "published sigmas that are small": lambda: replace(poor(sound(AIC.keypoint_names)), skeleton=AIC),
    "a few odd rows": lambda: replace(poor(sound()), findings=[finding("keypoints-outside-box", 5, 60)]),
    "other categories, but fewer": lambda: replace(poor(sound()), category="horse", categories={"horse": 90, "rider": 90}),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_run_has_no_cause(case: str) -> None:
    found = diagnose(SOUND[case]())
    assert found.name == "", str(found)


def test_a_short_run_is_reported_with_its_steps_and_losses() -> None:
    found = diagnose(trained(sound(), losses=[3e-3, 2.5e-3], num_steps=2))
    assert "0.003" in found.evidence
    assert "0.0025" in found.evidence
    assert "2 steps" in found.evidence
    assert "trainer.max_epochs" in found.fix


def test_the_text_has_score_cause_evidence_and_fix() -> None:
    found = diagnose(replace(FAULTS["shifted"][1](sound()), score=0.0042))
    first, evidence, fix = str(found).splitlines()
    assert first == f"AP is 0.004. Likely cause: {found.cause}"
    assert "(30, -20)" in evidence
    assert fix.endswith(found.fix)
    assert found.to_dict()["name"] == "shift"


def test_a_keypoint_order_is_reported_by_names() -> None:
    found = diagnose(FAULTS["another order"][1](sound()))
    assert "nose" in found.evidence
    assert "right_ankle" in found.evidence


def test_average_recall_of_perfect_poses_is_1_and_of_far_ones_0() -> None:
    run = sound()
    labelled, areas = run.truth.visibility > 0, run.truth.area
    assert average_recall(run.truth.keypoints, run.truth.keypoints, labelled, areas, COCO.sigmas) == 1
    assert average_recall(run.truth.keypoints + 500, run.truth.keypoints, labelled, areas, COCO.sigmas) == 0


def test_a_network_without_boxes_that_finds_few_instances_is_to_train_longer():
    found = diagnose(replace(few_images(sound()), boxes="none"))
    assert found is not None
    assert found.name == "few-estimated"
    assert "trainer.max_epochs" in found.fix
    assert "detector" not in found.fix
