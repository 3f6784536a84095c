import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.codecs import HeatmapCodec, heatmap_accuracy

SMALL = HeatmapCodec((192, 256), (48, 64), 2.0)
LARGE = HeatmapCodec((288, 384), (72, 96), 3.0)
CODECS = {"48x64": SMALL, "72x96": LARGE}
COORDINATE = st.floats(-60, 320, width=32)


def _golden_heatmaps(golden, name):
    return torch.from_numpy(golden[f"{name}_heatmaps_int16_div4096"].astype(np.float32) / 4096)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CODECS)
def test_targets_and_weights_are_official(name, dtype, golden_dir):
    golden = np.load(golden_dir / "targets.npz")
    keypoints = torch.from_numpy(golden[f"{name}_keypoints"]).to(dtype)
    target, weight = CODECS[name].encode(keypoints, torch.from_numpy(golden[f"{name}_visibility"]))
    want = golden[f"{name}_target"]
    assert (target.dtype, weight.dtype) == (torch.float32, torch.float32)
    np.testing.assert_allclose(target[: len(want)].numpy(), want, atol=1e-6)
    np.testing.assert_array_equal(target[: len(want)].numpy() > 0, want > 0)
    np.testing.assert_array_equal(weight.numpy(), golden[f"{name}_target_weight"])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", CODECS)
def test_decoded_keypoints_and_scores_are_official(name, memory_format, golden_dir):
    golden = np.load(golden_dir / "decode.npz")
    codec = CODECS[name]
    keypoints, scores = codec.decode(_golden_heatmaps(golden, name).contiguous(memory_format=memory_format))
    np.testing.assert_array_equal(keypoints.numpy(), golden[f"{name}_coords_post_heatmap"] * 4)
    np.testing.assert_array_equal(scores.numpy(), golden[f"{name}_maxvals"][..., 0])
    size = 200 * golden[f"{name}_scale"].astype(np.float64)[:, None, :1]
    middle = np.array(codec.input_size) / 2
    image = golden[f"{name}_center"][:, None] + (keypoints.numpy() - middle) * size / codec.input_size[0]
    np.testing.assert_allclose(image, golden[f"{name}_preds_post"], atol=1e-3)


@pytest.mark.parametrize("name", CODECS)
def test_decoded_keypoints_by_the_rules_of_mmpose_are_mmposes(name, golden_dir):
    golden = np.load(golden_dir / "decode.npz")
    heatmaps = _golden_heatmaps(golden, name)
    keypoints, scores = dataclasses.replace(CODECS[name], rules="mmpose").decode(heatmaps)
    np.testing.assert_array_equal(keypoints.numpy(), golden[f"{name}_mm_input"])
    official, official_scores = CODECS[name].decode(heatmaps)
    assert torch.equal(scores, official_scores)
    assert name == "72x96" or not torch.equal(keypoints, official)


