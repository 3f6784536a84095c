"""Poses of whole images: image pixels, flip test, batches and scales."""

import numpy as np
import pytest
import torch

from hrpose.codecs import AssociativeEmbedding
from hrpose.codecs.grouping import aggregate
from hrpose.geometry import input_from_image, invert_affine
from hrpose.inference import NonFinitePosesError, estimate_poses, predict_maps
from hrpose.metrics import KeypointAveragePrecision
from hrpose.models import HigherHRNet
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth

CODEC = AssociativeEmbedding((64, 64))
PERMUTATION = (0, 2, 1)
SIZE = (128, 64)


class Painted(torch.nn.Module):
    """A network: the heatmap of keypoint k is channel k of the image; tags increase by 10 from left to right."""

    def forward(self, images):
        batch, _, height, width = images.shape
        coarse, fine = (torch.nn.functional.avg_pool2d(images, stride) for stride in (4, 2))
        tags = torch.arange(width // 4).mul(4 / width).mul(2).floor().mul(10).expand(batch, 3, height // 4, width // 4)
        return [torch.cat([coarse, tags], dim=1), fine]


def image_of(points, size=SIZE):
    """Return an image (3, H, W) with a Gaussian at each of the points (N, 3, 2)."""
    rows, columns = torch.arange(size[1])[:, None], torch.arange(size[0])
    dots = [torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 32) for x, y in points.reshape(-1, 2).tolist()]
    return torch.stack(dots).view(-1, 3, size[1], size[0]).amax(0)


def batch_of(*images, matrix=None, **others):
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]]) if matrix is None else matrix
    return {
        "images": torch.stack(images),
        "image_from_input": torch.from_numpy(np.stack([matrix] * len(images))),
        "image_ids": torch.arange(len(images)) + 7,
        **others,
    }


def estimate(batch, codec=CODEC, flip_test=False):
    """Sort the poses of each image from left to right."""
    poses = estimate_poses(Painted(), codec, batch, flip_test=flip_test, flip_permutation=PERMUTATION)
    return poses[np.lexsort((poses.keypoints[:, 0, 0], poses.image_ids))]


POINTS = torch.tensor([[[20.0, 20], [40, 30], [12, 44]], [[80, 12], [112, 20], [100, 52]]])


def test_instances_are_in_image_pixels():
    matrix = invert_affine(input_from_image((50, 40), (60, 30), 0.0, SIZE))
    poses = estimate(batch_of(image_of(POINTS), matrix=matrix))
    expected = POINTS.numpy() @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(poses.keypoints, expected, atol=0.8 * 60 / 128)
    np.testing.assert_allclose(poses.scores, poses.keypoint_scores.mean(axis=1), rtol=1e-6)
    assert (poses.image_ids.tolist(), sorted(poses.instance_ids)) == ([7, 7], [0, 1])
    np.testing.assert_allclose(poses.bbox[:, :2], poses.keypoints.min(axis=1))
    np.testing.assert_allclose(poses.bbox[:, :2] + poses.bbox[:, 2:], poses.keypoints.max(axis=1))
    np.testing.assert_allclose(poses.scale, poses.bbox[:, 2:] * 1.25)


def test_the_mirrored_image_gives_the_mirrored_poses():
    poses, mirrored = (estimate(batch_of(image), flip_test=True) for image in (image_of(POINTS), image_of(POINTS).flip(-1)))
    # Painted uses colors, which mirroring does not change, so names are swapped in the second pass only
    assert len(poses) == len(mirrored) == 2
    np.testing.assert_allclose(
        np.sort(SIZE[0] - mirrored.keypoints[..., 0].ravel()), np.sort(poses.keypoints[..., 0].ravel()), atol=0.51
    )


def test_a_batch_of_two_gives_the_poses_of_both_images():
    images = image_of(POINTS), image_of(POINTS[:1] + 9)
    both = estimate(batch_of(*images))
    alone = [estimate(batch_of(image)) for image in images]
    assert both.image_ids.tolist() == [7, 7, 8]
    np.testing.assert_array_equal(both.keypoints, np.concatenate([poses.keypoints for poses in alone]))
    np.testing.assert_array_equal(both.scores, np.concatenate([poses.scores for poses in alone]))


def test_an_image_without_instances_has_no_poses():
    poses = estimate(batch_of(torch.zeros(3, 64, 128)))
    assert (len(poses), poses.keypoints.shape, poses.bbox.shape) == (0, (0, 3, 2), (0, 4))


