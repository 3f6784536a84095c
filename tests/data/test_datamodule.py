"""Batches are the same for any number of workers, normalised and encoded, and continue after an interruption."""

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from archived import WRITE, write_tar
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from tiny_coco import CODEC, content, datamodule, write_dataset, write_json

from hrpose.codecs import Codec, DarkCodec, UdpCodec
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import transform_points
from hrpose.skeletons import MPII

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")

RECIPE = {"half": HalfBody(0.9, min_visible=3), "scale": RandomScale(), "turn": RandomRotation(), "flip": RandomFlip()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


def ready(folder: Path, stage: str = "fit", **changes: Any) -> PoseDataModule:
    data = datamodule(folder, augment=RECIPE, **changes)
    data.setup(stage)
    return data


def epochs(data: PoseDataModule, count: int = 2) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    batches = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    return batches


def assert_same(first: list[Any], second: list[Any]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(folder: Path, num_workers: int) -> None:
    alone = epochs(ready(folder))
    assert len(alone) == 12
    assert len(alone[5]["images"]) == 1  # the last, smaller batch is kept
    assert_same(epochs(ready(folder, num_workers=num_workers)), alone)


@pytest.mark.parametrize(("batch_size", "processes", "count"), [(2, 1, 6), (3, 1, 4), (2, 2, 3), (2, 3, 2), (30, 2, 1)])
def test_the_number_of_batches_is_that_of_one_process(folder, monkeypatch, batch_size, processes, count) -> None:
    data = ready(folder, batch_size=batch_size)
    assert len(data.train_table) == 11
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: processes)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: processes - 1)
    assert data.num_train_batches == len(list(data.train_dataloader())) == count


@pytest.mark.parametrize(
    "codec", [DarkCodec((96, 128), (24, 32), 1.5), UdpCodec((96, 128), (24, 32), 1.5)], ids=lambda codec: codec.grid
)
def test_crops_are_cut_on_the_grid_of_the_codec(folder: Path, codec: Codec) -> None:
    data = ready(folder, codec=codec)
    batch = data.on_after_batch_transfer(next(iter(data.predict_dataloader())), 0)
    keypoints, _ = codec.decode(batch["target"])
    back = transform_points(keypoints.numpy(), batch["image_from_input"].numpy())
    inside = ((batch["keypoints"] > 20) & (batch["keypoints"] < torch.tensor([76, 108]))).all(-1).numpy()
    assert inside.sum() > 10
    annotated = data.val_tables["gt"].keypoints[: len(back)]
    assert np.abs(back - annotated)[inside].max() < 0.05


@pytest.mark.slow
def test_spawned_workers_make_the_same_batches(folder: Path) -> None:
    alone = epochs(ready(folder))
    data = ready(folder, num_workers=1)
    loader = data.train_dataloader()
    loader.multiprocessing_context = "spawn"
    assert_same(list(loader), alone[:6])


