"""The Lightning data module: uint8 crops, or windows of whole images, from the workers; images and targets on the device."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from hrpose.annotations.coco import forget_annotations
from hrpose.annotations.images import sample_images, settle_reading
from hrpose.annotations.reader import InstanceFiles
from hrpose.codecs import Codec, is_bottom_up
from hrpose.data.crops import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder, Normalization
from hrpose.data.dataset import EpochSampler, PoseDataset, ResumableLoader, keep_batch, start_worker
from hrpose.data.transforms import CropTransform
from hrpose.data.whole_images import ImageDataset, WholeImages
from hrpose.errors import DataError
from hrpose.geometry import Rules
from hrpose.media.images import Reading, read_image
from hrpose.skeletons import Skeleton
from hrpose.structures import GroundTruth, InstanceTable, MpiiTruth, RawBatch


class PoseDataModule(LightningDataModule):
    """Detector-cropped persons of COCO-format data, or of MPII: an annotation file that is a JSON list is read as MPII's.

    With a bottom-up codec the samples are whole images instead: windows with all instances in training, every image of the
    annotation file in validation, and no boxes.

    With `num_workers=0` OpenCV uses all cores for a warp; in workers it is held to one thread.

    Args:
        codec: makes the targets; its `input_size` is the size of the crops, its `grid` how they are cut.
        skeleton: the keypoints; the annotation files must have as many.
        train_annotations: COCO keypoint file of the training set.
        train_images: its image folder, or zip or tar archives of it, a path or a pattern.
        val_annotations: COCO keypoint file of the validation set.
        val_images: its image folder, or archives.
        val_detections: boxes of a person detector for the validation images, in the form of COCO results.
        val_ground_truth: gt_valid.mat or an .npz with its arrays: what PCKh of MPII's persons is measured against.
        val_boxes: a validation loader for each: "gt" crops annotated boxes, "det" those of the detector. With a bottom-up codec
            "none" alone.
        batch_size: crops or windows in a training batch of one process; "auto" is replaced by a number before the loader is made.
        val_batch_size: crops in a validation batch of one process; a whole image is a batch.
        num_workers: processes that make batches; 0 makes them in the training process.
        seed: of the order of the samples and of every augmentation.
        shuffle_block: number of training samples that are shuffled together, so that images which are stored together are read
            at about the same time; None shuffles all.
        min_bbox_score: detections below it are left out.
        bbox_padding: factor by which boxes are enlarged.
        bbox_rules: how annotated boxes are clipped and which of them count: the "official" way or MMPose's.
        augment: transforms of the training crops, in their order; or a mapping, of which the values count.
        pixel_transforms: albumentations `Compose` of pixel-level transforms of the training crops.
        category: name of the category to take; several names, or "all", take categories with the same keypoints as one; the
            default is the one that has keypoints.
        keypoint_fields: fields of an annotation, each with the number of keypoints that are taken of it, the first ones; the
            default takes all of `keypoints`.
        area_from_bbox: share of its box that a person without `area`, or with one below 1 % of the box, is taken to cover.
        visibility_map: visibilities of the files, each with the 0, 1 or 2 that replaces it, such as {-1: 0}.
        bbox_from_keypoints: margin of the box around the labelled keypoints, as a share of its longer side, that is taken where a
            person has no box, or one without area; None requires boxes.
        channel_order: of the network's input. The official ResNets were trained on "bgr", with the mean and std of RGB in
            their places.
        mean: of the input's first, second and third channel, with 1 for full brightness.
        std: of the input's first, second and third channel, with 1 for full brightness.
        upright: apply the EXIF orientation of the images. None does not, and warns if a sample of them has one.
        bit_depth: bits that images of 16 bits per channel use, 8 to 16; None measures a sample of the training images, in a
            test of the validation images.

    Attributes:
        drop_single_sample: leave out the last training batch of an epoch if it has one sample, as networks need whose batch norm
            would see a single value.
        files: reads the annotation files.
        reading: orientation and scale of the images; the bit depth is measured in the first `setup`.
        train_table: the persons to train on, after `setup("fit")`.
        val_tables: the persons to validate on for each kind of boxes, after any `setup`.

    Raises:
        ValueError: if an argument is out of range.
    """

    train_table: InstanceTable
    val_tables: dict[str, InstanceTable]

    def __init__(
        self,
        codec: Codec,
        skeleton: Skeleton,
        *,
        train_annotations: str | Path,
        train_images: str | Path,
        val_annotations: str | Path,
        val_images: str | Path,
        val_detections: str | Path | None = None,
        val_ground_truth: str | Path | None = None,
        val_boxes: Sequence[Literal["gt", "det", "none"]] = ("gt",),
        batch_size: int | Literal["auto"] = 32,
        val_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        shuffle_block: int | None = None,
        min_bbox_score: float = 0.0,
        bbox_padding: float = 1.25,
        bbox_rules: Rules = "official",
        augment: Sequence[CropTransform] | Mapping[str, CropTransform | None] = (),
        pixel_transforms: Any = None,
        category: str | Sequence[str] | None = None,
        keypoint_fields: Mapping[str, int] | None = None,
        area_from_bbox: float = 1.0,
        visibility_map: Mapping[int, int] | None = None,
        bbox_from_keypoints: float | None = None,
        channel_order: ChannelOrder = "rgb",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        upright: bool | None = None,
        bit_depth: int | None = None,
    ) -> None:
        super().__init__()
        self.codec, self.skeleton = codec, skeleton
        self.train_annotations, self.train_images = Path(train_annotations), Path(train_images)
        self.val_annotations, self.val_images = Path(val_annotations), Path(val_images)
        self.val_detections, self.val_ground_truth = _path(val_detections), _path(val_ground_truth)
        self.val_boxes = _checked_boxes(val_boxes, self.val_detections, bottom_up=is_bottom_up(codec))
        self.batch_size = 0 if batch_size == "auto" else _checked_count("batch_size", batch_size, 1)
        self.val_batch_size = _checked_count("val_batch_size", val_batch_size, 1)
        self.num_workers = _checked_count("num_workers", num_workers, 0)
        self.shuffle_block = None if shuffle_block is None else _checked_count("shuffle_block", shuffle_block, 1)
        self.seed, self.pixel_transforms = seed, pixel_transforms
        self.files = InstanceFiles(
            category=category if category is None or isinstance(category, str) else tuple(category),
            keypoint_fields=dict(keypoint_fields) if keypoint_fields else None,
            area_from_bbox=area_from_bbox,
            bbox_rules=bbox_rules,
            min_bbox_score=min_bbox_score,
            visibility_map=dict(visibility_map) if visibility_map else None,
            bbox_from_keypoints=bbox_from_keypoints,
            upright=bool(upright),
        )
        self.bbox_padding = bbox_padding
        steps = augment.values() if isinstance(augment, Mapping) else augment
        self.augment = tuple(step for step in steps if step is not None)
        self.normalization = Normalization(channel_order, mean, std)
        self.reading = Reading(bool(upright), bit_depth)
        self._orientation_matters = upright is None
        self.drop_single_sample = False
        self._train_set: PoseDataset | ImageDataset | None = None
        self._val_sets: dict[str, PoseDataset | WholeImages] = {}

    def setup(self, stage: str) -> None:
        """Read the annotation files into tables and look whether all images are there.

        Raises:
            MissingDataError: if a file, a folder or images are missing.
            DataError: if a file cannot be used.
        """
        if stage == "fit" and self._train_set is None:
            self.files.check_alike(self.train_annotations, self.val_annotations)
            self.files.check_apart(self.train_annotations, self.train_images, self.val_annotations, self.val_images)
            self._train_set = self._read_train_set()
        if not self._val_sets:
            self.val_tables = {boxes: self._val_table(boxes) for boxes in self.val_boxes}
            self._check_images(self.val_tables[self.val_boxes[0]], self.val_images)
            self._val_sets = {boxes: self._val_set(table) for boxes, table in self.val_tables.items()}
        forget_annotations()

    def train_dataloader(self) -> ResumableLoader:
        """Make the training loader; after a resume it goes on with the next batch. The last, smaller batch is kept, unless
        it has one sample and `drop_single_sample` is set.
        """
        assert self._train_set is not None, 'setup("fit") comes first'
        sampler = EpochSampler(self._train_set, shuffle=True, seed=self.seed, block=self.shuffle_block)
        return ResumableLoader(
            self._train_set,  # type: ignore[arg-type] # a dataset of samples that makes whole batches
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=self.drop_single_sample and len(sampler) % self.batch_size == 1,
            **self._worker_options(),
        )

    @property
    def num_train_samples(self) -> int:
        """Crops or windows of an epoch, of all processes, after `setup("fit")`."""
        assert self._train_set is not None, 'setup("fit") comes first'
        return len(self._train_set)

    @property
    def num_train_batches(self) -> int:
        """Training batches of an epoch, of each process, after `setup("fit")`."""
        return len(self.train_dataloader())  # a loader that nobody iterates starts no workers

    def val_dataloader(self) -> DataLoader[RawBatch] | list[DataLoader[RawBatch]]:
        """Make a loader for each entry of `val_boxes`; one alone comes without a list."""
        loaders = [self._val_loader(boxes) for boxes in self.val_boxes]
        return loaders if len(loaders) > 1 else loaders[0]

    def test_dataloader(self) -> DataLoader[RawBatch] | list[DataLoader[RawBatch]]:
        """Make the loaders of validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[RawBatch]:
        """Make a loader of the validation images: detector boxes where `val_boxes` has them, else annotated ones."""
        return self._val_loader("det" if "det" in self.val_boxes else "gt")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise the images and, except in prediction and of whole images, encode the targets; all on the batch's device.

        Args:
            batch: a `RawBatch` of crops, an `ImageBatch` of windows or a `WholeImageBatch`.
            dataloader_idx: of its loader.

        Returns:
            A new batch with images (B, 3, H, W) float32, in channels_last memory as the bytes came, `target` and
            `target_weight`.
        """
        ready = {**batch, "images": self.normalize(batch["images"])}
        if "rescaled" in batch:
            return {**ready, "rescaled": tuple(map(self.normalize, batch["rescaled"]))}
        if self.trainer is not None and self.trainer.predicting:
            return ready
        masks = {"masks": batch["masks"]} if "masks" in batch else {}
        target, target_weight = self.codec.encode(batch["keypoints"], batch["visibility"], **masks)
        return {**ready, "target": target, "target_weight": target_weight}

    def normalize(self, images: Tensor) -> Tensor:
        """Turn RGB bytes (B, H, W, 3) into (image / 255 - mean) / std, (B, 3, H, W) float32, as `Normalization` does."""
        return self.normalization(images)

    def denormalize(self, images: Tensor) -> NDArray[np.uint8]:
        """Turn normalised images (B, 3, H, W) back into RGB pictures (B, H, W, 3) uint8."""
        return self.normalization.undo(images)

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """Everything annotated in the validation images, for AP; read on first use, before `setup` too.

        Raises:
            DataError: if the annotations are MPII's, which have none of the areas that AP is measured by.
        """
        return self.files.ground_truth(self.val_annotations)

    @cached_property
    def mpii_truth(self) -> MpiiTruth:
        """Keypoints and head boxes of the validation persons, for PCKh; read on first use, before `setup` too.

        Raises:
            DataError: if there is no `val_ground_truth`, the annotations are not MPII's, or the two do not go together.
        """
        return self.files.mpii_truth(self.val_annotations, self.val_ground_truth)

    def read_val_image(self, image_id: int) -> NDArray[np.uint8]:
        """Read a validation image as RGB (H, W, 3), after `setup`.

        Raises:
            DataError: if no image has that id.
        """
        table = self.val_tables[self.val_boxes[0]]
        places = np.flatnonzero(table.image_ids == image_id)
        if not len(places):
            raise DataError(f"Expected the id of an image of {self.val_annotations}, but got {image_id}.")
        return read_image(self.val_images / table.file_names[int(places[0])], reading=self.reading)

    def sample(self, split: Literal["train", "val"], number: int) -> tuple[InstanceTable, NDArray[np.int64], RawBatch]:
        """Cut crops of annotated boxes without augmentation, after `setup`; a set that is not at hand is read.

        Args:
            split: the set.
            number: of crops, spread over the instances with labelled keypoints.

        Returns:
            The instances of the set, the rows of the sample, and the crops of these.

        Raises:
            DataError: if the set cannot be used.
        """
        table: InstanceTable | None
        if split == "train":
            table = getattr(self, "train_table", None)
            table = self.files.annotated(self.train_annotations, self.train_images, split) if table is None else table
        else:
            table = self.val_tables.get("gt")
            table = self._val_table("gt") if table is None else table
        rows = np.flatnonzero((table.visibility > 0).any(axis=1))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(int))]
        return table, rows, self.crops(table, train=split == "train", augmented=False).__getitems__(rows.tolist())

    def crops(self, table: InstanceTable, *, train: bool, augmented: bool = True) -> PoseDataset:
        """Make the crops of a table of training or validation instances, as the loaders do.

        Args:
            table: instances of the images in `train_images` or `val_images`.
            train: whether they are training crops.
            augmented: whether training crops are augmented.

        Raises:
            MissingDataError: if images are missing.
            DataError: if the table has another number of keypoints than the skeleton.
        """
        return PoseDataset(
            table,
            self.train_images if train else self.val_images,
            self.codec.input_size,
            self.skeleton,
            grid=self.codec.grid,
            augment=self.augment if train and augmented else (),
            pixel_transforms=self.pixel_transforms if train and augmented else None,
            bbox_padding=self.bbox_padding,
            seed=self.seed,
            reading=self.reading,
        )

    def _read_train_set(self) -> PoseDataset | ImageDataset:
        if not is_bottom_up(self.codec):
            self.train_table = self.files.annotated(self.train_annotations, self.train_images, "train")
            self._check_images(self.train_table, self.train_images)
            return self.crops(self.train_table, train=True)
        images = self.files.whole_images(self.train_annotations, self.train_images, "train")
        self.train_table = images.table
        self._check_images(self.train_table, self.train_images)
        return ImageDataset(
            images,
            self.train_images,
            self.codec,
            self.skeleton,
            augment=self.augment,
            pixel_transforms=self.pixel_transforms,
            seed=self.seed,
            reading=self.reading,
        )

    def _val_set(self, table: InstanceTable) -> PoseDataset | WholeImages:
        if is_bottom_up(self.codec):
            return WholeImages(table, self.val_images, self.codec, reading=self.reading)
        return self.crops(table, train=False)

    def _val_table(self, boxes: str) -> InstanceTable:
        if boxes != "det":
            return self.files.annotated(self.val_annotations, self.val_images, "validate")
        assert self.val_detections is not None
        return self.files.detected(self.val_detections, self.val_annotations, self.val_images)

    def _check_images(self, table: InstanceTable, folder: Path) -> None:
        """Warn of what a sample of the images shows, and take their bit depth where none is given."""
        sample = sample_images([table.file_names[int(index)] for index in np.unique(table.image_index)], folder)
        self.reading = settle_reading(sample, self.reading, orientation_matters=self._orientation_matters)

    def _val_loader(self, boxes: str) -> DataLoader[RawBatch]:
        dataset = self._val_sets[boxes]
        sampler = EpochSampler(dataset, shuffle=False)
        size = None if isinstance(dataset, WholeImages) else self.val_batch_size
        return DataLoader(dataset, batch_size=size, sampler=sampler, **self._worker_options())  # type: ignore[arg-type]

    def _worker_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "collate_fn": keep_batch,
            "worker_init_fn": start_worker,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
        }


def _path(name: str | Path | None) -> Path | None:
    return Path(name) if name is not None else None


def _checked_boxes(boxes: Sequence[str], detections: Path | None, *, bottom_up: bool) -> tuple[str, ...]:
    kinds = (boxes,) if isinstance(boxes, str) else tuple(boxes)
    if bottom_up:
        if kinds != ("none",):
            raise ValueError(
                f"Expected `val_boxes` to be [none], because a bottom-up codec reads whole images, but got {list(kinds)}. Set "
                "data.val_boxes=[none]."
            )
        return kinds
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= {"gt", "det"}:
        raise ValueError(f"Expected `val_boxes` to be [gt], [det], [gt, det] or [det, gt], but got {list(kinds)}.")
    if "det" in kinds and detections is None:
        raise ValueError(
            "Expected `val_detections`, a file of detector boxes, because `val_boxes` has det, but got none. "
            "Give the file, or set val_boxes=[gt]."
        )
    return kinds


def _checked_count(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"Expected `{name}` to be at least {least}, but got {value}.")
    return value
