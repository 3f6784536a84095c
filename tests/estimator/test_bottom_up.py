"""PoseEstimator with a bottom-up network finds all instances of whole images without boxes."""

import numpy as np
import pytest
import torch

from hrpose import PoseEstimator
from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import Normalization, fit_image
from hrpose.estimator.video import track_poses
from hrpose.geometry import invert_affine
from hrpose.inference import estimate_poses
from hrpose.media.video import VideoFrame
from hrpose.models import HigherHRNet
from hrpose.skeletons import Skeleton
from hrpose.tracking import OksTracker

SKELETON = Skeleton.from_names(["nose", "left_hand", "right_hand"], sigmas=[0.1] * 3, name="three", upper_body=[])
CODEC = AssociativeEmbedding((64, 64))
POINTS = np.array([[[20, 20], [40, 30], [12, 44]], [[80, 12], [112, 20], [100, 52]]], float)


class Colors(torch.nn.Module):
    """Finds keypoint k where channel k of the image is bright; tags are 10 larger in the right half."""

    def forward(self, images):
        batch, _, height, width = images.shape
        coarse, fine = (torch.nn.functional.avg_pool2d(images, stride) for stride in (4, 2))
        tags = (torch.arange(width // 4) * 8 // width * 10.0).expand(batch, 3, height // 4, width // 4)
        return [torch.cat([coarse, tags], dim=1), fine]


def picture(points=POINTS, size=(128, 64)):
    rows, columns = np.arange(size[1])[:, None], np.arange(size[0])
    dots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 32) for x, y in points.reshape(-1, 2)]
    return (np.stack(dots, -1).reshape(*size[::-1], -1, 3).max(2) * 255).astype(np.uint8)


def estimator_of(codec=CODEC, **options):
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "flip_test": False, "device": "cpu"}
    return PoseEstimator.from_network(Colors(), codec, SKELETON, **plain, **options)


def left_to_right(poses):
    return poses[np.argsort(poses.keypoints[:, 0, 0])]


def test_all_instances_of_an_image_are_found():
    poses = left_to_right(estimator_of()(picture()))
    np.testing.assert_allclose(poses.keypoints, POINTS, atol=0.8)
    assert poses.skeleton == SKELETON
    assert (poses.scores > 0.8).all()


def test_a_stream_may_have_images_of_several_sizes_and_without_instances():
    images = [picture(), np.zeros((50, 40, 3), np.uint8), picture(POINTS[:1], (100, 90))]
    estimator = estimator_of()
    found = estimator(images)
    assert [len(poses) for poses in found] == [2, 0, 1]
    assert [poses.image_ids.tolist() for poses in found] == [[0, 0], [], [2]]
    assert [poses.instance_ids.tolist() for poses in found] == [[0, 1], [], [2]]
    np.testing.assert_array_equal(found[2].keypoints, estimator(images[2]).keypoints)
    assert found[1].keypoints.shape == (0, 3, 2)


def test_an_unreadable_image_is_reported_and_has_no_poses():
    errors = {}
    items = [(b"no image", None, None), (picture(), None, None)]
    found = list(estimator_of().stream(items, on_error=lambda place, error: errors.update({place: error})))
    assert ([len(poses) for poses in found], list(errors)) == ([0, 2], [0])


def test_boxes_detectors_and_other_backends_are_refused():
    with pytest.raises(ValueError, match="boxes"):
        estimator_of()(picture(), bbox=[0, 0, 10, 10])
    with pytest.raises(ValueError, match="detector"):
        estimator_of(detector=lambda image: (np.zeros((0, 4)), np.zeros(0)))
    with pytest.raises(ValueError, match="backend"):
        estimator_of(backend="openvino")


def test_poses_equal_those_of_validation():
    torch.manual_seed(0)
    net = HigherHRNet(width=4, num_keypoints=3, num_modules=(1, 1, 1), num_blocks=1, stage1_blocks=1).eval()
    with torch.no_grad():
        net.final_layers[0].weight *= 1000
        net.final_layers[1].bias += 0.4
    codec = AssociativeEmbedding((64, 64), scales=(1, 2))
    batch = fit_image(picture(), codec)
    normalize = Normalization()
    ready = {**batch, "images": normalize(batch["images"]), "rescaled": tuple(map(normalize, batch["rescaled"]))}
    assert [tuple(image.shape[2:]) for image in (ready["images"], *ready["rescaled"])] == [(64, 128), (128, 256)]
    expected = estimate_poses(net, codec, ready, flip_test=True, flip_permutation=SKELETON.flip_permutation)
    poses = PoseEstimator.from_network(net, codec, SKELETON, device="cpu")(picture())
    assert len(poses) == len(expected) > 0
    np.testing.assert_array_equal(poses.keypoints, expected.keypoints)


def test_keypoints_are_mapped_back_with_the_matrix_of_the_image():
    """The largest side is cut by a black band; the matrix is the official one, [run] 427 x 640."""
    batch = fit_image(np.zeros((427, 640, 3), np.uint8), AssociativeEmbedding((512, 512)))
    matrix = invert_affine(batch["image_from_input"].numpy())[0]
    np.testing.assert_allclose(matrix, [[1.19906323, 0, 0.29976581], [0, 1.19906323, -0.59953162]], atol=1e-6)
    assert tuple(batch["images"].shape) == (1, 512, 768, 3)


def test_a_video_is_tracked_without_boxes():
    frames = [VideoFrame(picture(POINTS + np.array([step, 0])), step, step / 10) for step in range(3)]
    tracked = list(track_poses(estimator_of(), frames, tracker=OksTracker(SKELETON.sigmas)))
    assert [sorted(frame.poses.instance_ids) for frame in tracked] == [[1, 2]] * 3
    with pytest.raises(ValueError, match="bbox"):
        next(track_poses(estimator_of(), frames, bbox=[[0, 0, 10, 10]]))
