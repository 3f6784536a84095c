"""The parts of a run are built together."""

import logging

import pytest
from small_network import SMALL, write_checkpoint
from tiny_coco import CATEGORY, content, write_dataset, write_json

from hrpose.config import compose
from hrpose.tasks.assemble import assemble


def warnings_of(names, overrides, tmp_path, caplog) -> list[str]:
    """Assemble a run on keypoints with these names, and return its messages about mirror pairs."""
    whole = content() | {"categories": [CATEGORY | {"keypoints": names, "sigmas": [0.1] * 17}]}
    images = write_dataset(tmp_path) / "photos"
    file = write_json(tmp_path / "persons.json", whole)
    paths = [f"data.{part}_{name}" for part in ("train", "val") for name in (f"annotations={file}", f"images={images}")]
    paths += ["data.val_boxes=[gt]", "prepare=null"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assemble(compose("fit", [*paths, f"paths.run={tmp_path}", *overrides]))
    return [record.message for record in caplog.records if "irror" in record.message]


POINTS = [f"p{k}" for k in range(17)]


def test_mirrored_images_without_a_pair_are_one_warning(tmp_path, caplog):
    (message,) = warnings_of(POINTS, [], tmp_path, caplog)
    assert "17 keypoints of skeleton 'person' (p0, p1, p2, p3, p4, ...)" in message
    assert "augment.flip and flip_test use" in message
    assert "skeleton.flip_pairs=[[a,b],...]" in message
    (message,) = warnings_of(POINTS, ["augment.flip=null"], tmp_path, caplog)
    assert "flip_test uses" in message
    (message,) = warnings_of(POINTS, ["flip_test=false"], tmp_path, caplog)
    assert "augment.flip uses" in message


@pytest.mark.parametrize(
    ("names", "overrides"),
    [
        (POINTS, ["augment.flip=null", "flip_test=false"]),
        (POINTS, ["augment.flip.probability=0", "flip_test=false"]),
        (POINTS, ["skeleton.flip_pairs=[]"]),
        (POINTS, ["skeleton.flip_pairs=[[p1,p2]]"]),
        ([*POINTS[2:], "lhip", "rhip"], []),
    ],
)
def test_known_pairs_or_unmirrored_images_give_no_warning(names, overrides, tmp_path, caplog):
    assert warnings_of(names, overrides, tmp_path, caplog) == []


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [([], False), (["callbacks/freeze=backbone"], True), (["callbacks/freeze=backbone", "weights"], False)],
)
def test_a_frozen_backbone_of_random_weights_is_a_warning(overrides, warned, tmp_path, caplog):
    file = tmp_path / "weights.ckpt"
    if "weights" in overrides:
        write_checkpoint(file)
    overrides = [f"weights={file}" if word == "weights" else word for word in overrides]
    images = write_dataset(tmp_path) / "photos"
    annotations = write_json(tmp_path / "persons.json", content())
    paths = [f"data.{part}_{name}" for part in ("train", "val") for name in (f"annotations={annotations}", f"images={images}")]
    with caplog.at_level(logging.WARNING):
        assemble(compose("fit", [*SMALL, *paths, "data.val_boxes=[gt]", "prepare=null", f"paths.run={tmp_path}", *overrides]))
    assert any(record.message.startswith("callbacks.freeze:") for record in caplog.records) == warned