def test_a_batch_is_normalised_and_encoded_on_the_device(folder: Path) -> None:
    data = ready(folder)
    raw = next(iter(data.train_dataloader()))
    before = raw["images"].clone()
    batch = data.on_after_batch_transfer(raw, 0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((before.double() / 255 - mean) / std).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(batch["images"], expected, rtol=0, atol=1e-6)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    target, weight = CODEC.encode(raw["keypoints"], raw["visibility"])
    assert torch.equal(batch["target"], target)
    assert torch.equal(batch["target_weight"], weight)
    assert "target" not in raw
    assert torch.equal(raw["images"], before)
    assert np.array_equal(data.normalization.undo(batch["images"]), before.numpy())


def test_other_mean_and_std_are_used(folder: Path) -> None:
    data = datamodule(folder, mean=(0, 0, 0), std=(1, 1, 1))
    images = data.normalization(torch.full((1, 4, 3, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(images, torch.ones(1, 3, 4, 3))


def test_bgr_keeps_the_order_of_mean_and_std_as_the_official_resnets_did(folder: Path) -> None:
    images = torch.randint(256, (2, 4, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = datamodule(folder, channel_order="bgr")
    blue_first = images.numpy()[..., ::-1].transpose(0, 3, 1, 2).astype(np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (blue_first / 255 - mean[:, None, None]) / std[:, None, None]
    normalised = data.normalization(images)
    np.testing.assert_allclose(normalised.numpy(), expected, atol=1e-6)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(data.normalization.undo(normalised), images.numpy())


def test_an_unknown_channel_order_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"""`channel_order`.*"rgb".*"bgr".*'brg'"""):
        datamodule(folder, channel_order="brg")


def test_val_loaders_follow_val_boxes(folder: Path) -> None:
    gt = ready(folder, "validate").val_dataloader()
    assert [batch["instance_ids"].tolist() for batch in gt] == [[100, 104, 108, 101], [105, 109, 102, 106], [110, 103, 107]]
    both = ready(folder, "test", val_boxes=["det", "gt"], val_detections=folder / "detections.json").test_dataloader()
    assert [len(loader.dataset) for loader in both] == [7, 11]
    det = next(iter(both[0]))
    assert det["bbox_scores"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert det["instance_ids"].tolist() == [0, 1, 2, 3]


def test_validation_crops_are_not_augmented(folder: Path) -> None:
    data = ready(folder, "fit")
    loader = data.val_dataloader()
    first = list(loader)
    loader.sampler.set_epoch(3)
    assert_same(list(loader), first)


def test_sample_cuts_crops_as_in_validation(folder: Path) -> None:
    data = ready(folder, "test", val_batch_size=100)
    table, rows, batch = data.sample("val", 3)
    assert len(rows) == 3
    assert batch["instance_ids"].tolist() == table.instance_ids[rows].tolist()
    whole = next(iter(data.val_dataloader()))
    places = [whole["instance_ids"].tolist().index(number) for number in batch["instance_ids"].tolist()]
    assert torch.equal(batch["images"], whole["images"][places])
    table, rows, _ = data.sample("train", 10**6)  # which a test has not read
    assert len(rows) == np.count_nonzero((table.visibility > 0).any(axis=1)) > 0


def test_detections_of_low_score_are_ignored(folder: Path) -> None:
    data = ready(folder, val_boxes=["det"], val_detections=folder / "detections.json", min_bbox_score=0.45)
    assert len(data.val_tables["det"]) == 3
    assert len(data.predict_dataloader().dataset) == 3


def test_ground_truth_is_available_before_setup(folder: Path) -> None:
    data = datamodule(folder)
    assert len(data.ground_truth) == 11
    assert data.ground_truth is data.ground_truth


def test_validation_needs_no_training_files(folder: Path) -> None:
    data = datamodule(folder, train_annotations=folder / "none.json", train_images=folder / "none")
    data.setup("validate")
    assert len(data.val_tables["gt"]) == 11
    with pytest.raises(MissingDataError, match=r"none\.json"):
        data.setup("fit")


def test_validation_images_are_read_by_id(folder: Path) -> None:
    data = ready(folder, "validate")
    assert data.read_val_image(2).shape == (70, 90, 3)
    with pytest.raises(DataError, match="99"):
        data.read_val_image(99)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_boxes": ["boxes"]}, r"`val_boxes`.*\['boxes'\]"),
        ({"val_boxes": []}, "`val_boxes`"),
        ({"val_boxes": ["det"]}, "`val_detections`.*none"),
        ({"batch_size": 0}, r"`batch_size`.*1.*0"),
        ({"num_workers": -1}, r"`num_workers`.*0"),
    ],
)
def test_arguments_are_checked(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datamodule(folder, **changes)


def test_a_set_without_instances_is_refused(folder: Path) -> None:
    file = write_json(folder / "empty.json", content(0))
    with pytest.raises(DataError, match=r"empty\.json.*0 annotations"):
        datamodule(folder, train_annotations=file).setup("fit")
    with pytest.raises(DataError, match=r"empty\.json"):
        datamodule(folder, val_annotations=file).setup("validate")


def test_a_skeleton_of_another_size_is_refused(folder: Path) -> None:
    data = PoseDataModule(
        CODEC,
        MPII,
        train_annotations=folder / "persons.json",
        train_images=folder / "photos",
        val_annotations=folder / "persons.json",
        val_images=folder / "photos",
    )
    with pytest.raises(DataError, match="16 keypoints of skeleton 'mpii'"):
        data.setup("fit")


class RecordingModule(LightningModule):
    """Records the samples of its batches without learning, and can be interrupted."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_after = stop_after
        self.samples: list[tuple[int, int, float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.samples.append((self.current_epoch, batch_idx, float(batch["images"].double().sum() + batch["keypoints"].sum())))
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        pass

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch

    def on_train_batch_end(self, *args: Any) -> None:
        if self.stop_after is not None and len(self.samples) == self.stop_after:
            raise InterruptedError

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, **options: Any) -> Trainer:
    defaults = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
        "callbacks": [ModelCheckpoint(folder / "ckpt", save_last=True, save_top_k=-1, every_n_train_steps=1)],
    }
    return Trainer(**{**defaults, **options})


LIGHTNING_ADVICE = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*exists and is not empty")


@LIGHTNING_ADVICE
@pytest.mark.parametrize(
    ("stop_after", "num_workers"),
    [
        *((1, 0), (6, 1), (8, 0)),
        *(
            pytest.param(stop, workers, marks=pytest.mark.slow)
            for stop, workers in ((1, 1), (5, 0), (5, 1), (6, 0), (8, 1), (12, 0), (12, 1))
        ),
    ],
)
def test_interrupted_training_continues_with_the_next_batch(folder: Path, num_workers: int, stop_after: int) -> None:
    undisturbed = RecordingModule()
    trainer(folder, callbacks=[], enable_checkpointing=False).fit(undisturbed, datamodule=datamodule(folder, augment=RECIPE))
    assert len(undisturbed.samples) == 18

    killed, resumed = RecordingModule(stop_after), RecordingModule()
    with pytest.raises(InterruptedError):
        trainer(folder).fit(killed, datamodule=datamodule(folder, augment=RECIPE, num_workers=num_workers))
    data = datamodule(folder, augment=RECIPE, num_workers=num_workers)
    trainer(folder).fit(resumed, datamodule=data, ckpt_path=folder / "ckpt" / "last.ckpt", weights_only=False)
    assert killed.samples + resumed.samples == undisturbed.samples


@LIGHTNING_ADVICE
@pytest.mark.parametrize("at", ["validation end", "epoch end"])
def test_training_resumed_after_an_epoch_starts_the_next(folder: Path, at: str) -> None:
    undisturbed = RecordingModule()
    trainer(folder, callbacks=[], enable_checkpointing=False).fit(undisturbed, datamodule=datamodule(folder, augment=RECIPE))

    def saving() -> ModelCheckpoint:
        return ModelCheckpoint(folder / "ckpt", save_last=True, save_on_train_epoch_end=at == "epoch end")

    trainer(folder, max_epochs=2, callbacks=[saving()]).fit(RecordingModule(), datamodule=datamodule(folder, augment=RECIPE))
    resumed = RecordingModule()
    trainer(folder, callbacks=[saving()]).fit(
        resumed, datamodule=datamodule(folder, augment=RECIPE), ckpt_path=folder / "ckpt" / "last.ckpt", weights_only=False
    )
    assert resumed.samples == undisturbed.samples[12:]


@LIGHTNING_ADVICE
def test_prediction_batches_have_no_targets(folder: Path) -> None:
    batches = trainer(folder, callbacks=[], enable_checkpointing=False).predict(RecordingModule(), datamodule=datamodule(folder))
    assert [len(batch["images"]) for batch in batches] == [4, 4, 3]
    assert "target" not in batches[0]
    assert list(itertools.chain(*[batch["instance_ids"].tolist() for batch in batches]))[:3] == [100, 104, 108]


def crops_of(data: PoseDataModule) -> list[torch.Tensor]:
    """Images and keypoints of all training and validation batches, and a validation image."""
    data.setup("fit")
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    first = torch.from_numpy(data.read_val_image(1))
    return [first, *(batch[name] for batch in batches for name in ("images", "keypoints"))]


def assert_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert len(first) == len(second)
    assert all(map(torch.equal, first, second))


def rewritten(folder: Path, write: Callable[[Path, np.ndarray], None]) -> dict[str, Any]:
    """Rewrite the images of a data set as PNG; return a datamodule that reads them."""
    document = json.loads((folder / "persons.json").read_text())
    for image in document["images"]:
        pixels = cv2.imread(str(folder / "photos" / image["file_name"]))
        image["file_name"] = image["file_name"].replace(".jpg", ".png")
        write(folder / "new" / image["file_name"], pixels)
    file = write_json(folder / "new.json", document)
    return {"train_annotations": file, "val_annotations": file} | dict.fromkeys(("train_images", "val_images"), folder / "new")


TURNS = Image.Transpose
STORED_AS = {  # what the orientation undoes
    **{2: TURNS.FLIP_LEFT_RIGHT, 3: TURNS.ROTATE_180, 4: TURNS.FLIP_TOP_BOTTOM, 5: TURNS.TRANSPOSE},
    **{6: TURNS.ROTATE_90, 7: TURNS.TRANSVERSE, 8: TURNS.ROTATE_270},
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_upright_images_are_rotated_by_their_exif_orientation(folder: Path, orientation: int) -> None:
    """Images stored rotated, with the tag, give the batches of images stored upright."""

    def write(file: Path, image: np.ndarray) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., ::-1]).transpose(STORED_AS[orientation]).save(file, exif=exif)

    files = rewritten(folder, write)
    assert_equal(crops_of(datamodule(folder, **files, upright=True)), crops_of(datamodule(folder)))
    ignored = datamodule(folder, **files)
    with pytest.warns(DataWarning, match=r"4 of 4 sampled.*EXIF.*data\.upright=true"):
        ignored.setup("validate")
    if orientation > 4:
        with pytest.raises(DataError, match=r"set data\.upright=true"):
            list(ignored.val_dataloader())
    datamodule(folder, **files, upright=False).setup("fit")


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_16_bit_images_give_the_batches_of_8_bit_images(folder: Path, depth: int) -> None:
    """Images of 12 bits give the batches of their 8-bit versions; 16 used bits give no warning."""

    def write(file: Path, pixels: np.ndarray) -> None:
        pixels[0, 0] = 255  # the measured depth is that of the brightest pixel
        cv2.imwrite(str(file.with_suffix(".8.png")), pixels)
        cv2.imwrite(str(file), pixels.astype(np.uint16) << (depth - 8))

    (folder / "new").mkdir()
    deep = datamodule(folder, **rewritten(folder, write))
    document = json.loads((folder / "new.json").read_text())
    for image in document["images"]:
        image["file_name"] = image["file_name"].replace(".png", ".8.png")
    file = write_json(folder / "plain.json", document)
    folders = {"train_images": folder / "new", "val_images": folder / "new"}
    plain = datamodule(folder, train_annotations=file, val_annotations=file, **folders)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = crops_of(deep)
    assert_equal(found, crops_of(plain))
    assert (deep.reading.bit_depth, plain.reading.bit_depth) == (depth, None)
    assert any(f"use {depth} of them" in str(w.message) for w in caught) is (depth < 16)


def test_an_image_with_more_bits_than_the_sample_is_refused(folder: Path) -> None:
    def write(file: Path, image: np.ndarray) -> None:
        cv2.imwrite(str(file), image.astype(np.uint16) << 4)

    (folder / "new").mkdir()
    files = rewritten(folder, write)
    data = datamodule(folder, **files, bit_depth=12)
    data.setup("fit")
    cv2.imwrite(str(folder / "new" / "photo 2.png"), np.full((70, 90, 3), 2**14 - 1, np.uint16))
    with pytest.raises(DataError, match=r"2\.png.*12 bits.*bit_depth=14.*data\.bit_depth=14"):
        list(data.train_dataloader())


@pytest.mark.parametrize(("batch_size", "kept", "dropped"), [(2, 6, 5), (5, 3, 2), (4, 3, 3), (11, 1, 1)])
def test_a_last_batch_of_one_sample_can_be_dropped(batch_size: int, kept: int, dropped: int, tmp_path: Path) -> None:
    data = datamodule(write_dataset(tmp_path, num_instances=11), batch_size=batch_size)
    data.setup("fit")
    assert data.num_train_batches == kept
    data.drop_single_sample = True
    assert data.num_train_batches == dropped


@pytest.mark.parametrize(("kind", "num_workers"), [("zip", 0), ("tar", 0), ("shards", 2)])
def test_batches_of_archives_equal_those_of_files(kind: str, num_workers: int, folder: Path) -> None:
    if kind == "shards":
        for number in range(1, 5):
            write_tar(folder / f"{number}.tar", folder / "photos", [f"photo {number}.jpg"])
        images = folder / "*.tar"
    else:
        images = WRITE[kind](folder / f"photos.{kind}", folder / "photos")
    plain = ready(folder)
    packed = ready(folder, train_images=images, val_images=images, num_workers=num_workers)
    assert_same(epochs(packed), epochs(plain))
    assert_same(list(packed.val_dataloader()), list(plain.val_dataloader()))
    np.testing.assert_array_equal(packed.read_val_image(2), plain.read_val_image(2))


def test_a_folder_in_an_archive_is_an_image_folder(folder: Path) -> None:
    (folder / "all").mkdir()
    (folder / "photos").rename(folder / "all" / "photos")
    images = write_tar(folder / "all.tar", folder / "all") / "photos"
    assert len(epochs(ready(folder, train_images=images, val_images=images), 1)) == 6
    with pytest.raises(MissingDataError, match=r"is .*all\.tar/photos the image folder"):
        ready(folder, train_images=images.parent, val_images=images)


def test_a_block_shuffle_reads_an_archive_in_order(folder: Path) -> None:
    images = write_tar(folder / "x.tar", folder / "photos", [f"photo {number}.jpg" for number in (3, 1, 4, 2)])
    data = ready(folder, train_images=images, shuffle_block=4, num_workers=2)
    stored = [int(data.train_table.image_ids[data.train_table.image_index[row]]) for row in data._train_set.stored_order()]
    assert stored == sorted(stored, key=[3, 1, 4, 2].index)
    batches = epochs(data)
    order = [int(number) for batch in batches[:6] for number in batch["instance_ids"]]
    assert sorted(order) == sorted(data.train_table.instance_ids.tolist())
    assert_same(epochs(ready(folder, train_images=images, shuffle_block=4)), batches)
    names = ready(folder, shuffle_block=4)._train_set.stored_order()  # of a folder: by name
    assert np.all(np.diff(data.train_table.image_index[names]) >= 0)
