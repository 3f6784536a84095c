"""The files that are mutated: small ones of every kind, drawn here, and those of ../shared where it exists."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from hrpose.codecs import HeatmapCodec
from hrpose.models import HRNet
from hrpose.skeletons import COCO, Skeleton

SHARED = Path(__file__).parents[3] / "shared"
NAMES = ("nose", "left_eye", "right_eye")
TINY: dict[str, Any] = {
    **{"width": 4, "stem_width": 4, "stage1_width": 4, "stage1_blocks": 1},
    **{"num_modules": [1, 1, 1], "num_blocks": 1, "final_kernel": 1},
}


def coco_file() -> dict[str, Any]:
    """A COCO annotation file of two images and three instances."""
    rows = [
        {
            **{"id": number, "image_id": 1 + number % 2, "category_id": 1, "iscrowd": 0, "num_keypoints": 2},
            **{"bbox": [5.0, 6.0, 30.5, 40], "area": 700.5, "keypoints": [10, 11, 2, 20.5, 21, 1, 0, 0, 0]},
        }
        for number in range(3)
    ]
    images = [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 48} for number in (1, 2)]
    category = {"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": [[1, 2], [2, 3]]}
    return {"images": images, "annotations": rows, "categories": [category]}


def coco_files() -> list[Any]:
    """Return `coco_file`, and annotation files of real projects if they are there."""
    cases = sorted((SHARED / "cases" / "files").glob("*/ann.json"))
    return [coco_file(), *(json.loads(file.read_bytes()) for file in cases if file.stat().st_size < 20_000)]


def detections() -> list[dict[str, Any]]:
    """Detected boxes for `coco_file`."""
    return [{"image_id": number, "category_id": 1, "bbox": [4.5, 6, 30, 40], "score": 0.9} for number in (1, 2, 2)]


def results() -> list[dict[str, Any]]:
    """Poses for `coco_file`."""
    points = [10, 11, 0.9, 20, 21, 0.8, 30, 31, 0.7]
    return [{"image_id": number, "category_id": 1, "keypoints": points, "score": 0.5} for number in (1, 2, 2)]


def stored_config() -> dict[str, Any]:
    """What a checkpoint of `HRNet` with `TINY` stores beside its weights."""
    codec = {"_target_": "hrpose.codecs.HeatmapCodec", "input_size": [32, 32], "heatmap_size": [8, 8], "sigma": 2.0}
    data = {
        **{"bbox_padding": 1.25, "channel_order": "rgb", "mean": [0.5] * 3, "std": [0.2] * 3, "bit_depth": None},
        **{"upright": False, "val_annotations": "a.json", "val_images": "images"},
    }
    config = {
        **{"model": {"_target_": "hrpose.models.HRNet", **TINY}, "codec": codec, "data": data, "flip_test": True},
        **{"keypoint_score_threshold": 0.2, "trainer": {"precision": "bf16-mixed"}, "name": "tiny"},
    }
    return {"config": config, "skeleton": COCO.to_dict()}


def state_dict() -> dict[str, torch.Tensor]:
    """The weights of `stored_config`."""
    torch.manual_seed(0)
    return {f"net.{name}": tensor for name, tensor in HRNet(num_keypoints=17, **TINY).state_dict().items()}


def weight_files() -> dict[str, bytes]:
    """Weight files of few tensors, by their suffix: .pth of both forms, a checkpoint and .safetensors."""
    tensors = {"conv1.weight": torch.ones(4, 3, 3, 3), "final_layer.weight": torch.ones(17, 4, 1, 1)}
    notes = {"state_dict": {f"net.{name}": tensor for name, tensor in tensors.items()}, "hyper_parameters": stored_config()}
    contents = {}
    for name, content, zipped in (("a.pth", tensors, True), ("b.pth", tensors, False), ("c.ckpt", notes, True)):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
        contents[name] = stream.getvalue()
    return {**contents, "d.safetensors": save(tensors, {"format": "pt", "keypoint_names": json.dumps(COCO.keypoint_names)})}


def images() -> list[bytes]:
    """Image files of every format that is read."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))
    deep = Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16) * 300)
    contents = []
    for name, options in {
        **{"jpeg": {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}, "png": {}, "bmp": {}},
        **{"gif": {"save_all": True, "append_images": [picture]}, "tiff": {"save_all": True, "append_images": [picture]}},
        **{"webp": {}, "jpeg2000": {}, "ppm": {}, "avif": {}},
    }.items():
        stream = io.BytesIO()
        picture.save(stream, name, **options)
        contents.append(stream.getvalue())
    stream = io.BytesIO()
    deep.save(stream, "png")
    return [*contents, stream.getvalue()]


