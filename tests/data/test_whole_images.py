"""Windows of whole images have the official matrices, masks and all instances, for any number of workers."""

import itertools
import json

import numpy as np
import pytest
import torch
from tiny_coco import annotation, content, datamodule, write_dataset, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.regions import LabelledImages, read_regions
from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import fit_image
from hrpose.data.transforms import HalfBody, RandomFlip, RandomWindow
from hrpose.data.whole_images import ImageDataset
from hrpose.errors import DataError
from hrpose.geometry import fit_whole_image, input_from_image, transform_points
from hrpose.skeletons import COCO
from hrpose.structures import Crop

CODEC = AssociativeEmbedding((64, 64))
RECIPE = {"window": RandomWindow(), "flip": RandomFlip()}
pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 4 worker processes", "ignore:.*crowds", "ignore:.*share"
)


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path)


def ready(folder, **changes):
    data = datamodule(folder, **{"codec": CODEC, "val_boxes": ["none"], "augment": RECIPE, **changes})
    data.setup("fit")
    return data


def batches(data, epochs=2):
    loader = data.train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found += list(loader)
    return found


def flattened(batch):
    return {**{f"mask {place}": mask for place, mask in enumerate(batch["masks"])}, **batch, "masks": torch.zeros(0)}


@pytest.mark.parametrize("num_workers", [1, 4])
def test_workers_make_the_same_batches(folder, num_workers):
    alone, workers = batches(ready(folder)), batches(ready(folder, num_workers=num_workers))
    assert len(alone) == 4
    for one, other in zip(alone, workers, strict=True):
        for name, value in flattened(one).items():
            torch.testing.assert_close(value, flattened(other)[name], rtol=0, atol=0)


def test_windows_are_shuffled_in_blocks_of_images_that_are_stored_together(folder):
    data = ready(folder, shuffle_block=2)
    assert sorted(image for batch in batches(data, 1) for image in batch["image_ids"].tolist()) == [1, 2, 3, 4]
    assert data.train_dataloader().dataset.stored_order().tolist() == [0, 1, 2, 3]


def test_windows_differ_between_epochs_and_repeat_in_the_same_epoch(folder):
    first, second = batches(ready(folder))[::2]
    assert not torch.equal(first["image_from_input"], second["image_from_input"])
    assert torch.equal(batches(ready(folder))[0]["image_from_input"], first["image_from_input"])


# the official matrices of an image of 640x427, its largest window: s = 2.135
@pytest.mark.parametrize(
    ("side", "rotation", "expected"),
    [
        (512, 0.0, [[1.19906323, 0, -127.700234], [0, 1.19906323, 0]]),
        (128, 30.0, [[0.2596048, 0.1498829, -51.0735], [-0.1498829, 0.2596048, 56.5369]]),
    ],
)
def test_the_matrix_of_a_window_equals_the_official_one(side, rotation, expected):
    matrix = input_from_image((320, 213.5), (427, 427), rotation, (side, side))
    np.testing.assert_allclose(matrix, expected, atol=4e-5)


@pytest.mark.parametrize(
    ("image", "inputs"), [((640, 480), (704, 512)), ((640, 427), (768, 512)), ((500, 375), (704, 512)), ((500, 333), (768, 512))]
)
def test_the_input_size_of_a_whole_image_equals_the_official_one(image, inputs):
    assert fit_whole_image(image, 512)[0] == [inputs]
    assert fit_whole_image(image[::-1], 512)[0] == [inputs[::-1]]


def test_the_scales_of_an_image_have_one_aspect_ratio():
    sizes, _, scale = fit_whole_image((640, 480), 512, (2, 1, 0.5))
    assert sizes == [(1536, 1024), (768, 512), (384, 256)]
    np.testing.assert_allclose(scale, (720, 480))


