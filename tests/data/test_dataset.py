"""Crops equal the official ones for recorded draws, and depend on (seed, epoch, index) alone."""

import json
import os
import pickle
import signal
import subprocess
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from test_transforms import MPII_LOWER, MPII_UPPER, Recorded
from tiny_coco import content, write_dataset, write_image, write_json
from torch.utils.data import DataLoader

from hrpose.annotations.coco import read_annotations
from hrpose.codecs import HeatmapCodec
from hrpose.data import dataset as dataset_module
from hrpose.data.dataset import PoseDataset, keep_batch, sample_generator, start_worker
from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale
from hrpose.errors import DataError, MissingDataError
from hrpose.geometry import input_from_image, invert_affine, transform_points
from hrpose.media import images as images_module
from hrpose.media.images import decode_top
from hrpose.skeletons import COCO, MPII
from hrpose.structures import Crop, InstanceTable, PackedStrings

RECIPE = (HalfBody(0.9, min_visible=3), RandomScale(), RandomRotation(), RandomFlip())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


def make(folder: Path, **options) -> PoseDataset:
    table = read_annotations(folder / "persons.json").instances()
    return PoseDataset(table, folder / "photos", (48, 64), COCO, **options)


def one_person(center, scale, keypoints, visibility, image) -> InstanceTable:
    """A table with one instance of this center and scale."""
    return InstanceTable(
        image_ids=np.array([1]),
        image_sizes=np.array([image.shape[1::-1]], np.int32),
        file_names=PackedStrings(["0.png"]),
        image_index=np.zeros(1, np.int32),
        instance_ids=np.array([9]),
        bbox=np.concatenate([center - scale / 2, scale])[None].astype(np.float64),
        bbox_scores=np.ones(1, np.float32),
        area=np.ones(1, np.float32),
        keypoints=keypoints[None].astype(np.float32),
        visibility=visibility[None].astype(np.uint8),
    )


@pytest.mark.parametrize("i", [0, 1, 3, 7])
def test_a_sample_equals_the_official_one(i: int, golden_dir: Path, tmp_path: Path, monkeypatch) -> None:
    golden = np.load(golden_dir / "getitem.npz")
    record = json.loads(golden["records"].tobytes())[str(i)]
    skeleton, halves = (MPII, (MPII_UPPER, MPII_LOWER)) if record["dataset"] == "mpii" else (COCO, ((), ()))
    image = golden[f"image_rgb_{i}"]
    cv2.imwrite(str(tmp_path / "0.png"), image[..., ::-1])
    joints, labels = golden[f"joints_in_{i}"][:, :2], golden[f"joints_vis_in_{i}"][:, 0]
    table = one_person(golden[f"center_in_{i}"], golden[f"scale_in_{i}"] * 200.0, joints, labels, image)
    augment = [
        HalfBody(max(record["prob_half_body"], 0), upper_body=halves[0], lower_body=halves[1]),
        RandomScale(record["scale_factor"]),
        RandomRotation(record["rot_factor"]),
        RandomFlip(),
    ]
    draws = [("normal" if kind == "np.randn" else "uniform", value) for kind, value in record["draws_in_order"]]
    monkeypatch.setattr(dataset_module, "sample_generator", lambda *key: Recorded(*draws))
    size = tuple(record["image_size"])
    sample = PoseDataset(table, tmp_path, size, skeleton, augment=augment if record["is_train"] else (), bbox_padding=1.0)[0]

    flipped = bool(record["is_train"] and draws[-1][1] < 0.5)
    center = golden[f"center_out_{i}"].astype(np.float64)  # the official one is of the mirrored image
    if flipped:
        center[0] = image.shape[1] - 1 - center[0]
    np.testing.assert_allclose(sample["center"], center, atol=1e-3)
    np.testing.assert_allclose(sample["scale"] / 200, golden[f"scale_out_{i}"], rtol=1e-5)
    labelled = golden[f"joints_vis_out_{i}"][:, 0] > 0
    np.testing.assert_array_equal(sample["visibility"] > 0, labelled)
    np.testing.assert_allclose(sample["keypoints"][labelled], golden[f"joints_out_{i}"][labelled, :2], atol=1e-2)
    assert (sample["keypoints"][~labelled] == 0).all()
    difference = np.abs(sample["image"].astype(int) - golden[f"input_rgb_uint8_cv5_{i}"])
    assert difference.max() <= 4  # OpenCV 4 and 5 differ by as much
    assert difference.mean() < 0.3
    heatmap_size = tuple(record["heatmap_size"])
    target, weight = HeatmapCodec(size, heatmap_size, sigma=2).encode(
        torch.from_numpy(sample["keypoints"])[None], torch.from_numpy(sample["visibility"])[None]
    )
    np.testing.assert_allclose(target[0], golden[f"target_{i}"], atol=1e-6)
    np.testing.assert_array_equal(weight[0], golden[f"target_weight_{i}"])


