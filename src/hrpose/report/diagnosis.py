"""Find the cause of an AP near 0 or -1 in the evidence of a run.

The searches are ordered from specific to general, and the first that finds a cause decides. A training that was only too short
is no cause: the diagnosis then states its number of steps and its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from hrpose.metrics.functional.oks import Floats
from hrpose.report.evidence import Instances, Mask, Pairs, RunEvidence
from hrpose.skeletons import KNOWN_SKELETONS, Skeleton

LOW_AP = 0.05
"""An AP below this value is diagnosed."""

Cause = tuple[str, str, str, str]
"""Name, cause, evidence and fix."""
_Changed = tuple[Cause, Floats, Floats, Sequence[float]]  # a cause, with the start of its evidence; points, areas and sigmas

_MIN_SHARE = 0.3  # smallest share of instances, or of rows of a file, that explains an AP near 0
_SPECIFIC_CHECKS = ("keypoints-normalised", "boxes-normalised", "boxes-of-corners", "boxes-of-centers")
_GENERAL_CHECKS = ("keypoints-outside-box", "keypoints-outside-image", "num-keypoints-zero", "exif-orientation")
_ENOUGH_STEPS, _ENOUGH_INSTANCES = 100, 100  # a smaller training allows no conclusion
_HIGH_RATE, _LOW_RATE = 10, 0.01  # times the usual rate
_LEARNT = 0.5  # smallest AR of training crops of a network that has learnt its data
# smallest AR of an accepted hypothesis, smallest gain of AR, and smallest gain over the mean pose
_FOUND, _GAIN, _ABOVE_MEAN_POSE = 0.25, 0.2, 0.1
_TYPICAL_SIGMA, _TYPICAL_COVER = 0.07, 0.5
_TOLERANCE = 0.015  # error, as a share of the box, at an OKS of 0.61; with published sigmas it is 0.03 to 0.15
_LEAST_COVER = 0.03  # area as a share of the box; persons have 0.4 to 0.6, thin insects 0.1
_NUM_COMPARED = 300  # pairs that are compared to find the order of the keypoints

_WHICH = "Correct the validation annotations, or the training annotations if these are wrong."
_AREAS = "the areas of the validation annotations are too small, so OKS tolerates no error."
_FIX_AREAS = "`area` is in square pixels of the image: correct it, or remove it and set data.area_from_bbox."
_SIGMAS = "the OKS sigmas are too small, so OKS tolerates no error."
_FIX_SIGMAS = "Set skeleton.sigmas, or `sigmas` in the category of the annotations: 0.05 to 0.1 is usual."


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The cause of a low AP."""

    score: float  # the AP
    name: str  # of the cause, such as "sigmas"; empty if none was found
    cause: str  # one sentence
    evidence: str  # the numbers that indicate the cause
    fix: str  # what to change

    def __str__(self) -> str:
        """Return the diagnosis on three lines."""
        likely = f"Likely cause: {self.cause}" if self.name else self.cause
        score = "-1" if self.score < 0 else f"{self.score:.3f}"
        return f"AP is {score}. {likely}\n  Evidence: {self.evidence}\n  Fix: {self.fix}"

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain containers."""
        return asdict(self)


def diagnose(run: RunEvidence) -> Diagnosis:
    """Find the cause of a low AP."""
    found = next(chain.from_iterable(search(run) for search in _SEARCHES), None)
    name, cause, evidence, fix = found if found is not None else _no_cause(run)
    return Diagnosis(score=run.score, name=name, cause=cause, evidence=evidence, fix=fix)


def _nothing_to_find(run: RunEvidence) -> Iterator[Cause]:
    truth = run.truth
    if (~truth.is_ignored).any():
        return
    labelled = int((truth.visibility > 0).any(axis=1).sum())
    evidence = (
        f"{labelled} of {len(truth)} validation annotations in {len(truth.image_ids)} images have labelled keypoints; "
        f"{int(truth.iscrowd.sum())} are crowds, and AP ignores all."
    )
    fix = "Set data.val_annotations to a file with keypoints of visibility 1 or 2, and data.category to their category."
    if labelled:
        fix = "Correct `num_keypoints` (0 excludes an instance from AP) and `iscrowd` of the validation annotations."
    yield "nothing-to-find", "no instance of the validation set counts for AP.", evidence, fix


def _not_estimated(run: RunEvidence) -> Iterator[Cause]:
    image_ids = run.truth.object_image_ids[~run.truth.is_ignored]
    covered = int(np.isin(image_ids, run.detections.image_ids).sum())
    if covered < _MIN_SHARE * len(image_ids):
        cause = "poses were estimated in few validation images; the instances of the other images count as missed."
        fix = (
            "Remove trainer.limit_val_batches and limit_test_batches. Boxes of a detector must cover the validation images "
            "(data.val_detections, data.min_bbox_score)."
        )
        if run.boxes == "none":
            cause = "the network finds instances in few validation images; the instances of the other images count as missed."
            fix = "Train longer (trainer.max_epochs), and remove trainer.limit_val_batches and limit_test_batches."
        found = f"{covered} of {len(image_ids)} instances are in images with poses ({len(run.detections)} poses)."
        yield "few-estimated", cause, found, fix
    elif run.boxes == "det" and run.pairs.share < _MIN_SHARE:
        yield (
            "boxes-elsewhere",
            "the boxes are not on the annotated instances.",
            f"{100 * run.pairs.share:.0f} % of the {len(image_ids)} instances have a crop that is centered on them.",
            "Check data.val_detections: boxes are x, y, width, height in pixels of the image with this `image_id`.",
        )


def _not_finite(run: RunEvidence) -> Iterator[Cause]:
    if run.training is not None and not np.isfinite(run.training.losses).all():
        first = int(np.flatnonzero(~np.isfinite(run.training.losses))[0])
        steps = run.training.num_steps * first // len(run.training.losses)
        yield (
            "diverged",
            "the training has diverged.",
            f"the loss is NaN or infinite after about {steps} of {run.training.num_steps} steps.",
            f"Lower optim.lr (it is {run.training.rate:g}) to a tenth, or set trainer.gradient_clip_val=1.",
        )


def _explains(found: float, before: float, chance: float = 0.0) -> bool:
    """Check whether a change of AR from `before` to `found` explains a low AP, if the mean pose has the AR `chance`."""
    return found >= max(_FOUND, before + _GAIN, chance + _ABOVE_MEAN_POSE)


def _changed_labels(run: RunEvidence) -> Iterator[Cause]:
    """Find the change of the predictions, areas or sigmas with the highest AR.

    It must be much higher than the AR of the predictions, and of the mean pose placed in each crop, which needs no network.
    """
    pairs = run.pairs
    if not len(pairs):
        return
    base = pairs.recall(pairs.points, pairs.area, run.skeleton.sigmas)
    best: tuple[float, Cause] | None = None
    for cause, points, areas, sigmas in chain(_changed_points(run, pairs), _changed_measure(run, pairs)):
        found = pairs.recall(points, areas, sigmas)
        chance = pairs.recall(pairs.mean_poses, areas, sigmas)
        if _explains(found, base, chance) and (best is None or found > best[0]):
            name, what, how, fix = cause
            best = found, (name, what, f"{how}, AR would be {found:.2f} instead of {base:.2f}.", fix)
    if best is not None:
        yield best[1]


def _too_strict(run: RunEvidence) -> Iterator[Cause]:
    """Find sigmas or areas with which OKS does not tolerate errors that no network can avoid."""
    if not len(run.pairs):
        return
    cover, sigma = run.pairs.cover, float(np.median(run.skeleton.sigmas))
    if cover < _LEAST_COVER or 2 * sigma * np.sqrt(cover) < _TOLERANCE:
        oks = np.exp(-((0.02 / (2 * sigma)) ** 2) / (2 * cover))
        evidence = (
            f"an error of 2 % of the box size has an OKS of {oks:.2g}; the median sigma is {sigma:.2g} and the median `area` "
            f"is {100 * cover:.2g} % of the box."
        )
        if cover < 0.2 * _TYPICAL_COVER:
            yield "areas", _AREAS, evidence, _FIX_AREAS
        elif not _are_published(run.skeleton):
            yield "sigmas", _SIGMAS, evidence, _FIX_SIGMAS


def _changed_points(run: RunEvidence, pairs: Pairs) -> Iterator[_Changed]:
    measure = pairs.area, run.skeleton.sigmas
    points, residual = pairs.points, (pairs.places - pairs.points)[pairs.labelled]
    what = "x and y are swapped in the keypoints of one of the two annotation files."
    yield ("axes", what, "With x and y of the predictions swapped", _WHICH), points[..., ::-1], *measure
    flipped = list(run.skeleton.flip_permutation)
    if flipped != sorted(flipped):
        what = "left and right are swapped between the training and the validation annotations."
        cause = ("left-right", what, "With left and right of the predictions swapped", _WHICH)
        yield cause, points[:, flipped], *measure
    order = _matching_order(pairs)
    if order != flipped and order != sorted(order):
        names = run.skeleton.keypoint_names
        moved = [f"{names[k]} is the keypoint learnt as {names[j]}" for k, j in enumerate(order) if j != k]
        how = f"If {', '.join(moved[:3])}{', ...' if len(moved) > 3 else ''}"
        what = "the keypoints of the training and the validation annotations are in different orders."
        fix = "Reorder the keypoints of one of the files."
        yield ("keypoint-order", what, how, fix), points[:, order], *measure
    shift = np.median(residual, axis=0)
    how = f"With the predictions shifted by ({shift[0]:.0f}, {shift[1]:.0f}) pixels"
    what = "the validation keypoints are shifted by a constant compared with the training keypoints."
    yield ("shift", what, how, _WHICH), points + shift, *measure
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nan_to_num(np.median((pairs.places / points)[pairs.labelled], axis=0))
    if ((factor > 0.1) & (factor < 10)).all():  # other factors move all keypoints to one corner, where any pose fits
        how = f"With the predictions multiplied by ({factor[0]:.2f}, {factor[1]:.2f})"
        what = "the validation keypoints are in pixels of images of another size."
        yield ("scale", what, how, _WHICH), points * factor, *measure
    what = "the validation keypoints are relative to the corner of their box."
    fix = "Keypoints are in pixels of the whole image: add x and y of the box."
    cause = ("relative-to-box", what, "With x and y of their boxes subtracted from the predictions", fix)
    yield cause, points - pairs.bbox[:, None, :2], *measure


def _changed_measure(run: RunEvidence, pairs: Pairs) -> Iterator[_Changed]:
    sigmas, cover = run.skeleton.sigmas, pairs.cover
    if cover < 0.2 * _TYPICAL_COVER:
        areas = _TYPICAL_COVER * pairs.bbox[:, 2:].prod(axis=1)
        how = f"the median `area` is {100 * cover:.2g} % of the box. With half the area of each box"
        yield ("areas", _AREAS, how, _FIX_AREAS), pairs.points, areas, sigmas
    if (sigma := float(np.median(sigmas))) < 0.3 * _TYPICAL_SIGMA and not _are_published(run.skeleton):
        how = f"the median sigma is {sigma:.2g}; published ones are 0.025 to 0.11. With {_TYPICAL_SIGMA:g} for all"
        yield ("sigmas", _SIGMAS, how, _FIX_SIGMAS), pairs.points, pairs.area, [_TYPICAL_SIGMA] * len(sigmas)


def _are_published(skeleton: Skeleton) -> bool:
    """Check whether the sigmas are those of a known data set, since those of AI Challenger and Halpe are small."""
    return skeleton.sigmas in [known.sigmas for known in KNOWN_SKELETONS.values()]


def _matching_order(pairs: Pairs) -> list[int]:
    """Match each annotated keypoint to the nearest predicted one, nearest pairs first; return K indices."""
    rows = np.unique(np.linspace(0, len(pairs) - 1, _NUM_COMPARED).round().astype(int))
    points, places, labelled = pairs.points[rows], pairs.places[rows], pairs.labelled[rows]
    size = np.sqrt(pairs.scale[rows].prod(axis=1))
    num_keypoints = labelled.shape[1]
    costs = np.full((num_keypoints, num_keypoints), np.inf)  # annotated, predicted
    for k in np.flatnonzero(labelled.any(axis=0)).tolist():
        own = labelled[:, k]
        apart = np.linalg.norm(points[own] - places[own, None, k], axis=2)
        costs[k] = np.median(apart / size[own, None], axis=0)
    order = dict.fromkeys(range(num_keypoints), -1)
    free = set(order)
    for index in np.argsort(costs, axis=None, kind="stable").tolist():
        k, j = divmod(index, num_keypoints)
        if order[k] < 0 and j in free:
            order[k] = j
            free.discard(j)
    return list(order.values())


_SAMPLES = {
    "val, red and blue swapped": (
        "channel-order",
        "the network expects the color channels in the other order.",
        "with red and blue swapped",
        "Set data.channel_order to bgr, or to rgb if it is bgr.",
    ),
    "val, not normalised": (
        "normalisation",
        "the network expects another normalisation.",
        "with values from 0 to 1 and no normalisation",
        "Set +data.mean=[0,0,0] +data.std=[1,1,1], or the values that the weights were trained with.",
    ),
    "val, 0 to 255": (
        "normalisation",
        "the network expects another normalisation.",
        "with values from 0 to 255",
        "Set +data.mean=[0,0,0] +data.std=[0.00392,0.00392,0.00392], or the values that the weights were trained with.",
    ),
    "val, normalised": (
        "normalisation",
        "the network expects ImageNet's normalisation.",
        "with ImageNet's mean and std",
        "Remove data.mean and data.std: the defaults are ImageNet's.",
    ),
    "val, no flip test": (
        "flip-pairs",
        "the mirror pairs of the keypoints are wrong.",
        "without the flip test",
        "Set skeleton.flip_pairs to the pairs of left and right keypoints ([] for none), or flip_test=false.",
    ),
}
"""Name, cause, evidence and fix for each way to prepare the sample of validation crops."""


def _estimated_otherwise(run: RunEvidence) -> Iterator[Cause]:
    base = run.samples.get("val", 0.0)
    chance = run.pairs.recall(run.pairs.mean_poses, run.pairs.area, run.skeleton.sigmas) if len(run.pairs) else 0.0
    ways = {way: found for way, found in run.samples.items() if way in _SAMPLES and _explains(found, base, chance)}
    if ways:
        best = max(ways, key=lambda way: ways[way])
        name, cause, how, fix = _SAMPLES[best]
        yield name, cause, f"AR of a sample of crops is {ways[best]:.2f} {how}, and {base:.2f} as configured.", fix


def _share_within(points: Floats, labelled: Mask, low: Floats, high: Floats) -> float:
    """Return the share of the labelled keypoints between two corners, with a margin of 5 %."""
    margin = 0.05 * (high - low)
    inside: Mask = np.all((points >= (low - margin)[:, None]) & (points <= (high + margin)[:, None]), axis=2)
    return float(inside[labelled].mean())


def _labels_and_boxes(run: RunEvidence) -> Iterator[Cause]:
    """Compare keypoints with their boxes and images."""
    named = {data.name: _misplaced(data) for data in run.sets if data.labelled.any()}
    found = {name: misplaced for name, misplaced in named.items() if misplaced is not None}
    for name, cause, evidence in list(found.values())[:1]:
        which = " and ".join(sorted(found))
        fix = f"Correct the keypoints of the {which} annotations: pixels of the whole image, x before y, as in boxes."
        if name == "at-origin":
            fix = "Set the visibility of unlabelled keypoints to 0."
        yield name, f"{cause} the {which} annotations.", evidence, fix


def _misplaced(data: Instances) -> tuple[str, str, str] | None:
    """Find misplaced keypoints of a set; return name, cause (the set is appended) and evidence."""
    points, low, high = data.keypoints, data.bbox[:, :2], data.bbox[:, :2] + data.bbox[:, 2:]
    labelled = points[data.labelled]
    placeholders = float(np.mean((labelled == 0).all(axis=1) | (labelled == -1).all(axis=1)))
    if placeholders > 0.5:
        evidence = f"{placeholders:.0%} of the {len(labelled)} labelled keypoints of the {data.name} set are at these positions."
        return "at-origin", "most keypoints are labelled at (0, 0) or (-1, -1) in", evidence
    inside = _share_within(points, data.labelled, low, high)
    swapped = _share_within(points[..., ::-1], data.labelled, low, high)
    relative = _share_within(points + low[:, None], data.labelled, low, high)
    evidence = f"{inside:.0%} of the labelled keypoints of the {data.name} set are in their box;"
    if inside < 0.5 and swapped > 0.9:
        return ("axes", "x and y are swapped in the keypoints of", f"{evidence} {swapped:.0%} are with x and y swapped.")
    if inside < 0.5 and relative > 0.9:
        cause = "keypoints are relative to the corner of their box in"
        return "relative-to-box", cause, f"{evidence} {relative:.0%} are with the corner added."
    known = (data.image_sizes > 0).all(axis=1)
    sizes = data.image_sizes[known]
    if not (sizes[:, 0] != sizes[:, 1]).any():
        return None
    inside = _share_within(points[known], data.labelled[known], np.zeros_like(sizes), sizes)
    swapped = _share_within(points[known][..., ::-1], data.labelled[known], np.zeros_like(sizes), sizes)
    if inside < 0.97 and swapped > 0.999:
        evidence = f"{1 - inside:.0%} of the labelled keypoints of the {data.name} set are outside the image, none with x and y "
        return "axes", "x and y are swapped in", f"{evidence}swapped."
    return None


def _findings(run: RunEvidence, checks: Sequence[str]) -> Iterator[Cause]:
    """Yield the findings of data checks that concern a large share of the rows."""
    found = {finding.check: finding for finding in run.findings if finding.count >= _MIN_SHARE * finding.total}
    for finding in [found[check] for check in checks if check in found]:
        cause = f"{finding.count} of {finding.total} {finding.what}."
        evidence = f"{finding.file}, such as {', '.join(map(str, finding.ids))}. {finding.consequence}"
        yield finding.check, cause, evidence, finding.fix


def _category(run: RunEvidence) -> Iterator[Cause]:
    others = {name: count for name, count in run.categories.items() if name != run.category}
    largest = max(others, key=lambda name: others[name], default="")
    own = run.categories.get(run.category, 0)
    if others and others[largest] > 4 * own:
        yield (
            "category",
            f"most annotations do not have data.category={run.category}.",
            f"{own} validation annotations with keypoints are of {run.category!r}, {others[largest]} of {largest!r}.",
            f"Set data.category={largest} if this is the category to find.",
        )


def _training(run: RunEvidence) -> Iterator[Cause]:
    """Yield causes that the loss and the settings of the training indicate."""
    training = run.training
    if training is None or not len(training.losses):
        return
    first, last, highest = training.first, training.last, max(training.losses)
    fell = f"the loss went from {first:.2g} to {last:.2g} in {training.num_steps} steps"
    usual = f"; {training.usual_rate:g} is usual for this optimizer"
    if training.trained_share < 0.1 or not training.rate:
        what = f"optim.lr is {training.rate:g}, {training.trained_share:.0%} of the parameters are trained and the others random"
        fix = f"Set optim.lr{usual}. Remove callbacks/freeze, or set weights=<file> for the frozen backbone."
        yield "frozen", "the network is not trained.", f"{what}; {fell}.", fix
    for data in run.sets:
        share = float(data.labelled.mean()) if data.labelled.size else 0.0
        if data.name == "training" and share < 0.02:
            yield (
                "unlabelled",
                "almost no keypoints of the training annotations are labelled.",
                f"{int(data.labelled.sum())} of {data.labelled.size} keypoints have a visibility above 0.",
                "Correct the visibilities: 0 not labelled, 1 occluded, 2 visible (data.visibility_map).",
            )
    if training.num_steps < _ENOUGH_STEPS:
        return
    blank = training.blank_loss
    is_blank = blank is not None and last > 0.95 * blank
    if (is_blank or last > 0.95 * first) and (training.rate >= _HIGH_RATE * training.usual_rate or highest > 10 * first):
        evidence = f"{fell}; its maximum was {highest:.2g}"
        evidence += f", and the loss of empty heatmaps is {blank:.2g}" if is_blank else ""
        fix = f"Lower optim.lr, which is {training.rate:g}, to a tenth or a hundredth{usual}."
        yield "rate-too-high", "the learning rate is too high.", f"{evidence}.", fix
    elif last > 0.95 * first and training.rate <= _LOW_RATE * training.usual_rate:
        fix = f"Raise optim.lr, which is {training.rate:g}{usual}."
        yield "rate-too-low", "the learning rate is too low.", f"{fell}.", fix


def _other_validation(run: RunEvidence) -> Iterator[Cause]:
    """Yield a difference between the two sets if training instances are found and validation instances are not."""
    known = run.samples.get("train", 0.0)
    number = sum(len(data.keypoints) for data in run.sets if data.name == "training")
    if known >= _LEARNT and number >= _ENOUGH_INSTANCES:
        yield (
            "validation-differs",
            "the validation set differs from the training set: other images, other labels, or images that do not belong to the "
            "annotations.",
            f"AR of a sample of training crops is {known:.2f}, and of validation crops {run.samples.get('val', 0.0):.2f}.",
            "Open pictures/val_poses.png: if the poses are on the instances, the validation labels are wrong; if not, "
            f"data.val_images does not match data.val_annotations. Then run: {run.doctor}",
        )


_SEARCHES: tuple[Callable[[RunEvidence], Iterator[Cause]], ...] = (
    _nothing_to_find, _not_finite, _not_estimated, _changed_labels, _estimated_otherwise,
    partial(_findings, checks=_SPECIFIC_CHECKS), _labels_and_boxes, partial(_findings, checks=_GENERAL_CHECKS),
    _category, _too_strict, _training, _other_validation,
)  # fmt: skip


def _no_cause(run: RunEvidence) -> Cause:
    """Return a diagnosis without cause, with the course of the training."""
    training, known = run.training, run.samples.get("train")
    check = f"Check the data with: {run.doctor}"
    recall = "" if known is None else f" AR of a sample of training crops is {known:.2f}."
    if training is None or not len(training.losses):
        fix = f"Train the weights longer, or load others. {check}"
        return "", "No cause found in the data.", f"labels, boxes, areas and sigmas are consistent.{recall}", fix
    steps = f"{training.num_steps} step{'s' if training.num_steps > 1 else ''}"
    few = f" on {training.num_instances} instances"
    evidence = f"the loss fell from {training.first:.2g} to {training.last:.2g} in {steps}{few}.{recall}"
    longer = "train longer (trainer.max_epochs)"
    if training.last > 0.95 * training.first:
        evidence = f"the loss did not fall in {steps}{few}: {training.first:.2g}, then {training.last:.2g}.{recall}"
    if known is not None and known >= _LEARNT:
        what = "No cause found in the data; the network overfits its few training images."
        return "", what, evidence, f"Add images or stronger augmentation. {check}"
    if training.num_steps >= 1000 and training.last > 0.97 * training.middle:
        what = "No cause found in the data, but the loss has stopped falling."
        fix = "Check in pictures/train_crops.png that the keypoints are on the instances; then try other values of optim.lr."
        return "", what, evidence, f"{fix} {check}"
    return "", f"No cause found in the data: {longer}.", evidence, f"{longer[0].upper()}{longer[1:]}. {check}"
