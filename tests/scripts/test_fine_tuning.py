"""scripts/fine_tuning.py: its five keypoints, and the ways of training."""

import json
import sys
from pathlib import Path

import pytest

from hrpose.config import compose, write_override

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import fine_tuning


def test_the_keypoints_between_two_others_are_labelled_if_both_are():
    assert fine_tuning.middle((0, 2, 2), (4, 4, 1)) == (2, 3, 1)
    assert fine_tuning.middle((0, 0, 0), (4, 4, 1)) == (0, 0, 0)


def test_the_drawn_people_have_five_keypoints(tmp_path, monkeypatch):
    write = fine_tuning.write_dataset
    few = {"num_train": 2, "num_val": 1}
    monkeypatch.setattr(fine_tuning, "write_dataset", lambda folder, **given: write(folder, **{**given, **few}))
    fine_tuning.draw(tmp_path / "data")
    content = json.loads((tmp_path / "data" / "annotations" / "person_keypoints_train2017.json").read_text())
    assert content["categories"][0]["keypoints"] == list(fine_tuning.NAMES)
    assert {len(row["keypoints"]) for row in content["annotations"]} == {15}


@pytest.mark.parametrize("way", fine_tuning.WAYS)
def test_each_way_composes(way):
    values = {**fine_tuning.COMMON, **fine_tuning.WAYS[way]}
    texts = [write_override(key, value) for key, value in values.items()]
    assert compose("fit", texts).trainer.max_epochs == 30