def test_scales_are_averaged_and_tags_are_those_of_scale_1():
    small = image_of(POINTS / 2, (64, 32))
    poses = estimate(batch_of(image_of(POINTS), rescaled=(small[None] * 0,)))
    plain = estimate(batch_of(image_of(POINTS)))
    np.testing.assert_allclose(poses.keypoint_scores, plain.keypoint_scores / 2, rtol=1e-5)
    poses = estimate(batch_of(image_of(POINTS), rescaled=(small[None],)))
    np.testing.assert_allclose(poses.keypoints, plain.keypoints, atol=1.5)


def test_a_missing_keypoint_is_filled_unless_refinement_is_off():
    image = image_of(POINTS)
    image[2] *= 0.05
    filled = estimate(batch_of(image))
    left = estimate(batch_of(image), AssociativeEmbedding((64, 64), refine=False))
    assert (left.keypoint_scores[:, 2] == 0).all()
    np.testing.assert_allclose(filled.keypoints[:, 2], POINTS[:, 2], atol=0.8)
    np.testing.assert_array_equal(filled.scores, left.scores)
    assert (left.bbox[:, 2:] <= [33, 11]).all()  # the box encloses the two keypoints that were found


def test_the_flip_test_averages_heatmaps_and_keeps_both_tags():
    torch.manual_seed(0)
    net = HigherHRNet(width=8, num_keypoints=3, num_modules=(1, 1, 1), num_blocks=1).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        heatmaps, tags = predict_maps(net, images, CODEC, flip_test=True, flip_permutation=PERMUTATION)
        plain, turned = aggregate(net(images)), aggregate(net(images.flip(-1)))
    back = [part[:, list(PERMUTATION)].flip(-1) for part in turned]
    torch.testing.assert_close(heatmaps, (plain[0] + back[0]) / 2)
    torch.testing.assert_close(tags, torch.cat([plain[1], back[1]], dim=2))
    assert (heatmaps.shape, tags.shape) == ((1, 3, 32, 48), (1, 3, 2, 32, 48))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_heatmaps_that_are_not_finite_are_refused(value):
    image = image_of(POINTS)
    image[0, 0, 0] = value
    with pytest.raises(NonFinitePosesError):
        estimate(batch_of(image))


def test_decoding_is_unbiased_over_the_cells_of_a_target():
    """Targets truncate to a cell; decoding adds half a pixel, so there is no bias on average."""
    errors = []
    for step in np.arange(0, 4, 0.25):
        points = torch.tensor([[[[30 + step, 20 + step]]]])
        codec = AssociativeEmbedding((64, 64))
        target, _ = codec.encode(points, torch.ones(1, 1, 1))
        heatmaps, tags = aggregate([torch.cat([target.heatmaps[0], torch.zeros(1, 1, 16, 16)], 1), target.heatmaps[1]])
        full = torch.nn.functional.interpolate(heatmaps, size=(64, 64), mode="bilinear")
        errors.append(codec.decode(full, tags)[0][0][0, 0] - points[0, 0, 0].numpy())
    assert np.abs(errors).max() < 1.6
    assert np.abs(np.mean(errors, axis=0)).max() < 0.26


def test_target_heatmaps_and_tags_give_an_ap_of_1():
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[x, y] for y in (20, 276) for x in (20, 276)], dtype=torch.float32)
    points = corners[:, None] + 216 * torch.rand(4, 17, 2, generator=generator)
    target, _ = AssociativeEmbedding((512, 512)).encode(points[None], torch.ones(1, 4, 17))
    quarter = torch.tensor([[0.0, 10.0], [20.0, 30.0]]).repeat_interleave(64, 0).repeat_interleave(64, 1)
    outputs = [torch.cat([target.heatmaps[0], quarter.expand(1, 17, 128, 128)], dim=1), target.heatmaps[1]]
    batch = batch_of(torch.zeros(3, 512, 512))
    poses = estimate_poses(lambda images: outputs, CODEC, batch, flip_test=False, flip_permutation=COCO.flip_permutation)
    ids = np.full(4, 7)
    truth = GroundTruth(
        image_ids=ids[:1],
        object_image_ids=ids,
        instance_ids=np.arange(4),
        category_ids=np.ones(4, np.int64),
        keypoints=points.double().numpy(),
        visibility=np.full((4, 17), 2, np.uint8),
        bbox=np.concatenate([corners, np.full((4, 2), 216.0)], axis=1),
        area=np.full(4, 216.0**2),
        iscrowd=np.zeros(4, bool),
    )
    metric = KeypointAveragePrecision(COCO.sigmas, ground_truth=truth)
    metric.update_poses(poses)
    assert len(poses) == 4
    assert float(metric.compute()["AP"]) == 1.0