def test_rules_differ_near_the_border_and_without_a_positive_cell():
    heatmaps = torch.zeros(1, 3, 64, 48)
    heatmaps[0, 0, 1, 20], heatmaps[0, 0, 1, 21] = 1.0, 0.5  # the second row: no step down or up, but one to the right
    heatmaps[0, 1, 0, 20], heatmaps[0, 1, 0, 21] = 1.0, 0.5  # the first row: no step at all
    mmpose = dataclasses.replace(SMALL, rules="mmpose").decode(heatmaps)[0][0]
    assert mmpose.tolist() == [[81.0, 4.0], [80.0, 0.0], [-4.0, -4.0]]
    assert SMALL.decode(heatmaps)[0][0].tolist() == [[80.0, 4.0], [80.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("people", ["coco", "mpii"])
def test_flip_back_is_official(people, golden_dir):
    golden = np.load(golden_dir / "flip.npz")
    mirrored = torch.from_numpy(golden[f"{people}_output_of_flipped_input"])
    permutation = list(range(mirrored.shape[1]))
    for left, right in golden[f"{people}_pairs"].tolist():
        permutation[left], permutation[right] = right, left
    back = SMALL.flip_back(mirrored, permutation)
    np.testing.assert_array_equal(back.numpy(), golden[f"{people}_flip_back_shifted"])
    mean = (torch.from_numpy(golden[f"{people}_output"]) + back) * 0.5
    np.testing.assert_array_equal(mean.numpy(), golden[f"{people}_average_shifted"])


def test_accuracy_is_official(golden_dir):
    golden = np.load(golden_dir / "losses.npz")
    mean, per_keypoint = heatmap_accuracy(torch.from_numpy(golden["acc_output"]), torch.from_numpy(golden["acc_target"]))
    assert mean.item() == pytest.approx(float(golden["acc_avg"]), abs=1e-6)
    want = golden["acc_per_joint"][1:]
    np.testing.assert_allclose(per_keypoint.numpy(), np.where(want < 0, np.nan, want), atol=1e-6)


def test_accuracy_without_labelled_keypoints_is_zero():
    mean, per_keypoint = heatmap_accuracy(torch.rand(2, 3, 8, 6), torch.zeros(2, 3, 8, 6))
    assert mean == 0
    assert per_keypoint.isnan().all()


@settings(deadline=None)
@given(st.floats(0, 191.5, width=32), st.floats(0, 255.5, width=32))
def test_encode_then_decode_has_an_error_of_at_most_half_a_cell(x, y):
    target, weight = SMALL.encode(torch.tensor([[[x, y]]]), torch.ones(1, 1))
    keypoints, scores = SMALL.decode(target)
    # A clean Gaussian has equal neighbours, so nothing moves: the cell is the nearest one, the last one beyond the border.
    nearest = [min(int(value / 4 + 0.5), last) for value, last in ((x, 47), (y, 63))]
    off = (keypoints[0, 0] - torch.tensor([x, y])).abs()
    assert (off <= torch.tensor([2.0 if x < 190 else 4.0, 2.0 if y < 254 else 4.0])).all()
    assert weight.item() == 1
    if x < 190 and y < 254:
        assert keypoints[0, 0].tolist() == [4.0 * value for value in nearest]
        assert scores.item() == 1


@settings(deadline=None)
@given(COORDINATE, COORDINATE, st.integers(0, 2), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_targets_follow_their_definition_cell_by_cell(x, y, visibility, sigma):
    codec = HeatmapCodec((64, 96), (16, 24), sigma)
    target, weight = codec.encode(torch.tensor([[[x, y]]]), torch.tensor([[visibility]], dtype=torch.uint8))
    mean = [int(value / 4 + 0.5) for value in (x, y)]
    radius = int(np.ceil(3 * sigma))
    reached = all(m - radius < size and m + radius + 1 >= 0 for m, size in zip(mean, (16, 24), strict=True))
    want = np.zeros((24, 16))
    if reached and visibility:
        for row in range(24):
            for column in range(16):
                dx, dy = column - mean[0], row - mean[1]
                if max(abs(dx), abs(dy)) <= radius:
                    want[row, column] = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    np.testing.assert_allclose(target[0, 0].numpy(), want, atol=1e-6)
    assert weight.item() == float(reached and visibility > 0)


@pytest.mark.parametrize(
    ("x", "cell", "weight"),
    [
        (1.99, 0, 1.0),  # rounds down
        (2.0, 1, 1.0),  # a half rounds up
        (-5.0, 0, 1.0),  # -1.25 + 0.5 is cut off to 0, not to -1
        (-6.5, -1, 1.0),
        (-30.0, -7, 1.0),  # the square is just outside the map, and the official check accepts it: an empty target of weight 1
        (-34.0, -8, 0.0),
        (214.0, 54, 0.0),
        (213.9, 53, 1.0),  # the first column of the square is the last of the map
    ],
)
def test_rounding_at_the_border_is_official(x, cell, weight):
    target, found = SMALL.encode(torch.tensor([[[x, 100.0]]]), torch.ones(1, 1))
    row = torch.exp(-((torch.arange(48) - cell) ** 2) / 8.0) * ((torch.arange(48) - cell).abs() <= 6) * weight
    torch.testing.assert_close(target[0, 0, 25], row)
    assert found.item() == weight


def _one_peak(x, y, **neighbours):
    heatmaps = torch.zeros(1, 1, 64, 48)
    heatmaps[0, 0, y, x] = 1.0
    for place, value in neighbours.items():
        dx, dy = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}[place]
        heatmaps[0, 0, y + dy, x + dx] = value
    return heatmaps


@pytest.mark.parametrize(
    ("heatmaps", "cell"),
    [
        (_one_peak(10, 20), (10, 20)),
        (_one_peak(10, 20, right=0.1), (10.25, 20)),
        (_one_peak(10, 20, left=0.1, below=0.1), (9.75, 20.25)),
        (_one_peak(10, 20, left=0.1, right=0.1, above=-0.1), (10, 20.25)),
        (_one_peak(1, 20, right=0.1, above=0.1), (1, 20)),  # beside the border: neither axis moves
        (_one_peak(2, 20, right=0.1, above=0.1), (2.25, 19.75)),
        (_one_peak(10, 62, right=0.1, above=0.1), (10.25, 61.75)),
        (_one_peak(10, 63, right=0.1), (10, 63)),
        (_one_peak(47, 20, left=0.1), (47, 20)),
    ],
)
def test_the_quarter_offset_goes_to_the_higher_neighbour_except_near_the_border(heatmaps, cell):
    assert SMALL.decode(heatmaps)[0].flatten().tolist() == [4 * cell[0], 4 * cell[1]]


def test_the_first_of_equal_cells_in_row_order_is_used():
    heatmaps = _one_peak(30, 20) + _one_peak(40, 20) + _one_peak(3, 21)
    assert SMALL.decode(heatmaps)[0].flatten().tolist() == [120, 80]


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_a_heatmap_without_a_positive_cell_gives_the_corner_and_its_maximum(level):
    keypoints, scores = SMALL.decode(_one_peak(10, 20) * 0 + level)
    assert keypoints.flatten().tolist() == [0, 0]
    assert scores.item() == level


def test_a_heatmap_with_nan_gives_the_corner_and_nan():
    keypoints, scores = SMALL.decode(_one_peak(10, 20, left=float("nan")))
    assert keypoints.flatten().tolist() == [0, 0]
    assert scores.isnan().all()


@given(st.permutations(range(4)))
def test_flip_back_moves_columns_one_to_the_right_and_permutes_keypoints(permutation):
    heatmaps = torch.rand(2, 4, 5, 6)
    back = SMALL.flip_back(heatmaps, permutation)
    for column in range(6):
        source = 5 - max(column - 1, 0)
        assert torch.equal(back[..., column], heatmaps[:, permutation][..., source])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((192, 250), (48, 64)), r"`heatmap_size`.*\(192, 250\).*\(48, 64\).*\(48, 62\)"),
        (((192,), (48, 64)), "`input_size`"),
        ((192, (48, 64)), r"`input_size`.*192"),
        (((192, 256), (48, 0)), "`heatmap_size`"),
        (((192.0, 256), (48, 64)), "`input_size`"),
        (((192, 256), (48, 64), 0), "`sigma`"),
        (((192, 256), (48, 64), float("nan")), "`sigma`"),
        (((192, 256), (48, 64), "2"), "`sigma`.*got '2'"),
    ],
)
def test_wrong_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeatmapCodec(*arguments)


def test_the_stride_is_the_number_of_input_pixels_per_cell():
    assert HeatmapCodec((96, 128), (24, 64)).stride == (4, 2)
