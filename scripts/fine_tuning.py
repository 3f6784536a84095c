"""Measure fine-tuning with 50 images: from random weights, and from a checkpoint in four ways (docs/fine_tuning.md).

The images are drawn. The checkpoint of `hrpose fit` contains nose and wrists, but not neck and pelvis, which are the points
between the shoulders and between the hips.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import hrpose
from hrpose.synthetic import write_dataset

NAMES = ("nose", "left_wrist", "right_wrist", "neck", "pelvis")
MIDDLES = {"neck": ("left_shoulder", "right_shoulder"), "pelvis": ("left_hip", "right_hip")}
FROZEN = {"callbacks/freeze": "backbone"}
WAYS: dict[str, dict[str, Any]] = {
    "from random weights": {},
    "frozen backbone": FROZEN,
    "frozen for 10 epochs, then a factor of 0.1": {**FROZEN, "callbacks.freeze.epochs": 10, "optim.backbone_factor": 0.1},
    "a factor of 0.1": {"optim.backbone_factor": 0.1},
    "one learning rate for all": {},
}
COMMON = {
    **{"prepare": None, "data.val_boxes": ["gt"], "data.batch_size": 16},
    **{"trainer.max_epochs": 30, "trainer.check_val_every_n_epoch": 30},
    **{"callbacks.progress": None, "+trainer.enable_progress_bar": False, "callbacks.pictures": None},
}


def main() -> None:
    """Train each variant with each seed, and print mean, lowest and highest AP."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="best.ckpt of `hrpose fit`")
    parser.add_argument("--folder", type=Path, default=Path("runs/fine_tuning"), help="folder of images and runs")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs per variant")
    given = parser.parse_args()
    draw(given.folder / "data")
    for way, values in WAYS.items():
        weights = None if way == "from random weights" else given.checkpoint
        places = {"paths.data": given.folder / "data", "paths.runs": given.folder / "runs"}
        aps = [
            hrpose.fit("experiment=tiny", **{**COMMON, **places, **values, "weights": weights, "seed": seed}).score
            for seed in range(given.seeds)
        ]
        print(f"{way}: AP {statistics.mean(aps):.3f} ({min(aps):.3f} to {max(aps):.3f})")


def draw(folder: Path) -> None:
    """Draw 50 training and 150 validation images, and annotate them with the five keypoints."""
    if folder.exists():
        return
    write_dataset(folder, num_train=50, num_val=150, image_size=(320, 240), seed=1)
    for file in (folder / "annotations").glob("person_keypoints_*.json"):
        content = json.loads(file.read_text())
        known = content["categories"][0]["keypoints"]
        content["categories"] = [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": []}]
        for row in content["annotations"]:
            points = dict(zip(known, zip(*[iter(row["keypoints"])] * 3, strict=True), strict=True))
            for name, (left, right) in MIDDLES.items():
                points[name] = middle(points[left], points[right])
            row["keypoints"] = [value for name in NAMES for value in points[name]]
            row["num_keypoints"] = sum(points[name][2] > 0 for name in NAMES)
        file.write_text(json.dumps(content))


def middle(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...]:
    """Return the point between two keypoints (x, y, visibility); unlabelled if one of them is unlabelled."""
    labelled = left[2] and right[2]
    return ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])) if labelled else (0, 0, 0)


if __name__ == "__main__":
    main()
