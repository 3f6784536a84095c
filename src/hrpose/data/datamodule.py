"""The Lightning data module: workers make uint8 crops or windows of whole images, the device normalises and encodes them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
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
    """Crops of instances from COCO-format data, or from MPII if the annotation file is a JSON list.

    With a bottom-up codec the samples are whole images: windows with all instances in training, all images of the annotation
    file in validation, and no boxes.

    With `num_workers=0` OpenCV uses all cores for a warp; in workers it uses one thread.

    Args:
        codec: encodes the targets; its `input_size` and `grid` define the crops.
        skeleton: the keypoints; the annotation files must have the same number.
        train_annotations: COCO keypoint file of the training set.
        train_images: its image folder, or a path or pattern of zip or tar archives.
        val_annotations: COCO keypoint file of the validation set.
        val_images: its image folder or archives.
        val_detections: detector boxes for the validation images, in the form of COCO results.
        val_ground_truth: gt_valid.mat, or an .npz with its arrays, for PCKh of MPII.
        val_boxes: boxes of each validation loader: "gt" annotated ones, "det" those of the detector; only "none" with a bottom-up
            codec.
        batch_size: crops or windows in a training batch of one process; "auto" is replaced before the loader is made.
        val_batch_size: crops in a validation batch of one process; a whole image is a batch.
        num_workers: processes that make batches; 0 makes them in the training process.
        seed: of the order of the samples and of every augmentation.
        shuffle_block: number of training samples that are shuffled together, so that images stored together are read at about
            the same time; None shuffles all.
        min_bbox_score: detections with a lower score are ignored.
        bbox_padding: factor by which boxes are enlarged.
        bbox_rules: rules for clipping and selecting annotated boxes, "official" or "mmpose".
        augment: transforms of the training crops in their order, or a mapping with them as values.
        pixel_transforms: albumentations `Compose` of pixel-level transforms of the training crops.
        category: name of the category to use; several names, or "all", join categories with the same keypoints; by default the
            one with keypoints.
        keypoint_fields: fields of an annotation, each with the number of its first keypoints that are used; by default all of
            `keypoints`.
        area_from_bbox: share of the box that replaces a missing `area`, or one below 1 % of the box.
        visibility_map: replacements 0, 1 or 2 for other visibilities in the files, such as {-1: 0}.
        bbox_from_keypoints: margin, as a share of the longer side, of a box around the labelled keypoints that replaces a missing
            or empty box; None requires boxes.
        channel_order: as for `Normalization`.
        mean: as for `Normalization`.
        std: as for `Normalization`.
        upright: apply the EXIF orientation of the images. None does not, and warns if a sample of them has one.
        bit_depth: bits used by images of 16 bits per channel, 8 to 16; None measures a sample of the training images, in a test
            of the validation images.

    Attributes:
        drop_single_sample: drop the last training batch of an epoch if it has one sample, which some batch norms cannot use.
        files: reads the annotation files.
        normalization: normalises the images.
        reading: orientation and scale of the images; the bit depth is measured in the first `setup`.
        train_table: the training instances, after `setup("fit")`.
        val_tables: the validation instances for each kind of boxes, after any `setup`.

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
        """Read the annotation files into tables and check that all images exist.

        Raises:
            MissingDataError: if a file, a folder or an image is missing.
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
        """Return the training loader, which continues with the next batch after a resume."""
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
        """Number of crops or windows per epoch of all processes, after `setup("fit")`."""
        assert self._train_set is not None, 'setup("fit") comes first'
        return len(self._train_set)

    @property
    def num_train_batches(self) -> int:
        """Number of training batches per epoch of each process, after `setup("fit")`."""
        return len(self.train_dataloader())  # starts no workers

    def val_dataloader(self) -> DataLoader[RawBatch] | list[DataLoader[RawBatch]]:
        """Return a loader for each entry of `val_boxes`, without a list if there is one."""
        loaders = [self._val_loader(boxes) for boxes in self.val_boxes]
        return loaders if len(loaders) > 1 else loaders[0]

    def test_dataloader(self) -> DataLoader[RawBatch] | list[DataLoader[RawBatch]]:
        """Return the loaders of validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[RawBatch]:
        """Return a loader of the validation images, with detector boxes if `val_boxes` has them, otherwise annotated ones."""
        return self._val_loader("det" if "det" in self.val_boxes else "gt")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise the images on their device and encode the targets, except in prediction and for whole images.

        Args:
            batch: a `RawBatch` of crops, an `ImageBatch` of windows or a `WholeImageBatch`.
            dataloader_idx: of its loader.

        Returns:
            A new batch with images (B, 3, H, W) float32 in channels_last memory, `target` and `target_weight`.
        """
        ready = {**batch, "images": self.normalization(batch["images"])}
        if "rescaled" in batch:
            return {**ready, "rescaled": tuple(map(self.normalization, batch["rescaled"]))}
        if self.trainer is not None and self.trainer.predicting:
            return ready
        masks = {"masks": batch["masks"]} if "masks" in batch else {}
        target, target_weight = self.codec.encode(batch["keypoints"], batch["visibility"], **masks)
        return {**ready, "target": target, "target_weight": target_weight}

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """The annotations of the validation images for AP, read on first use, also before `setup`.

        Raises:
            DataError: if the annotations are MPII's, which have no areas.
        """
        return self.files.ground_truth(self.val_annotations)

    @cached_property
    def mpii_truth(self) -> MpiiTruth:
        """Keypoints and head boxes of the validation instances for PCKh, read on first use, also before `setup`.

        Raises:
            DataError: if there is no `val_ground_truth`, the annotations are not MPII's, or the two do not match.
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
        """Cut crops of annotated boxes without augmentation, after `setup`; the annotations are read if necessary.

        Args:
            split: the set.
            number: of crops, spread over the instances with labelled keypoints.

        Returns:
            The instances of the set, the rows of the sample, and their crops.

        Raises:
            DataError: if the set cannot be used.
        """
        if split == "val":
            table = self.val_tables["gt"] if "gt" in self.val_tables else self._val_table("gt")
        elif hasattr(self, "train_table"):
            table = self.train_table
        else:
            table = self.files.annotated(self.train_annotations, self.train_images, split)
        rows = np.flatnonzero((table.visibility > 0).any(axis=1))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(int))]
        return table, rows, self.crops(table, train=split == "train", augmented=False).__getitems__(rows.tolist())

    def crops(self, table: InstanceTable, *, train: bool, augmented: bool = True) -> PoseDataset:
        """Return the crops of a table of training or validation instances, as in the loaders.

        Args:
            table: instances of the images in `train_images` or `val_images`.
            train: whether the images are those of training.
            augmented: whether training crops are augmented.

        Raises:
            MissingDataError: if images are missing.
            DataError: if the table and the skeleton have different numbers of keypoints.
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
        """Warn about the orientation and bit depth of a sample of the images, and set the bit depth if none is given."""
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
                f"Expected `val_boxes` to be [none] with a bottom-up codec, which takes whole images, but got {list(kinds)}. Set "
                "data.val_boxes=[none]."
            )
        return kinds
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= {"gt", "det"}:
        raise ValueError(f"Expected `val_boxes` to be [gt], [det], [gt, det] or [det, gt], but got {list(kinds)}.")
    if "det" in kinds and detections is None:
        raise ValueError(
            "Expected `val_detections`, a file of detector boxes, because `val_boxes` has det, but got none. "
            "Set data.val_detections=<file> or data.val_boxes=[gt]."
        )
    return kinds


def _checked_count(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"Expected `{name}` to be at least {least}, but got {value}.")
    return value
