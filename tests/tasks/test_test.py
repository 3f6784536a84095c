"""`hrpose test` of exported files: from another tool, and from hrpose."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from processes import run_module


def hrpose(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_module("hrpose", *overrides, cwd=cwd)


@pytest.fixture(scope="module")
def images(shared_data, tmp_path_factory) -> Path:
    """Two hundred images of COCO with their annotations, unpacked from the shared data."""
    folder = tmp_path_factory.mktemp("real")
    subprocess.run(["tar", "-xf", str(shared_data / "coco_real.tar"), "-C", str(folder)], check=True)
    return next(path.parent.parent for path in folder.rglob("person_keypoints_val2017.json"))


@pytest.mark.slow
@pytest.mark.data
def test_a_network_of_another_tool_has_the_published_ap(shared_data, images, tmp_path):
    """The published results use the annotated boxes; the rules of the paper first remove a pixel at each side."""
    annotations = json.loads((images / "annotations" / "person_keypoints_val2017.json").read_text())
    boxes = [
        {"image_id": row["image_id"], "category_id": 1, "bbox": row["bbox"], "score": 1.0} for row in annotations["annotations"]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    overrides = [
        *("experiment=w32_256x192", f"weights={shared_data}/simplepose/ultralight_simplepose_256x192.onnx"),
        *("flip_test=false", f"paths.data={images}", "data.val_boxes=[gt,det]", "data.num_workers=0", "paths.run=run"),
        *("data.val_detections=boxes.json", "trainer.accelerator=cpu", "callbacks.progress=null"),
    ]
    done = hrpose("test", *overrides, "+trainer.enable_progress_bar=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "run" / "results"
    numbers = {kind: json.loads((results / f"report_{kind}.json").read_text())["numbers"] for kind in ("gt", "det")}
    assert numbers["det"]["AP"] == pytest.approx(0.506, abs=0.0015)
    assert numbers["det"]["AP50"] == pytest.approx(0.827, abs=0.0015)
    assert numbers["gt"]["AP"] == pytest.approx(0.512, abs=0.0015)
    found = json.loads((results / "keypoints_det.json").read_text())
    published = json.loads((shared_data / "simplepose" / "ultralight_simplepose_val2017_keypoints_results.json").read_text())
    assert (distances(found, published) < 1e-3).mean() > 0.99  # near-ties go either way by version of the engine


def distances(found: list[dict], published: list[dict]) -> np.ndarray:
    """Return the distances (N, K) in pixels to the nearest pose of the same image."""
    by_image: dict[int, list[np.ndarray]] = {}
    for row in published:
        by_image.setdefault(row["image_id"], []).append(np.reshape(row["keypoints"], (-1, 3)))
    apart = []
    for row in found:
        keypoints = np.reshape(row["keypoints"], (-1, 3))[:, :2]
        others = np.stack([other[:, :2] for other in by_image[row["image_id"]]])
        candidates = np.linalg.norm(others - keypoints, axis=-1)
        apart.append(candidates[candidates.mean(axis=1).argmin()])
    return np.stack(apart)
