"""Each way of saying where a keypoint is can be learnt: a few people by heart, in seconds."""

import pytest
import torch

from hrpose.codecs import HeatmapCodec, IntegralCodec, RegressionCodec, SimccCodec
from hrpose.losses import CoordinateLoss, HeatmapMSELoss, IntegralLoss, RLELoss, SimccLoss
from hrpose.models import DeepPose, HRNet, SimCC

SIZE, CELLS = (64, 96), (16, 24)
WIDTH = {"width": 8, "stem_width": 8, "stage1_width": 4, "stage1_blocks": 1, "num_modules": (1, 1, 1), "num_blocks": 1}


def pooled(**arguments):
    return DeepPose(HRNet(**WIDTH, num_keypoints=None, all_branches=True), 3, **arguments)


WAYS = {  # network, codec, loss, share of the first error that may be left
    "heatmap": (lambda: HRNet(**WIDTH, num_keypoints=3), HeatmapCodec(SIZE, CELLS, 1.0), HeatmapMSELoss, 0.2),
    "regression": (pooled, RegressionCodec(SIZE), CoordinateLoss, 0.2),
    "rle": (lambda: pooled(sigmas=True), RegressionCodec(SIZE), RLELoss, 0.2),
    "integral": (lambda: HRNet(**WIDTH, num_keypoints=3), IntegralCodec(SIZE, CELLS), IntegralLoss, 0.2),
    "simcc": (
        lambda: SimCC(HRNet(**WIDTH, num_keypoints=None), 3, input_size=SIZE),
        SimccCodec(SIZE, sigma=4.0),
        lambda: SimccLoss(SIZE),
        0.2,
    ),
}


def people():
    """Four people of three bright dots, and where the dots are."""
    generator = torch.Generator().manual_seed(0)
    keypoints = (0.15 + 0.7 * torch.rand(4, 3, 2, generator=generator)) * torch.tensor(SIZE)
    images, _ = HeatmapCodec(SIZE, SIZE, 4.0).encode(keypoints, torch.ones(4, 3))
    return 2 * images - 0.5, keypoints


def error(net, codec, images, keypoints):
    """The mean distance in input pixels."""
    with torch.no_grad():
        return (codec.decode(net(images))[0] - keypoints).norm(dim=-1).mean().item()


@pytest.mark.parametrize("way", WAYS)
def test_a_few_people_are_learnt_by_heart(way):
    torch.manual_seed(0)
    build_net, codec, build_loss, left = WAYS[way]
    net, loss = build_net(), build_loss()
    images, keypoints = people()
    optimizer = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=5e-3)
    first, losses = error(net, codec, images, keypoints), []
    for _ in range(80):
        optimizer.zero_grad()
        losses.append(loss(net(images), *codec.encode(keypoints, torch.ones(4, 3))))
        losses[-1].backward()
        optimizer.step()
    last = error(net, codec, images, keypoints)
    assert losses[-1] < losses[0]
    assert last < left * first, f"{first:.1f} to {last:.1f} pixels"