def test_a_mirrored_crop_equals_the_crop_of_the_mirrored_image(folder: Path) -> None:
    class FlipAndTurn:
        def __init__(self, flip: bool) -> None:
            self.flip = flip

        def __call__(self, crop, keypoints, visibility, rng):
            return Crop(crop.center, crop.scale, 30.0, self.flip)

    flipped = make(folder, augment=[FlipAndTurn(True)])[0]
    image = cv2.imread(str(folder / "photos" / "photo 1.jpg"))
    (folder / "mirrored").mkdir()
    cv2.imwrite(str(folder / "mirrored" / "photo 1.png"), image[:, ::-1])
    document = content(1)
    row = document["annotations"][0]
    x, y, w, h = row["bbox"]
    row["bbox"] = [90 - x - w, y, w, h]
    triplets = np.reshape(row["keypoints"], (-1, 3))[list(COCO.flip_permutation)]
    triplets[:, 0] = np.where(triplets[:, 2] > 0, 89 - triplets[:, 0], 0)
    row["keypoints"] = triplets.ravel().tolist()
    document["images"][0]["file_name"] = "photo 1.png"
    table = read_annotations(write_json(folder / "mirrored.json", document)).instances()
    mirrored = PoseDataset(table, folder / "mirrored", (48, 64), COCO, augment=[FlipAndTurn(False)])[0]
    np.testing.assert_allclose(flipped["keypoints"], mirrored["keypoints"], atol=1e-4)
    np.testing.assert_array_equal(flipped["visibility"], mirrored["visibility"])
    assert np.abs(flipped["image"].astype(int) - mirrored["image"]).mean() < 0.5


def test_image_from_input_maps_keypoints_back_to_the_image(folder: Path) -> None:
    dataset = make(folder, augment=RECIPE)
    for index in range(len(dataset)):
        sample = dataset[5, index]
        back = transform_points(sample["keypoints"], sample["image_from_input"])
        labelled = sample["visibility"] > 0
        original = dataset.table.keypoints[index]
        found = {tuple(point) for point in np.round(back[labelled]).astype(int).tolist()}
        assert found == {tuple(p) for p in original[dataset.table.visibility[index] > 0].astype(int).tolist()}


@pytest.mark.parametrize("grid", ["dark", "udp"])
def test_crops_and_keypoints_follow_the_grid(folder: Path, grid: str) -> None:
    plain, other = make(folder), make(folder, grid=grid)
    for index in (0, 5):
        matrix = input_from_image(plain[index]["center"], plain[index]["scale"], 0, (48, 64), grid=grid)
        sample = other[index]
        np.testing.assert_allclose(sample["image_from_input"], invert_affine(matrix), atol=1e-9)
        labelled = sample["visibility"] > 0
        expected = transform_points(other.table.keypoints[index], matrix)[labelled]
        np.testing.assert_allclose(sample["keypoints"][labelled], expected, atol=1e-4)
        assert (sample["image"] != plain[index]["image"]).any()


def test_a_batch_equals_its_samples(folder: Path) -> None:
    dataset = make(folder, augment=RECIPE)
    keys = [(0, 3), (2, 3), (1, 10), (0, 0)]
    batch = dataset.__getitems__(keys)
    for slot, key in enumerate(keys):
        sample = dataset[key]
        np.testing.assert_array_equal(batch["images"][slot], sample["image"])
        np.testing.assert_array_equal(batch["keypoints"][slot], sample["keypoints"])
        np.testing.assert_array_equal(batch["image_from_input"][slot], sample["image_from_input"])
        assert batch["instance_ids"][slot] == sample["instance_id"] == 100 + sample_number(dataset, key[1])
        assert batch["image_ids"][slot] == sample["image_id"]
    assert {name: value.dtype for name, value in batch.items()} == {
        "images": torch.uint8,
        "keypoints": torch.float32,
        "visibility": torch.uint8,
        "image_from_input": torch.float64,
        "center": torch.float64,
        "scale": torch.float64,
        "bbox_scores": torch.float64,
        "image_ids": torch.int64,
        "instance_ids": torch.int64,
    }
    assert keep_batch(batch) is batch


def sample_number(dataset: PoseDataset, index: int) -> int:
    return int(dataset.table.instance_ids[index]) - 100


def test_draws_depend_on_seed_epoch_and_index_alone(folder: Path) -> None:
    first, second = make(folder, augment=RECIPE, seed=4), make(folder, augment=RECIPE, seed=4)
    second[0, 0], second[7, 3]
    np.testing.assert_array_equal(first[2, 5]["image"], second[2, 5]["image"])
    other = make(folder, augment=RECIPE, seed=5)
    crops = {dataset[epoch, 5]["image"].tobytes() for dataset in (first, other) for epoch in (0, 1, 2)}
    assert len(crops) == 6


def test_generators_of_adjacent_samples_are_uncorrelated() -> None:
    draws = [
        tuple(sample_generator(seed, epoch, index).random(2))
        for seed in (0, 1, -1, 2**40)
        for epoch in (0, 1, 2)
        for index in (0, 1, 2)
    ]
    assert len(set(draws)) == len(draws)
    assert abs(np.mean(draws) - 0.5) < 0.15


