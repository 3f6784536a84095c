"""The page of `hrpose doctor`."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from html_checks import check
from omegaconf import DictConfig
from small_network import write_checkpoint
from tiny_coco import content, write_dataset, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.examination import Split
from hrpose.config import ConfigError, compose
from hrpose.skeletons import COCO, Skeleton
from hrpose.structures import InstanceTable
from hrpose.tasks.doctor import write_doctor_page


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


def split_of(data: Path, name="train", images: Path | None = None, file: str = "persons.json") -> Split:
    annotations = read_annotations(data / file)
    return Split(name, data / file, images or data / "photos", annotations, annotations.instances())


@functools.cache
def configuration(*overrides: str) -> DictConfig:
    return compose("doctor", ["codec=heatmap", "size=128x96", *overrides])


def draw(data: Path, splits, *overrides: str, skeleton: Skeleton | None = COCO, **settings) -> str:
    cfg = configuration(*overrides).copy()
    cfg.update(settings)
    write_doctor_page(cfg, [], splits, skeleton, data / "run" / "doctor.html")
    page = (data / "run" / "doctor.html").read_text()
    check(page)
    return page


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", page)


def test_a_training_set_alone_has_crops_with_targets(data: Path) -> None:
    page = draw(data, [split_of(data)])
    assert page.count("<figure>") == 11
    assert page.count("data:image/png") == 11
    assert headings(page)[-1] == "Training crops"


def test_the_crops_have_the_size_and_the_augmentation_of_the_arguments(data: Path) -> None:
    one, other, same = (draw(data, [split_of(data)], *more) for more in ((), ("augment=none",), ()))
    assert one == same != other


def test_predictions_are_of_the_validation_set(data: Path) -> None:
    write_json(data / "val.json", content(3))
    checkpoint = write_checkpoint(data / "small.ckpt")
    page = draw(data, [split_of(data), split_of(data, "val", file="val.json")], ckpt_path=str(checkpoint))
    assert headings(page)[-1] == "Worst predictions"
    section = page.partition("Worst predictions")[2]
    assert section.count("<figure>") == 3
    assert "small.ckpt" in section
    similarities = [float(value) for value in re.findall(r"OKS ([\d.]+)", section)]
    assert similarities == sorted(similarities)


def test_weights_of_other_keypoints_are_refused(data: Path) -> None:
    labels = content()
    labels["categories"][0] = {"id": 1, "name": "tool", "keypoints": ["a", "b"]}
    for row in labels["annotations"]:
        row["keypoints"] = row["keypoints"][:6]
    write_json(data / "two.json", labels)
    skeleton = Skeleton.from_names(["a", "b"], sigmas=[0.1, 0.1], flip_pairs=[])
    checkpoint = write_checkpoint(data / "small.ckpt")
    with pytest.raises(ConfigError, match=r"2 keypoints of the data.* has 17"):
        draw(data, [split_of(data, file="two.json")], ckpt_path=str(checkpoint), skeleton=skeleton)


def test_missing_images_are_dropped_and_counted(data: Path) -> None:
    (data / "photos" / "photo 2.jpg").unlink()
    page = draw(data, [split_of(data)])
    assert page.count("<figure>") == 8
    assert "3 instances of missing images are left out" in page


def test_a_missing_image_folder_gives_a_page_without_crops(data: Path) -> None:
    page = draw(data, [split_of(data, images=data / "nowhere")])
    assert "<figure>" not in page
    assert "Training crops" in headings(page)


def test_a_link_out_of_the_folder_is_not_followed(data: Path) -> None:
    (data / "photos" / "photo 3.jpg").rename(data / "secret.jpg")
    (data / "photos" / "photo 3.jpg").symlink_to(data / "secret.jpg")
    page = draw(data, [split_of(data)])
    assert "data:image/jpeg" not in page
    assert "symbolic link" in page


def test_closed_images_have_no_crops(data: Path) -> None:
    page = draw(data, [split_of(data)], images=False)
    assert "<figure>" not in page
    assert "No images were opened" in page


def test_unreadable_files_give_a_page_of_findings(data: Path) -> None:
    page = draw(data, [Split("train", data / "persons.json", data / "photos")], skeleton=None)
    assert headings(page) == ["Findings"]


def test_a_skeleton_of_other_keypoints_shows_counts_only(data: Path) -> None:
    two = Skeleton.from_names(["a", "b"], sigmas=[0.1, 0.1], flip_pairs=[])
    page = draw(data, [split_of(data)], skeleton=two)
    assert "Data" in headings(page)
    assert "<figure>" not in page
    assert isinstance(split_of(data).table, InstanceTable)
