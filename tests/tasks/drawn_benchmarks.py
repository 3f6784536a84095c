"""Annotations and results in the form of each benchmark, drawn from a seed, and the numbers of the benchmarks' own tools.

The standard library alone draws them, so that an environment without hrpose draws the same. The literals of
`test_benchmarks.py` come from

    python3 -m venv xt && xt/bin/pip install "numpy<2" xtcocotools==1.14.3
    xt/bin/python tests/tasks/drawn_benchmarks.py mmpose/evaluation/functional/keypoint_eval.py

The sigmas there are those of MMPose 1.3.2 (configs/_base_/datasets).
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

COUNTS = {"coco": 17, "crowdpose": 14, "aic": 14, "ochuman": 17, "humanart": 17, "jhmdb": 15}
FIELDS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
PART_SCORES = ("foot_score", "face_score", "lefthand_score", "righthand_score", "wholebody_score")


def draw(benchmark: str, *, seed: int = 0, people: int = 60) -> tuple[dict[str, Any], Rows]:
    """Draw 24 images with persons, and results with errors: crowds, unlabelled persons, ties, false and empty results."""
    r = random.Random(f"{benchmark} {seed}")
    fields = FIELDS if benchmark == "wholebody" else {"keypoints": COUNTS[benchmark]}
    images = [
        {"id": i, "width": 640, "height": 480, "file_name": f"{i}.jpg", "crowdIndex": round(r.random(), 2)} for i in range(1, 25)
    ]
    annotations: Rows = []
    results: Rows = []
    for number in range(people):
        image_id = r.randint(1, 20)
        x, y, w, h = r.uniform(0, 400), r.uniform(0, 250), r.uniform(15, 220), r.uniform(30, 220)
        row = {"id": number + 1, "image_id": image_id, "category_id": 1, "iscrowd": int(r.random() < 0.06)}
        row |= {"bbox": [round(v, 2) for v in (x, y, w, h)], "area": round(w * h * r.uniform(0.3, 0.8), 3)}
        found: dict[str, Any] = {"image_id": image_id, "category_id": 1, "score": round(r.uniform(0.3, 0.99), 2)}
        off, blank, is_zero = r.choice([0.003, 0.01, 0.03, 0.08]) * (w * h) ** 0.5, r.random() < 0.1, r.random() < 0.12
        for field, count in fields.items():
            true, guess = [], []
            missing = blank or (field != "keypoints" and r.random() < 0.3)
            for _ in range(count):
                a, b = round(x + r.random() * w, 1), round(y + r.random() * h, 1)
                flag = 0 if missing else r.choice([0, 1, 2, 2, 2])
                true += [a, b, flag] if flag else [0, 0, 0]
                guess += [round(a + r.gauss(0, off), 2), round(b + r.gauss(0, off), 2)]
                guess += [0 if is_zero else round(r.uniform(0.2, 1), 3)]
            row[field], found[field] = true, guess
        row["num_keypoints"] = sum(v == 2 for v in row["keypoints"][2::3]) if r.random() < 0.9 else 0
        annotations.append(row)
        if benchmark == "wholebody":
            found |= {name: round(r.uniform(0.3, 0.99), 2) for name in PART_SCORES}
        results += [found] if r.random() < 0.9 else []
        if r.random() < 0.3:  # somebody where nobody is
            moved = {f: [v + 90 * (k % 3 < 2) for k, v in enumerate(found[f])] for f in fields}
            results.append({**found, **moved, "image_id": r.randint(1, 24), "score": round(r.uniform(0.1, 0.9), 2)})
    r.shuffle(results)
    gt = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    return gt, results


def draw_jhmdb() -> tuple[dict[str, Any], Rows]:
    """Draw 40 images with one person and one result each, counted from 1: boxes beyond the image, torsos of length 0."""
    r = random.Random("jhmdb")
    images = [{"id": i, "width": 320, "height": 240, "file_name": f"{i}.png"} for i in range(1, 41)]
    annotations: Rows = []
    results: Rows = []
    for image in images:
        x, y, w, h = r.uniform(1, 200), r.uniform(1, 100), r.uniform(40, 160), r.uniform(60, 180)
        off, short = r.choice([0.02, 0.1, 0.25]) * max(w, h), r.random() < 0.1
        true, guess = [], []
        for place in range(15):
            a, b = round(x + r.random() * w, 2), round(y + r.random() * h, 2)
            a, b = (true[12] + 0.3, true[13]) if short and place == 5 else (a, b)
            flag = r.choice([0, 1, 1, 1, 1]) if place not in (4, 5) else 1
            true += [a, b, flag]
            guess += [round(a + r.gauss(0, off), 2), round(b + r.gauss(0, off), 2), round(r.random(), 3)]
        row = {"image_id": image["id"], "category_id": 1}
        box = [round(v, 2) for v in (x, y, w, h)]
        annotations.append({**row, "id": image["id"], "iscrowd": 0, "num_keypoints": 15, "bbox": box, "keypoints": true})
        results.append({**row, "keypoints": guess, "score": round(r.random(), 2)})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, results


def reference_jhmdb(keypoint_eval: str) -> dict[str, float]:
    """Return PCK and tPCK, as `JhmdbDataset.parse_data_info` and `JhmdbPCKAccuracy` of MMPose compute them.

    Args:
        keypoint_eval: mmpose/evaluation/functional/keypoint_eval.py of MMPose 1.3.2, of which one function is taken.
    """
    import numpy as np

    source = Path(keypoint_eval).read_text()
    code: dict[str, Any] = {"np": np}
    exec(source[source.index("def _calc_distances") : source.index("def keypoint_auc")], code)
    gt, results = draw_jhmdb()
    rows = []
    for annotation, result in zip(gt["annotations"], results, strict=True):
        x, y, w, h = annotation["bbox"]
        x, y = x - 1, y - 1
        corners = [np.clip(x, 0, 319), np.clip(y, 0, 239), np.clip(x + w, 0, 319), np.clip(y + h, 0, 239)]
        box = np.array(corners, dtype=np.float32)
        true = np.array(annotation["keypoints"], dtype=np.float32).reshape(-1, 3)
        true, mask = true[:, :2] - 1, np.minimum(1, true[:, 2]).astype(bool)
        found = np.array(result["keypoints"]).reshape(-1, 3)[:, :2] - 1
        torso = np.linalg.norm(true[4] - true[5])
        torso = np.linalg.norm(found[4] - found[5]) if torso < 1 else torso
        rows.append((found, true, mask, [np.max(box[2:] - box[:2])] * 2, [torso] * 2))
    found, true, mask, boxes, torsos = (np.array(column) for column in zip(*rows, strict=True))
    numbers = {}
    for name, norm in (("PCK", boxes), ("tPCK", torsos)):
        each, mean, _ = code["keypoint_pck_accuracy"](found, true, mask, 0.2, norm)
        numbers |= {f"Head {name}": each[2], f"Sho {name}": 0.5 * each[3] + 0.5 * each[4]}
        numbers |= {f"Ank {name}": 0.5 * each[13] + 0.5 * each[14], name: mean}
    return {name: float(value) for name, value in numbers.items()}


def reference(benchmark: str, part: str = "") -> list[float]:
    """Return the numbers of xtcocotools, as MMPose calls it for the benchmark."""
    import contextlib
    import io

    import numpy as np
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    gt, results = draw(benchmark)
    kind = {"crowdpose": "keypoints_crowd", "wholebody": f"keypoints_{part}"}.get(benchmark, "keypoints")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        files = [str(Path(folder) / name) for name in ("gt.json", "res.json")]
        for file, content in zip(files, (gt, results), strict=True):
            Path(file).write_text(json.dumps(content))
        truth = COCO(files[0])
        found = truth.loadRes(files[1])
        measured = COCOeval(truth, found, kind, np.array(sigmas_of(benchmark, part)), benchmark not in ("crowdpose", "aic"))
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return [float(value) for value in measured.stats]


def sigmas_of(benchmark: str, part: str) -> list[float]:
    """Return the sigmas of MMPose."""
    body = [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]
    foot = [0.068, 0.066, 0.066, 0.092, 0.094, 0.094]
    face = [0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032]
    face += [0.037, 0.038, 0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011]
    face += [0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010]
    face += [0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034]
    face += [0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007]
    face += [0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01, 0.008]
    hand = [0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024]
    hand += [0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02, 0.019, 0.022, 0.031]
    parts = {"body": body, "foot": foot, "face": face, "lefthand": hand, "righthand": hand}
    if benchmark == "wholebody":
        return parts.get(part) or body + foot + face + hand + hand
    if benchmark == "crowdpose":
        return [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079]
    if benchmark == "aic":
        head = [0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941]
        return [*head, 0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173]
    return body


if __name__ == "__main__":
    for benchmark in ("crowdpose", "ochuman", "humanart", "aic"):
        print(f'("{benchmark}", ""):', reference(benchmark))
    if len(sys.argv) > 1:
        print("JHMDB =", reference_jhmdb(sys.argv[1]))
    for part in ("wholebody", "body", "foot", "face", "lefthand", "righthand"):
        print(f'("wholebody", "{part}"):', reference("wholebody", part))