def test_the_matrix_of_a_whole_image_equals_the_official_one():
    batch = fit_image(np.zeros((427, 640, 3), np.uint8), AssociativeEmbedding((512, 512), scales=(0.5, 1, 2)), image_id=7)
    assert [tuple(images.shape[1:3]) for images in (batch["images"], *batch["rescaled"])] == [
        (512, 768),
        (256, 384),
        (1024, 1536),
    ]
    sizes, center, scale = fit_whole_image((640, 427), 512)
    expected = [[1.19906323, 0, 0.29976581], [0, 1.19906323, -0.59953162]]
    np.testing.assert_allclose(input_from_image(center, scale, 0, sizes[0]), expected, atol=1e-8)
    points = transform_points(
        [[0.29976581, -0.59953162]],
        fit_image(np.zeros((427, 640, 3), np.uint8), AssociativeEmbedding((512, 512)))["image_from_input"].numpy(),
    )
    np.testing.assert_allclose(points, np.zeros((1, 1, 2)), atol=1e-6)
    assert batch["image_ids"].tolist() == [7]


def test_windows_are_shifted_scaled_and_rotated_within_bounds():
    class Draws:
        def __init__(self, *numbers):
            self.numbers = iter(numbers)

        def random(self):
            return next(self.numbers)

    crop = Crop(np.array([320, 213.5]), np.array([427.0, 427.0]))
    least = RandomWindow()(crop, None, None, Draws(0, 0, 0, 0))
    np.testing.assert_allclose(least.scale, 0.75 * crop.scale)
    assert least.rotation == -30
    np.testing.assert_allclose(least.center, crop.center - 64)  # 40 s = 64.05 pixels, cut
    most = RandomWindow()(crop, None, None, Draws(1 - 1e-12, 1 - 1e-12, 1 - 1e-12, 0.5))
    np.testing.assert_allclose(most.scale, 1.5 * crop.scale, rtol=1e-9)
    assert most.rotation == pytest.approx(30)
    np.testing.assert_allclose(most.center, crop.center + np.array([127, 0]))  # the end is exclusive: 128 is never drawn


def test_keypoints_masks_and_pixels_are_transformed_alike(folder):
    data = ready(folder)
    batch = batches(data, 1)[0]
    table = data.train_table
    for slot, image_id in enumerate(batch["image_ids"].tolist()):
        rows = np.flatnonzero(table.image_ids[table.image_index] == image_id)
        back = transform_points(batch["keypoints"][slot].numpy(), batch["image_from_input"][slot].numpy())
        mirrored = np.linalg.det(batch["image_from_input"][slot, :, :2].numpy()) < 0
        order = list(COCO.flip_permutation) if mirrored else list(range(17))
        labelled = batch["visibility"][slot].numpy() > 0
        assert np.array_equal(labelled[: len(rows)], table.visibility[rows][:, order] > 0)
        assert not labelled[len(rows) :].any()
        np.testing.assert_allclose(
            back[: len(rows)][labelled[: len(rows)]], table.keypoints[rows][:, order][labelled[: len(rows)]], atol=1e-3
        )
        for mask in batch["masks"]:
            side = mask.shape[1]
            cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
            zoom = 64 / side
            offset = (zoom - 1) if mirrored else 0.0  # shift of the mirror image of a map of another size
            places = transform_points(cells * zoom + [offset, 0], batch["image_from_input"][slot].numpy())
            inside = ((places > 0.6) & (places < [88.4, 68.4])).all(1).reshape(side, side)
            outside = ((places < -0.6) | (places > [89.6, 69.6])).any(1).reshape(side, side)
            assert mask[slot].numpy()[inside].all()
            assert not mask[slot].numpy()[outside].any()


