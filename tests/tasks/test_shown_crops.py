"""The crops of pages: as in the data pipeline, spread over the data, the worst predictions first."""

import numpy as np
import pytest
import torch
from moved_poses import MovedPoses, evaluated
from tiny_coco import datamodule, write_dataset

from hrpose.codecs import RegressionCodec
from hrpose.data.transforms import RandomFlip, RandomRotation, RandomScale
from hrpose.errors import DataError, MissingDataError
from hrpose.skeletons import COCO, Skeleton
from hrpose.tasks.shown_crops import best_poses, drop_missing, predicted_crops, spread_rows, training_crops, worst_crops

AUGMENT = [RandomScale(), RandomRotation(), RandomFlip()]


@pytest.fixture
def data(tmp_path):
    module = datamodule(write_dataset(tmp_path), augment=AUGMENT)
    module.setup("fit")
    return module


def test_rows_are_spread_and_equal_for_equal_seeds() -> None:
    rows = spread_rows(1000, 10, 3)
    assert (rows // 100).tolist() == list(range(10))
    assert rows.tolist() == spread_rows(1000, 10, 3).tolist() != spread_rows(1000, 10, 4).tolist()
    assert spread_rows(3, 10, 0).tolist() == [0, 1, 2]
    assert spread_rows(0, 10, 0).tolist() == []


def test_training_crops_are_those_of_the_first_epoch(data) -> None:
    crops = training_crops(data, data.train_table, number=4)
    assert len(crops) == 4
    dataset = data.crops(data.train_table, train=True)
    for crop, row in zip(crops, spread_rows(len(dataset), 4, data.seed).tolist(), strict=True):
        sample = dataset[(0, row)]
        assert np.array_equal(crop.image, sample["image"])
        assert np.array_equal(crop.keypoints, sample["keypoints"])
        assert np.array_equal(crop.visibility, sample["visibility"])
        assert str(sample["instance_id"]) in crop.title
        labels = [torch.from_numpy(sample[name])[None] for name in ("keypoints", "visibility")]
        assert np.array_equal(crop.heatmaps, data.codec.encode(*labels)[0][0].numpy())
    plain = data.crops(data.train_table, train=False)[0]["image"]
    assert not np.array_equal(training_crops(data, data.train_table, number=11)[0].image, plain)


def test_a_codec_of_coordinates_has_no_heatmaps(tmp_path) -> None:
    module = datamodule(write_dataset(tmp_path), codec=RegressionCodec(input_size=(48, 64)))
    module.setup("fit")
    assert training_crops(module, module.train_table, number=1)[0].heatmaps is None


def test_an_unreadable_image_is_replaced_by_its_error(data) -> None:
    image = data.train_images / "photo 2.jpg"
    image.write_bytes(image.read_bytes()[:200])
    crops = training_crops(data, data.train_table)
    assert {crop.image is None for crop in crops if crop.title.startswith("photo 2")} == {True}
    assert {crop.image is None for crop in crops if not crop.title.startswith("photo 2")} == {False}
    assert all("photo 2.jpg" in crop.fault for crop in crops if crop.image is None)


def test_instances_of_missing_images_can_be_dropped(data) -> None:
    (data.train_images / "photo 2.jpg").unlink()
    with pytest.raises(MissingDataError):
        training_crops(data, data.train_table)
    there = drop_missing(data.train_table, data.train_images)
    titles = [crop.title for crop in training_crops(data, there)]
    assert len(titles) == 8
    assert not any(title.startswith("photo 2") for title in titles)
    for image in data.train_images.iterdir():
        image.unlink()
    assert training_crops(data, drop_missing(data.train_table, data.train_images)) == []


def test_predictions_are_ordered_from_the_lowest_oks(data) -> None:
    table = data.val_tables["gt"]
    crops, note = predicted_crops(data, table, data.val_images, MovedPoses(table), number=6)
    similarities = [crop.oks for crop in crops]
    assert len(crops) == 6
    assert "6 predictions of lowest OKS among 11" in note
    assert similarities == sorted(similarities)
    assert similarities[0] < 0.5
    errors = [(int(crop.title.split()[-1]) * 7) % 10 for crop in crops]
    assert errors[0] == 9
    crop = crops[0]
    moved = crop.predicted - crop.keypoints
    labelled = crop.visibility > 0
    assert np.ptp(moved[labelled], axis=0).max() < 1e-3
    assert moved[labelled].min() > 1


def test_images_that_cannot_be_read_are_counted(data) -> None:
    table = data.val_tables["gt"]
    (data.val_images / "photo 2.jpg").write_bytes(b"no image")
    crops, note = predicted_crops(data, table, data.val_images, MovedPoses(table))
    assert len(crops) == 8
    assert "3 other instances" in note


def test_an_engine_of_other_keypoints_is_refused(data) -> None:
    engine = MovedPoses(data.val_tables["gt"])
    engine.skeleton = Skeleton.from_names(["a", "b"], sigmas=[0.1, 0.1])
    with pytest.raises(DataError, match="2 keypoints"):
        predicted_crops(data, data.val_tables["gt"], data.val_images, engine)


def test_the_worst_poses_come_first_and_only_their_images_are_read(data, monkeypatch) -> None:
    predictions, truth = evaluated(data)
    _, oks = best_poses(predictions, truth, COCO.sigmas)
    read = []
    original = type(data).crops

    def count(self, table, *, train):
        read.append(len(table))
        return original(self, table, train=train)

    monkeypatch.setattr(type(data), "crops", count)
    crops = worst_crops(data, "gt", predictions, truth, number=3)
    assert [crop.oks for crop in crops] == sorted(oks.tolist())[:3]
    assert read == [3]
    plain = data.crops(data.val_tables["gt"], train=False)
    for crop in crops:
        row = int(np.flatnonzero(plain.table.instance_ids == int(crop.title.split()[-1]))[0])
        assert np.abs(crop.keypoints - plain[row]["keypoints"]).max() < 3  # the boxes are not clipped by a pixel here


def test_the_best_pose_of_an_image_is_used(data) -> None:
    predictions, truth = evaluated(data)
    rows, oks = best_poses(predictions, truth, COCO.sigmas)
    images = predictions.detections.image_ids[rows]
    assert np.array_equal(images, truth.object_image_ids)
    assert oks.min() > 0


def test_an_instance_without_a_pose_comes_first(data) -> None:
    table = data.val_tables["gt"]
    elsewhere = table.image_ids[table.image_index] != 2
    predictions, truth = evaluated(data, elsewhere)
    crops = worst_crops(data, "gt", predictions, truth)
    alone = [crop for crop in crops if crop.title.startswith("photo 2")]
    assert crops[: len(alone)] == alone
    assert all(crop.predicted is None and crop.oks == 0 for crop in alone)


def test_the_pose_of_another_instance_is_not_drawn(data) -> None:
    predictions, truth = evaluated(data)
    predictions.detections.keypoints[:] += 500
    crops = worst_crops(data, "gt", predictions, truth)
    assert all(crop.predicted is None and crop.oks == 0 for crop in crops)
