import pytest
import torch

from hrpose.codecs import IntegralCodec

SIZES = ((192, 256), (48, 64))


@pytest.mark.parametrize(("grid", "stride"), [("plain", (4, 4)), ("udp", (191 / 47, 255 / 63))])
def test_a_single_cell_is_decoded_to_its_position_on_the_grid(grid, stride):
    codec = IntegralCodec(*SIZES, grid=grid)
    heatmaps = torch.full((1, 2, 64, 48), -1e4)
    heatmaps[0, 0, 0, 0] = heatmaps[0, 1, 40, 30] = 0
    keypoints, scores = codec.decode(heatmaps)
    torch.testing.assert_close(keypoints[0, 0], torch.zeros(2))
    torch.testing.assert_close(keypoints[0, 1], torch.tensor([30.0 * stride[0], 40.0 * stride[1]]))
    torch.testing.assert_close(scores, torch.ones(1, 2))


def test_two_cells_are_decoded_to_their_mean():
    heatmaps = torch.full((1, 1, 64, 48), -1e4)
    heatmaps[0, 0, 10, 10] = 0
    heatmaps[0, 0, 10, 20] = torch.log(torch.tensor(4.0))
    keypoints, scores = IntegralCodec(*SIZES, grid="plain").decode(heatmaps)
    torch.testing.assert_close(keypoints, torch.tensor([[[4 * 18.0, 40.0]]]))
    assert scores.item() == pytest.approx(0.8)  # within two cells of 18 there is only the second one


@pytest.mark.trains
@pytest.mark.parametrize("grid", ["plain", "udp"])
def test_a_heatmap_trained_on_the_target_is_decoded_to_the_keypoint(grid):
    codec = IntegralCodec(*SIZES, grid=grid)
    points = torch.tensor([[[33.3, 60.1], [100.0, 200.0]]])
    target, weight = codec.encode(points, torch.ones(1, 2))
    heatmaps = torch.zeros(1, 2, 64, 48, requires_grad=True)
    optimizer = torch.optim.LBFGS([heatmaps], max_iter=100, line_search_fn="strong_wolfe")

    def misfit():
        optimizer.zero_grad()
        shares = heatmaps.flatten(2).softmax(-1).unflatten(-1, (64, 48))
        means = torch.stack([(shares.sum(2) * torch.arange(48)).sum(-1), (shares.sum(3) * torch.arange(64)).sum(-1)], -1)
        loss = (means / torch.tensor([48, 64]) - target).square().sum()
        loss.backward()
        return loss

    optimizer.step(misfit)
    assert weight.all()
    torch.testing.assert_close(codec.decode(heatmaps.detach())[0], points, atol=0.05, rtol=0)


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (288, 384)])
def test_a_gaussian_of_one_cell_is_decoded_to_its_center(size):
    width, height = size[0] // 4, size[1] // 4
    codec = IntegralCodec(size, (width, height))
    points = (0.125 + 0.75 * torch.rand(1, 500, 2, generator=torch.Generator().manual_seed(0))) * torch.tensor(size)
    x, y = (points * torch.tensor([width - 1, height - 1]) / torch.tensor([size[0] - 1, size[1] - 1])).unbind(-1)
    across, down = torch.arange(width) - x[..., None, None], torch.arange(height)[:, None] - y[..., None, None]
    found = codec.decode((across.square() + down.square()) / -2)[0]
    torch.testing.assert_close(found, points, atol=0.01, rtol=0)  # pixels; the nearest border cuts off beyond 3 sigma


@pytest.mark.parametrize(("x", "inside"), [(188.0, True), (188.5, False), (-0.5, False), (0.0, True)])
def test_keypoints_that_no_mean_can_reach_have_weight_zero(x, inside):
    target, weight = IntegralCodec(*SIZES, grid="plain").encode(torch.tensor([[[x, 20.0]]]), torch.ones(1, 1))
    assert bool(weight) == inside
    assert inside or not target.any()


def test_a_mirrored_heatmap_is_decoded_to_the_mirrored_pixel():
    codec = IntegralCodec(*SIZES)
    heatmaps = torch.randn(2, 3, 64, 48) * 3
    there, back = codec.decode(heatmaps)[0], codec.decode(codec.flip_back(heatmaps, [0, 2, 1]))[0]
    torch.testing.assert_close(back[..., 0], 191 - there[:, [0, 2, 1], 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(back[..., 1], there[:, [0, 2, 1], 1], atol=1e-3, rtol=0)


def test_an_unknown_grid_is_refused():
    with pytest.raises(ValueError, match=r"`grid`.*'dark'"):
        IntegralCodec(*SIZES, grid="dark")