def export_record() -> str:
    """The record of an exported file."""
    from hrpose.export import ExportRecord

    codec = HeatmapCodec(input_size=(32, 32), heatmap_size=(8, 8), sigma=2)
    skeleton = Skeleton.from_names(NAMES, sigmas=[0.1] * 3, upper_body=[])
    numbers = {"bbox_padding": 1.25, "keypoint_score_threshold": 0.2, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    flags = {"flip_test": True, "heatmaps": False, "channel_order": "rgb", "source": "a.ckpt"}
    return ExportRecord(precision="fp32", skeleton=skeleton, codec=codec, **numbers, **flags).to_json()  # type: ignore[arg-type]


def labels() -> list[dict[str, str]]:
    """Label files of annotation tools, each of a project of one image a.png: name -> text."""
    point = {"shape_attributes": {"name": "point", "cx": 11, "cy": 12}, "region_attributes": {"keypoint": "left", "id": "1"}}
    box = {"shape_attributes": {"name": "rect", "x": 5, "y": 6, "width": 9, "height": 9}, "region_attributes": {"id": "1"}}
    via = {"_via_settings": {}, "_via_attributes": {}}
    via["_via_img_metadata"] = {"a.png9": {"filename": "a.png", "size": 9, "regions": [point, box], "file_attributes": {}}}
    shapes = [
        {"label": "left", "points": [[3, 4]], "shape_type": "point", "group_id": 1, "flags": {}},
        {"label": "dog", "points": [[1, 2], [9, 9]], "shape_type": "rectangle", "group_id": 1, "flags": {}},
    ]
    labelme = {"version": "5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None}
    labelme |= {"imageHeight": 12, "imageWidth": 16}
    value = {"x": 10, "y": 20, "width": 1, "keypointlabels": ["left"]}
    region = {"id": "a", "type": "keypointlabels", "from_name": "k", "to_name": "i", "original_width": 16, "value": value}
    region |= {"original_height": 12, "image_rotation": 0}
    studio = [{"id": 1, "data": {"image": "/data/a.png"}, "annotations": [{"id": 1, "result": [region]}]}]
    nodes = [{"name": "left", "x": 3, "y": 4, "occluded": False}]
    darwin = {"version": "2.0", "item": {"name": "a.png", "path": "/", "slots": [{"width": 16, "height": 12}]}}
    darwin["annotations"] = [
        {"id": "x", "name": "dog", "skeleton": {"nodes": nodes}, "bounding_box": {"x": 1, "y": 2, "w": 8, "h": 9}}
    ]
    cvat = (
        '<?xml version="1.0"?><annotations><version>1.1</version><meta><task><labels><label><name>dog</name><type>skeleton</type>'
        "</label></labels></task></meta><image id='0' name='a.png' width='16' height='12'><skeleton label='dog' z_order='0'>"
        "<points label='left' outside='0' occluded='0' points='3.1,4.2'></points></skeleton></image></annotations>"
    )
    yaml = "path: .\ntrain: images\nval: images\nkpt_shape: [2, 3]\nnames: {0: dog}\nflip_idx: [1, 0]\n"
    csv = "scorer,,,me,me\nbodyparts,,,left,left\ncoords,,,x,y\nlabeled-data,a,a.png,3.5,4.5\n"
    return [
        {"coco.json": json.dumps(coco_file()).replace("1.png", "a.png")},
        {"via.json": json.dumps(via)},
        {"a.json": json.dumps(labelme)},
        {"project.json": json.dumps(studio)},
        {"darwin.json": json.dumps(darwin)},
        {"annotations.xml": cvat},
        {"data.yaml": yaml, "labels/a.txt": "0 .5 .5 .5 .5 .4 .4 2 .6 .6 1\n", "images/a.png": ""},
        {"CollectedData_me.csv": csv},
    ]
