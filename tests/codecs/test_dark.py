import numpy as np
import pytest
import torch
from golden_cases import SIZES, heatmaps, in_image, keypoints

from hrpose.codecs import DarkCodec, HeatmapCodec


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "dark_udp.npz")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SIZES)
def test_unbiased_targets_are_darkposes(name, dtype, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    target, weight = DarkCodec(*SIZES[name], grid="plain").encode(points[:2].to(dtype), visibility[:2])
    np.testing.assert_allclose(target[:, golden[f"{name}_dark_keypoints"]].numpy(), golden[f"{name}_dark_target"], atol=1e-6)
    np.testing.assert_array_equal(weight.numpy(), golden[f"{name}_dark_weight"])


def test_a_square_that_ends_less_than_a_cell_outside_has_weight_0_by_mmpose():
    """MMPose 1.3.2, `generate_unbiased_gaussian_heatmaps`: weight 0 where x + 3 sigma + 1 < 0 or x - 3 sigma >= 48, in cells."""
    cells = torch.tensor([-7.0, -7.001, -7.5, -8.0, 53.999, 54.0, 54.5])
    points = torch.stack([4 * cells, torch.full_like(cells, 100.0)], dim=-1)[None]
    weights = {
        rules: DarkCodec((192, 256), (48, 64), grid="plain", rules=rules).encode(points, torch.ones(1, 7))[1].flatten().tolist()
        for rules in ("official", "mmpose")
    }
    assert weights == {"official": [1, 1, 1, 0, 1, 0, 0], "mmpose": [1, 0, 0, 0, 1, 0, 0]}


@pytest.mark.parametrize("name", SIZES)
def test_biased_targets_are_the_papers(name, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    biased = DarkCodec(*SIZES[name], unbiased=False, grid="plain").encode(points, visibility)
    for found, papers in zip(biased, HeatmapCodec(*SIZES[name]).encode(points, visibility), strict=True):
        assert torch.equal(found, papers)


@pytest.mark.parametrize(("name", "kernel"), [("48x64", 11), ("72x96", 11), ("72x96", 17)])
def test_decoded_keypoints_are_darkposes_and_mmposes(name, kernel, golden, golden_dir):
    maps, positive = heatmaps(golden_dir, name)
    plain, scores = DarkCodec(*SIZES[name], blur_kernel=kernel, grid="plain").decode(maps)
    np.testing.assert_allclose(plain.numpy() / 4, golden[f"{name}_dark_coords_heatmap_k{kernel}"], atol=1e-4)
    np.testing.assert_allclose(plain.numpy()[positive], golden[f"{name}_mm_dark_input_k{kernel}"][positive], atol=2e-4)
    assert torch.equal(scores, maps.amax((2, 3)))
    own, _ = DarkCodec(*SIZES[name], blur_kernel=kernel).decode(maps)
    image = in_image(own, golden_dir, name, "dark")
    np.testing.assert_allclose(image, golden[f"{name}_dark_preds_k{kernel}"], atol=1e-3)


@pytest.mark.parametrize("grid", ["plain", "dark", "udp"])
@pytest.mark.parametrize("name", SIZES)
def test_decode_after_encode_is_the_identity_on_clean_heatmaps(name, grid):
    codec = DarkCodec(*SIZES[name], grid=grid)
    margin = 28 if name == "48x64" else 40
    points = margin + torch.rand(8, 17, 2) * (torch.tensor(codec.input_size) - 2.0 * margin)
    found, scores = codec.decode(codec.encode(points, torch.ones(8, 17))[0])
    assert (found - points).abs().max() < 0.005
    assert (scores > 0.9).all()


def test_peaks_on_the_two_outermost_cells_are_not_moved():
    codec = DarkCodec((192, 256), (48, 64), grid="plain")
    for x, y in ((1, 30), (46, 30), (20, 1), (20, 62)):
        target = codec.encode(torch.tensor([[[4.0 * x, 4.0 * y]]]), torch.ones(1, 1))[0]
        target[..., 30, 20] += 0.1  # bends the parabola
        assert codec.decode(target)[0].flatten().tolist() == [4 * x, 4 * y]


def test_heatmap_and_input_have_the_same_center_on_the_grid_of_dark():
    codec = DarkCodec((192, 256), (48, 64))
    middle = torch.zeros(1, 1, 64, 48)
    middle[..., 31:33, 23:25] = 1  # four cells about (23.5, 31.5)
    corners = codec.decode(torch.stack([middle[0, 0].flip(d) * torch.rand(64, 48) for d in ((), (0, 1))])[None])[0]
    assert ((corners[0] - torch.tensor([95.5, 127.5])).abs() < 4).all()
    target, _ = codec.encode(torch.tensor([[[95.5, 127.5]]]), torch.ones(1, 1))
    torch.testing.assert_close(target, target.flip(-1, -2))
    torch.testing.assert_close(target, target.flip(-1))


def test_keypoints_three_sigma_outside_have_weight_zero():
    codec = DarkCodec((192, 256), (48, 64), grid="plain")
    points = torch.tensor([[[-31.9, 9.0], [-32.1, 9.0], [215.9, 9.0], [216.1, 9.0]]])  # 8 cells and 54 cells
    target, weight = codec.encode(points, torch.ones(1, 4))
    assert weight.flatten().tolist() == [1, 0, 1, 0]
    assert not target[0, 1].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": "square"}, r"`grid`.*'square'"),
        ({"blur_kernel": 10}, r"`blur_kernel`.*1"),
        ({"blur_kernel": 97}, "95"),
        ({"blur_kernel": 11.0}, "got 11.0"),
        ({"sigma": -1}, "`sigma`"),
        ({"heatmap_size": (48, 1)}, r"`heatmap_size`.*2"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DarkCodec(**{"input_size": (192, 256), "heatmap_size": (48, 64), **changes})