def test_pixels_outside_the_image_are_black_and_masked(folder):
    data = ready(folder, augment=[RandomWindow(scale=(3, 3), rotation=0, shift=0)])
    batch = batches(data, 1)[0]
    assert not batch["images"][:, :10].any()
    assert not any(mask[:, : mask.shape[1] // 8].any() for mask in batch["masks"])
    assert all(mask[:, mask.shape[1] // 2, mask.shape[2] // 2].all() for mask in batch["masks"])


def test_images_with_unlabelled_instances_only_are_training_samples(tmp_path, folder):
    document = content(3)  # images 1 to 3 of 4
    document["annotations"] += [annotation(7, image_id=4, keypoints=[0] * 51, segmentation=[[0, 0, 90, 0, 90, 70, 0, 70]])]
    write_json(folder / "persons.json", document)
    data = ready(folder, augment=[], batch_size=4)
    (batch,) = batches(data, 1)
    slot = batch["image_ids"].tolist().index(4)
    assert not batch["visibility"][slot].any()
    assert not any(mask[slot].any() for mask in batch["masks"])
    assert all(mask[1 - slot if slot < 2 else 0].any() for mask in batch["masks"])


def test_images_without_instances_are_validation_samples_only(folder):
    write_json(folder / "persons.json", content(3))
    data = ready(folder)
    assert data.num_train_samples == 3
    assert len(data.train_table) == 3
    assert [batch["image_ids"].item() for batch in data.val_dataloader()] == [1, 2, 3, 4]


def test_more_instances_than_tags_are_accepted(tmp_path, folder):
    document = content(0)
    document["annotations"] = [annotation(number, image_id=1) for number in range(33)]
    write_json(folder / "persons.json", document)
    data = ready(folder)
    (batch,) = [data.on_after_batch_transfer(raw, 0) for raw in batches(data, 1)]
    assert batch["keypoints"].shape == (1, 33, 17, 2)
    assert batch["target"].tags.shape == (1, 30, 17)
    assert [tuple(weight.shape) for weight in batch["target_weight"]] == [(1, 16, 16), (1, 32, 32)]
    assert batch["images"].shape == (1, 3, 64, 64)


def test_whole_images_are_normalised_at_every_scale(folder):
    data = ready(folder, codec=AssociativeEmbedding((64, 64), scales=(1, 2)))
    raw = next(iter(data.val_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    assert [tuple(images.shape) for images in (batch["images"], *batch["rescaled"])] == [(1, 3, 64, 128), (1, 3, 128, 256)]
    assert "target" not in batch
    assert raw["images"].dtype == torch.uint8


def test_a_resumed_epoch_continues_with_the_next_batch(folder):
    data = ready(folder, batch_size=1)
    whole = batches(data, 1)
    loader = data.train_dataloader()
    first = list(itertools.islice(loader, 2))
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = ready(folder, batch_size=1).train_dataloader()
    resumed.load_state_dict(state)
    joined = [*first, *resumed]
    assert len(joined) == len(whole)
    assert all(torch.equal(one["images"], other["images"]) for one, other in zip(joined, whole, strict=True))


def test_crowds_with_keypoints_are_instances(tmp_path):
    rows = [annotation(1), annotation(2, iscrowd=1, num_keypoints=13), annotation(3, iscrowd=1, num_keypoints=0)]
    rows += [annotation(4, area=0), annotation(5, keypoints=[0] * 51)]
    annotations = read_annotations(write_json(tmp_path / "persons.json", {**content(0), "annotations": rows}))
    assert sorted(annotations.labelled().instance_ids.tolist()) == [101, 102, 104]


def test_boxes_and_half_body_are_refused(folder):
    with pytest.raises(ValueError, match="val_boxes"):
        ready(folder, val_boxes=["gt"])
    with pytest.raises(ValueError, match="val_boxes"):
        datamodule(folder, val_boxes=["none"])
    with pytest.raises(ValueError, match="half_body"):
        ready(folder, augment=[HalfBody()])


def test_a_set_without_labels_is_refused(folder):
    write_json(folder / "persons.json", {**content(0), "annotations": [annotation(1, keypoints=[0] * 51)]})
    with pytest.raises(DataError, match="expected instances to train"):
        ready(folder)


@pytest.mark.parametrize("options", [{"scale": (1.5, 0.75)}, {"scale": (0, 1)}, {"rotation": -1}, {"shift": -0.1}])
def test_a_window_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RandomWindow(**options)


def test_indexing_returns_a_batch_of_one_image(folder):
    annotations = read_annotations(folder / "persons.json")
    images = LabelledImages(annotations.labelled(), np.arange(4), read_regions(annotations))
    dataset = ImageDataset(images, folder / "photos", CODEC, COCO)
    assert len(dataset) == 4
    assert dataset[(0, 2)]["images"].shape == (1, 64, 64, 3)
    with pytest.raises(IndexError):
        dataset[4]