def test_pixel_transforms_depend_on_the_sample_and_move_no_keypoint(folder: Path) -> None:
    plain = make(folder, augment=RECIPE)
    stage = A.Compose([A.ColorJitter(p=1.0), A.CoarseDropout(p=1.0)])
    colored, again = (make(folder, augment=RECIPE, pixel_transforms=stage), make(folder, augment=RECIPE, pixel_transforms=stage))
    again[0, 1]
    np.testing.assert_array_equal(colored[1, 4]["image"], again[1, 4]["image"])
    assert (colored[1, 4]["image"] != plain[1, 4]["image"]).any()
    np.testing.assert_array_equal(colored[1, 4]["keypoints"], plain[1, 4]["keypoints"])
    np.testing.assert_array_equal(colored[1, 4]["visibility"], plain[1, 4]["visibility"])


def test_an_image_is_decoded_once_for_its_instances(folder: Path, monkeypatch) -> None:
    reads = []
    image = np.zeros((70, 90, 3), np.uint8)
    monkeypatch.setattr(dataset_module, "read_image", lambda file, **options: reads.append(file) or image)
    dataset = make(folder)
    assert len(dataset.__getitems__([10, 3, 7, 0, 1, 2, 4, 5])["images"]) == 8
    assert len(reads) == 4


def test_decoding_only_the_rows_of_a_crop_changes_no_pixel(folder: Path, monkeypatch) -> None:
    document = content()
    for image in document["images"]:
        image["height"] = 700
        write_image(folder / "photos" / image["file_name"], seed=image["id"], size=(90, 700))
    for row in document["annotations"]:
        row["bbox"][1] += 50 * (row["id"] % 11)
    write_json(folder / "persons.json", document)
    keys = [(epoch, row) for epoch in range(4) for row in range(11)]
    tops = []

    def noted(*arguments):
        tops.append(decode_top(*arguments))
        return tops[-1]

    monkeypatch.setattr(images_module, "decode_top", noted)
    dataset = make(folder, augment=RECIPE)
    partial = [dataset[key]["image"] for key in keys]
    assert sum(top is not None for top in tops) > 20
    monkeypatch.setattr(images_module, "decode_top", lambda *arguments: None)
    dataset = make(folder, augment=RECIPE)
    for key, image in zip(keys, partial, strict=True):
        np.testing.assert_array_equal(dataset[key]["image"], image)


def test_a_sample_takes_at_most_150_kilobytes(folder: Path) -> None:
    table = read_annotations(folder / "persons.json").instances()
    batch = PoseDataset(table, folder / "photos", (192, 256), COCO).__getitems__([0, 1, 2])
    assert sum(value.nbytes for value in batch.values()) / 3 <= 150_000


def test_another_number_of_keypoints_than_the_skeleton_is_refused(folder: Path) -> None:
    table = read_annotations(folder / "persons.json").instances()
    with pytest.raises(DataError, match=r"16 keypoints of skeleton 'mpii'.* have 17"):
        PoseDataset(table, folder / "photos", (48, 64), MPII)


def test_missing_images_are_refused_by_the_constructor(folder: Path) -> None:
    (folder / "photos" / "photo 2.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"4 images .* 1 is missing: photo 2\.jpg"):
        make(folder)


def test_an_image_of_another_size_is_refused(folder: Path) -> None:
    write_image(folder / "photos" / "photo 1.jpg", size=(70, 90))
    with pytest.raises(DataError, match=r"1\.jpg.*90 x 70.*70 x 90"):
        make(folder)[0]


def test_images_without_instances_need_not_exist(folder: Path) -> None:
    document = content(1)
    write_json(folder / "persons.json", document)
    for number in (2, 3, 4):
        (folder / "photos" / f"photo {number}.jpg").unlink()
    assert len(make(folder)) == 1


def test_an_index_out_of_range_ends_iteration(folder: Path) -> None:
    dataset = make(folder)
    assert len(list(dataset)) == 11
    np.testing.assert_array_equal(dataset[-1]["image"], dataset[10]["image"])
    with pytest.raises(IndexError, match="below 11"):
        dataset[11]


def test_the_last_image_is_not_pickled(folder: Path) -> None:
    dataset = make(folder)
    before = len(pickle.dumps(dataset))
    dataset[0]
    assert len(pickle.dumps(dataset)) == before


def test_half_body_receives_the_halves_of_the_skeleton(folder: Path) -> None:
    assert make(folder, augment=[HalfBody()]).augment[0].upper_body == COCO.upper_body


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="needs Linux")
def test_only_the_main_process_stops_a_worker() -> None:
    batches = iter(DataLoader(list(range(64)), batch_size=4, num_workers=1, worker_init_fn=start_worker))
    next(batches)
    (worker,) = batches._workers
    for name in ("TERM", "USR1", "USR2"):  # as `timeout` and SLURM do, to all processes of a run
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert [len(batch) for batch in batches] == [4] * 15

    batches = iter(DataLoader(list(range(64)), batch_size=4, num_workers=1, worker_init_fn=start_worker))
    next(batches)
    (worker,) = batches._workers
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(20)
    assert worker.exitcode == 0
