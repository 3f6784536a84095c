"""The PCK of JHMDB and the PCKh of MPII, for hrpose evaluate with protocol=jhmdb or protocol=mpii."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hrpose.annotations.mpii import read_mpii_preds, read_mpii_truth
from hrpose.annotations.reader import is_mpii
from hrpose.files import write_json
from hrpose.metrics.functional import head_sizes, jhmdb_table, normalized_errors, pckh_table
from hrpose.metrics.functional.pck import closest_pairs, countable
from hrpose.metrics.results import read_entries
from hrpose.report import Evaluated, FileStamp, PckhProtocol, show_pckh, write_pckh
from hrpose.report.table import make_table, say
from hrpose.skeletons import JHMDB
from hrpose.tasks.results import ScoreResult

_FAR = 1e6  # pixels: position of the keypoints of a missed instance
_RULES = (
    "PCK@.2: a keypoint is correct if its error is below 0.2 of the longer side of the clipped box, or of the torso"
)


def evaluate_jhmdb(evaluated: Evaluated, image_sizes: NDArray[np.int32], results: Path, folder: Path) -> ScoreResult:
    """Compute PCK@.2 as MMPose does for JHMDB, print it, and write pck.json; see `report_jhmdb`."""
    file = folder / "pck.json"
    numbers = report_jhmdb(evaluated, image_sizes, file, Console())
    return ScoreResult(folder, numbers["PCK"], numbers, measured=results, reports=(file,))


def report_jhmdb(
    evaluated: Evaluated, image_sizes: NDArray[np.int32], file: Path, console: Console
) -> dict[str, float]:
    """Compute PCK@.2 of poses as MMPose does for JHMDB, print it, and write it.

    Args:
        evaluated: poses and annotations, both in pixels counted from 1, as in the files of the dataset.
        image_sizes: (I, 2) width and height of the images of the ground truth; 0 if unknown.
        file: JSON file to write.
        console: to print on.

    Raises:
        ValueError: if the keypoints are not the 15 of JHMDB.
    """
    truth, found = evaluated.truth, evaluated.detections
    if truth.keypoints.shape[1] != JHMDB.num_keypoints:
        raise ValueError(
            f"Expected the 15 keypoints of JHMDB for protocol=jhmdb, but {evaluated.protocol.annotations.name} has "
            f"{truth.keypoints.shape[1]}."
        )
    rows, persons = closest_pairs(found, truth, max_detections=evaluated.protocol.max_detections)
    keypoints = np.full(truth.keypoints.shape, -_FAR)
    keypoints[persons] = found.keypoints[rows]
    counted, order = countable(truth), np.argsort(truth.image_ids)
    sizes = image_sizes[order[np.searchsorted(truth.image_ids[order], truth.object_image_ids)]]
    numbers = jhmdb_table(
        keypoints[counted], truth.keypoints[counted], truth.visibility[counted] > 0, truth.bbox[counted], sizes[counted]
    )
    table = make_table("PCK@.2 of JHMDB", ["of the", *(name.split()[0] for name in list(numbers)[:7]), "mean"])
    for part, size in ((" PCK", "box"), (" tPCK", "torso")):
        shown = [value for name, value in numbers.items() if f" {name}".endswith(part)]
        table.add_row(size, *("" if value < 0 else f"{value:.3f}" for value in shown))
    console.print(table)
    missed = f"{counted.sum() - len(persons)} of {counted.sum()} persons have no prediction and count as wrong"
    say(console, f"Protocol: {evaluated.protocol}; {_RULES}; {missed}")
    write_json(file, {"protocol": {**evaluated.protocol.to_dict(), "rules": _RULES}, "numbers": numbers})
    say(console, f"Wrote {file}")
    return numbers


def evaluate_mpii(annotations: Path, results: Path, folder: Path) -> ScoreResult:
    """Compute PCKh as the HRNet authors' code does, print it, and write pckh.json.

    Args:
        annotations: gt_valid.mat, an .npz with its arrays, or valid.json in the same folder as one of these.
        results: rows of `entry` and `keypoints`, counted from 0, as `hrpose test` writes them; or pred.mat of the HRNet authors.
        folder: of the run.
    """
    file = _ground_truth(annotations)
    truth = read_mpii_truth(file)
    if results.suffix == ".mat":
        keypoints = read_mpii_preds(results, len(truth))
    else:
        keypoints = read_entries(results, *truth.labelled.shape) + 1  # MPII counts pixels from 1
    missed = np.flatnonzero(np.isnan(keypoints).all(axis=(1, 2)))
    errors = normalized_errors(
        np.where(np.isnan(keypoints), -_FAR, keypoints), truth.keypoints, head_sizes(truth.head_boxes)
    )
    numbers = pckh_table(errors, truth.labelled)
    protocol = PckhProtocol(
        annotations=FileStamp.of(annotations),
        ground_truth=FileStamp.of(file),
        num_images=None,
        num_instances=len(truth),
    )
    console = Console()
    show_pckh(numbers, protocol, console)
    if len(missed):
        say(console, f"{len(missed)} of {len(truth)} persons have no prediction and count as wrong.")
    page = folder / "pckh.json"
    write_pckh(numbers, protocol, page)
    say(console, f"Wrote {page}")
    return ScoreResult(folder, numbers["Mean"], numbers, results, (page,))


def _ground_truth(annotations: Path) -> Path:
    """Return the file with head boxes: the given one, or the one in the folder of valid.json."""
    if annotations.suffix in (".mat", ".npz"):
        return annotations
    found = [
        file for end in ("mat", "npz") if (file := annotations.with_name(f"gt_{annotations.stem}.{end}")).is_file()
    ]
    if not is_mpii(annotations) or not found:
        raise ValueError(
            "Expected gt_valid.mat of MPII, an .npz with its arrays, or a valid.json in the same folder, but got "
            f"annotations={annotations}. PCKh needs head boxes: set annotations=<gt_valid.mat>."
        )
    return found[0]
