"""Faults in files, and the cause that a run on them ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrpose.errors import DataWarning
from hrpose.skeletons import COCO

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning"),
]


def exchange_axes(row: dict[str, Any]) -> None:
    row["keypoints"] = np.reshape(row["keypoints"], (-1, 3))[:, [1, 0, 2]].ravel().tolist()


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "axes": (exchange_axes, "null"),
    "sigmas": (lambda row: None, f"[{','.join(f'{sigma / 10:g}' for sigma in COCO.sigmas)}]"),
    "nothing-to-find": (lambda row: row.update(num_keypoints=0), "null"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_on_faulty_files_ends_with_the_cause(name: str, fit, people: Path, tmp_path: Path, capsys) -> None:
    change, sigmas = FAULTS[name]
    files = {}
    for split in ("train", "val"):
        content = json.loads((people / "annotations" / f"person_keypoints_{split}2017.json").read_text())
        for row in content["annotations"]:
            if split == "val" or name != "nothing-to-find":
                change(row)
        files[split] = tmp_path / f"{split}.json"
        files[split].write_text(json.dumps(content))
    annotations = [f"data.{split}_annotations={file}" for split, file in files.items()]
    score = fit(*annotations, f"skeleton.sigmas={sigmas}", "data.val_boxes=[gt]", "callbacks.pictures=null")
    assert score < 0.05
    found = json.loads((tmp_path / "run" / "results" / "diagnosis.json").read_text())
    assert found["name"] == name, found
    assert f"Likely cause: {found['cause']}" in capsys.readouterr().out
