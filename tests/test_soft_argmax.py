import pytest
import torch

from hrpose.soft_argmax import axis_distributions, expected_cells, soft_argmax


def test_shares_of_two_cells_are_proportional_to_their_exponentials():
    heatmaps = torch.full((1, 1, 3, 4), -1e4)
    heatmaps[0, 0, 1, 0], heatmaps[0, 0, 2, 3] = 0.0, torch.log(torch.tensor(3.0))
    along_x, along_y = axis_distributions(heatmaps)
    torch.testing.assert_close(along_x, torch.tensor([[[0.25, 0, 0, 0.75]]]))
    torch.testing.assert_close(along_y, torch.tensor([[[0.0, 0.25, 0.75]]]))
    torch.testing.assert_close(expected_cells(along_x, along_y), torch.tensor([[[2.25, 1.75]]]))


def test_shares_sum_to_one_and_stacks_are_independent():
    heatmaps = torch.randn(2, 3, 4, 6, 5)
    for shares in axis_distributions(heatmaps):
        torch.testing.assert_close(shares.sum(-1), torch.ones(2, 3, 4))
    torch.testing.assert_close(soft_argmax(heatmaps)[:, 1], soft_argmax(heatmaps[:, 1]))


def test_the_mean_moves_and_mirrors_with_the_heatmap():
    heatmaps = torch.full((1, 1, 12, 12), -1e4)
    heatmaps[0, 0, 3:6, 2:7] = torch.randn(3, 5)
    x, y = soft_argmax(heatmaps)[0, 0]
    moved = soft_argmax(heatmaps.roll((2, 4), (2, 3)))[0, 0]
    torch.testing.assert_close(moved, torch.stack([x + 4, y + 2]))
    torch.testing.assert_close(soft_argmax(heatmaps.flip(-1))[0, 0], torch.stack([11 - x, y]))


def test_every_cell_gets_a_gradient():
    heatmaps = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_argmax, (heatmaps,))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32, torch.float64])
def test_the_precision_is_at_least_float32(precision):
    assert soft_argmax(torch.zeros(1, 1, 4, 4, dtype=precision)).dtype == max(precision, torch.float32, key=lambda t: t.itemsize)
