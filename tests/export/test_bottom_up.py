"""A bottom-up network in a file: heatmaps and tags of images of any size, the same poses as in torch."""

import numpy as np
import pytest
import torch
from tiny_export import make_record

from hrpose import PoseEstimator
from hrpose.codecs import AssociativeEmbedding
from hrpose.export import ExportedFileError, ExportRecord, open_exported, write_export
from hrpose.skeletons import Skeleton

SKELETON = Skeleton.from_names(["nose", "left_hand", "right_hand"], sigmas=[0.1] * 3, name="three", upper_body=[])
CODEC = AssociativeEmbedding((64, 64), scales=(0.5, 1.0))
RECORD = make_record(CODEC, skeleton=SKELETON, mean=(0.1, 0.1, 0.1), std=(0.8, 0.9, 1.0), source="colors.ckpt")


class Colors(torch.nn.Module):
    """A network: heatmaps are the channels of the image, tags their mean times the brightness of a wide neighbourhood."""

    def forward(self, images):
        coarse, fine = (torch.nn.functional.avg_pool2d(images, stride) for stride in (4, 2))
        tags = torch.nn.functional.avg_pool2d(coarse, 5, stride=1, padding=2) * 9
        return [torch.cat([coarse, tags], dim=1), fine]


def picture(width, height, seed=0):
    generator = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    rows, columns = np.arange(height)[:, None], np.arange(width)
    for k in range(9):
        x, y = generator.uniform(0.1, 0.9, 2) * (width, height)
        dot = generator.uniform(100, 250) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 40)
        image[..., k % 3] = np.maximum(image[..., k % 3], dot)
    return image.astype(np.uint8)


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def file(request, tmp_path_factory):
    suffix = {"onnx": ".onnx", "openvino": ".xml"}[request.param]
    return write_export(Colors(), RECORD, tmp_path_factory.mktemp("file") / f"colors{suffix}", request.param)


@pytest.mark.parametrize("size", [(128, 64), (70, 150)])
def test_a_file_gives_the_poses_of_torch(file, size):
    image = picture(*size)
    settings = {"mean": RECORD.mean, "std": RECORD.std, "flip_test": True, "device": "cpu"}
    expected = PoseEstimator.from_network(Colors(), CODEC, SKELETON, **settings)(image)
    estimator = PoseEstimator.from_file(file)
    found = estimator(image)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert estimator.is_bottom_up


def test_the_record_of_the_file_states_its_codec(file):
    record = open_exported(file).record
    assert (record.codec, record.flip_test, record.skeleton.keypoint_names) == (CODEC, True, SKELETON.keypoint_names)


def test_a_record_of_another_form_is_refused():
    with pytest.raises(ExportedFileError, match="form"):
        ExportRecord.from_json(RECORD.to_json().replace('"images"', '"crops"'), "x.onnx")


def test_lower_precision_is_refused(tmp_path):
    record = ExportRecord(**{**vars(RECORD), "precision": "fp16"})
    with pytest.raises(ValueError, match="precision"):
        write_export(Colors(), record, tmp_path / "x.onnx", "onnx")
