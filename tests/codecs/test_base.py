"""Laws of every codec."""

import dataclasses
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.codecs import (
    Codec,
    DarkCodec,
    HeatmapCodec,
    IntegralCodec,
    RegressionCodec,
    SimccCodec,
    UdpCodec,
    UdpOffsetCodec,
    decoding_errors,
)
from hrpose.codecs.cells import cells_from_input

SIZES = ((64, 96), (16, 24))
LARGE = ((192, 256), (48, 64))
PAPER = HeatmapCodec(*LARGE, sigma=2)
PAINTERS: dict[str, Codec] = {  # their targets are heatmaps
    "heatmap": HeatmapCodec(*SIZES, sigma=2),
    "dark": DarkCodec(*SIZES),
    "dark biased": DarkCodec(*SIZES, unbiased=False),
    "dark plain": DarkCodec(*SIZES, grid="plain"),
    "udp": UdpCodec(*SIZES),
    "udp mmpose": UdpCodec(*SIZES, blur_kernel=11, smoothing="mmpose"),
    "udp offset": UdpOffsetCodec(*SIZES),
}
CODECS: dict[str, Codec] = {
    **PAINTERS,
    "integral": IntegralCodec(*SIZES),
    "integral plain": IntegralCodec(*SIZES, grid="plain"),
    "regression": RegressionCodec(SIZES[0]),
    "simcc": SimccCodec(SIZES[0]),
    "simcc of three bins to a pixel": SimccCodec(SIZES[0], split_ratio=3, sigma=4),
}
COORDINATE = st.floats(-40, 140, width=32)
every = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
every_painter = pytest.mark.parametrize("codec", PAINTERS.values(), ids=PAINTERS.keys())


def _shape(codec, *, taught):
    """Return the shape of one channel of the network's output, or of the target."""
    if isinstance(codec, RegressionCodec) or (taught and isinstance(codec, IntegralCodec)):
        return (2,)
    return (sum(codec.num_bins),) if isinstance(codec, SimccCodec) else (24, 16)


def _maps(codec, batch=3, num_keypoints=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, codec.num_channels(num_keypoints), *_shape(codec, taught=False))
    return torch.randn(shape, generator=generator)


def _perfect(codec, points):
    """Return ideal network outputs for keypoints far from the border."""
    if not isinstance(codec, IntegralCodec):
        return codec.encode(points, torch.ones(points.shape[:2]))[0]
    x, y = cells_from_input(points, *SIZES, codec.grid)[..., None].unbind(2)
    columns, rows = torch.arange(16), torch.arange(24)
    return -0.5 * ((columns - x).square()[..., None, :] + (rows - y).square()[..., :, None])


@every
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_single_instance_has_the_result_of_a_batch(codec, data):
    points = torch.tensor(data.draw(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=6, max_size=6))).view(3, 2, 2)
    seen = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))).view(3, 2)
    maps = _maps(codec)
    for row in range(3):
        alone, batch = (codec.encode(points[part], seen[part]) for part in (slice(row, row + 1), slice(None)))
        assert all(torch.equal(one[0], many[row]) for one, many in zip(alone, batch, strict=True))
        alone, batch = (codec.decode(maps[part]) for part in (slice(row, row + 1), slice(None)))
        assert all(torch.equal(one[0], many[row]) for one, many in zip(alone, batch, strict=True))


@every
def test_targets_have_the_shapes_and_types_of_the_protocol(codec):
    target, weight = codec.encode(torch.rand(3, 5, 2, dtype=torch.float64) * 60, torch.ones(3, 5, dtype=torch.uint8))
    assert (target.shape, target.dtype) == ((3, codec.num_channels(5), *_shape(codec, taught=True)), torch.float32)
    assert (weight.shape, weight.dtype) == ((3, 5, 1), torch.float32)
    keypoints, scores = codec.decode(_maps(codec, num_keypoints=5))
    assert (keypoints.shape, keypoints.dtype) == ((3, 5, 2), torch.float32)
    assert (scores.shape, scores.dtype) == ((3, 5), torch.float32)


@every
def test_the_decoded_target_is_the_encoded_keypoint(codec):
    points = torch.tensor([[[30.0, 44.0], [25.2, 60.7]], [[33.4, 40.1], [21.0, 52.5]]])
    found, scores = codec.decode(_perfect(codec, points))
    bound = {HeatmapCodec: 2.0, UdpOffsetCodec: 0.15, RegressionCodec: 1e-4, IntegralCodec: 0.001}.get(type(codec), 0.02)
    if isinstance(codec, SimccCodec):
        bound = 0.5 / codec.split_ratio  # half a bin
    if codec is CODECS["dark biased"]:
        bound = 2.1  # half a cell, of (64 - 1) / (16 - 1) pixels
    assert ((found - points).abs() <= bound + 1e-4).all()
    assert (scores > 0).all()


@every_painter
def test_the_first_channel_of_a_keypoint_has_its_position(codec):
    target, _ = codec.encode(torch.tensor([[[20.0, 40.0], [48.0, 60.0]]]), torch.ones(1, 2))
    peaks = target[0, :: codec.num_channels(1)].flatten(1).argmax(1)
    near = torch.stack([peaks % 16 * 4, peaks // 16 * 4], dim=1) - torch.tensor([[20, 40], [48, 60]])
    assert (near.abs() <= 20).all()  # the first cell of a disk is up to a radius away


@every
def test_unlabelled_and_invalid_keypoints_have_weight_zero(codec):
    nan, inf = float("nan"), float("inf")
    points = torch.tensor([[[30.0, 30.0], [nan, 4.0], [4.0, nan], [inf, 4.0], [4.0, -inf], [30.0, 30.0]]])
    target, weight = codec.encode(points, torch.tensor([[0, 1, 2, 1, 1, 1]]))
    assert weight.flatten().tolist() == [0, 0, 0, 0, 0, 1]
    assert target.isfinite().all()
    assert not target[:, : -codec.num_channels(1)].any()
    assert target[:, -codec.num_channels(1)].any()


@every
def test_encode_does_not_change_its_arguments(codec):
    points, seen = torch.rand(2, 3, 2) * 60, torch.tensor([[0, 1, 2], [2, 1, 0]])
    before = points.clone(), seen.clone()
    codec.encode(points, seen)
    assert torch.equal(points, before[0])
    assert torch.equal(seen, before[1])


@every
def test_decode_does_not_change_its_argument(codec):
    maps = _maps(codec)
    before = maps.clone()
    codec.decode(maps)
    assert torch.equal(maps, before)


@every
def test_flipping_back_twice_is_the_identity(codec):
    maps = _maps(codec)
    twice = codec.flip_back(codec.flip_back(maps, [1, 0, 2, 3]), [1, 0, 2, 3])
    lost = torch.zeros(maps.shape[-1], dtype=torch.bool)
    if isinstance(codec, SimccCodec):  # bins that were moved beyond the last one along x
        lost[codec.num_bins[0] - codec.split_ratio + 1 : codec.num_bins[0]] = True
    elif codec.grid == "plain" and maps.ndim == 4:
        lost[0] = True  # heatmaps move by a column
    torch.testing.assert_close(twice[..., ~lost], maps[..., ~lost], rtol=0, atol=1e-6)


@every
def test_the_outputs_of_a_mirrored_crop_decode_to_the_same_keypoints(codec):
    points = torch.tensor([[[30.0, 44.0], [25.0, 60.0]]])
    mirrored = (points * torch.tensor([-1.0, 1.0]) + torch.tensor([63.0, 0.0]))[:, [1, 0]]
    outputs = codec.flip_back(_perfect(codec, mirrored), [1, 0])
    found, _ = codec.decode(outputs)
    exact = codec.decode(_perfect(codec, points))[0]
    bound = {"plain": 4.0, "dark": 0.02, "udp": 0.02}[codec.grid] + (4.0 if codec is CODECS["dark biased"] else 0)
    if isinstance(codec, RegressionCodec | SimccCodec):
        bound = 0.0
    assert ((found - exact).abs() <= bound + 1e-3).all()


@every
def test_a_wrong_permutation_is_refused(codec):
    for permutation in [(0, 1), (0, 1, 1), (1, 2, 3), range(4)]:
        with pytest.raises(ValueError, match=r"`flip_permutation`.*0.*2"):
            codec.flip_back(_maps(codec, num_keypoints=3), permutation)


@every_painter
@pytest.mark.parametrize("level", [0.0, -1.0])
def test_heatmaps_without_a_positive_cell_give_the_first_cell(codec, level):
    found, scores = codec.decode(_maps(codec) * 0 + level)
    assert torch.equal(found, found[:1, :1].expand_as(found))
    assert found[0, 0, 0] == 0
    assert found[0, 0, 1] == (0 if codec.grid != "dark" else pytest.approx(95 / 2 - 63 / 15 * 23 / 2))
    torch.testing.assert_close(scores, torch.full_like(scores, level))


@every
def test_outputs_with_nan_give_finite_keypoints(codec):
    maps = _maps(codec)
    maps.flatten(2)[0, 0, 1] = float("nan")
    found, scores = codec.decode(maps)
    assert found.isfinite().all()
    assert scores[0, 0].isnan()
    assert scores[1:].isfinite().all()


@every
def test_infinite_outputs_give_finite_keypoints(codec):
    for level in (float("inf"), float("-inf"), 3e38):
        assert codec.decode(torch.full_like(_maps(codec), level))[0].isfinite().all()


@every
def test_decode_accepts_half_precision_gradients_strides_and_empty_batches(codec):
    maps = _maps(codec)
    assert codec.decode(maps.bfloat16())[0].dtype == torch.float32
    want = codec.decode(maps)
    strided = maps.transpose(0, 1).contiguous().transpose(0, 1)
    for same in (maps.clone().requires_grad_(), strided):
        assert all(torch.equal(a, b) for a, b in zip(codec.decode(same), want, strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(codec.decode(maps)[0], want[0])
    assert codec.decode(maps[:0])[0].shape == (0, 4, 2)


@pytest.mark.parametrize(
    "codec",
    [
        pytest.param(codec, id=name, marks=() if name in ("heatmap", "dark", "simcc") else pytest.mark.slow)
        for name, codec in CODECS.items()
    ],
)
def test_the_exported_decoder_equals_the_eager_one(codec):
    class Decoder(torch.nn.Module):
        def forward(self, heatmaps):
            return codec.decode(heatmaps)

    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Decoder(), (_maps(codec, 2),), dynamic_shapes=({0: batch},))
    maps = _maps(codec, 5, seed=1)
    for eager, exported in zip(codec.decode(maps), program.module()(maps), strict=True):
        assert torch.equal(eager, exported)


@every
def test_equal_codecs_are_equal_and_hashable(codec):
    lists = {"input_size": [64, 96], "heatmap_size": [16, 24]}
    again = dataclasses.replace(codec, **{name: lists[name] for name in lists.keys() & vars(codec).keys()})
    assert again == codec
    assert hash(again) == hash(codec)
    with pytest.raises(dataclasses.FrozenInstanceError):
        codec.input_size = (1, 1)


@every
def test_wrong_shapes_are_refused(codec):
    with pytest.raises(ValueError, match=r"\(B, K, 2\).*\(B, K\).*\(2, 3, 3\).*\(2, 3\)"):
        codec.encode(torch.zeros(2, 3, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(B, K, 2\).*\(2, 3, 1\)"):
        codec.encode(torch.zeros(2, 3, 2), torch.zeros(2, 3, 1))
    wrong = torch.zeros(1, 6, 16, 24) if _maps(codec).ndim == 4 else torch.zeros(1, 6, 7)
    with pytest.raises(ValueError, match=rf"\(B, K, .*{re.escape(str(tuple(wrong.shape)))}"):
        codec.decode(wrong)
    if wrong.ndim == 3:
        with pytest.raises(ValueError, match=rf"\(B, K, .*{re.escape(str(tuple(wrong.shape)))}"):
            codec.flip_back(wrong, range(6))


@pytest.mark.parametrize("codec", [DarkCodec(*LARGE), UdpCodec(*LARGE)], ids=["dark", "udp"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_dark_and_udp_have_a_decoding_error_below_two_hundredths_of_a_pixel(codec, flip_test):
    assert decoding_errors(codec, flip_test=flip_test).abs().max() < 0.02


def test_offsets_have_a_decoding_error_below_two_tenths_of_a_pixel():  # the blur of the offsets exceeds the disk
    assert decoding_errors(UdpOffsetCodec(*LARGE)).abs().max() < 0.2


def test_the_papers_codec_has_an_error_of_up_to_half_a_cell_and_no_bias():
    errors = decoding_errors(PAPER, num_points=4000)
    # a cell without higher neighbour is not moved, so the error is uniform within half a cell
    assert errors.abs().max() <= 2.0 + 1e-4
    assert errors.abs().mean().item() == pytest.approx(1.0, abs=0.05)
    assert errors.mean().abs() < 0.1


def test_the_shifted_flip_test_has_a_bias_of_a_quarter_of_a_pixel():
    """The mirrored output is 3 pixels left and is moved 4 to the right; averaging halves the error of half a pixel."""
    bias = decoding_errors(PAPER, num_points=4000, flip_test=True).mean(dim=0)
    assert bias[0].item() == pytest.approx(0.25, abs=0.1)
    assert abs(bias[1].item()) < 0.1


def test_noise_increases_the_error_and_a_seed_reproduces_it():
    once, again = (decoding_errors(PAPER, noise=0.05, seed=3) for _ in range(2))
    assert torch.equal(once, again)
    assert once.norm(dim=1).mean() > 1.2 * decoding_errors(PAPER, seed=3).norm(dim=1).mean()


@pytest.mark.parametrize("arguments", [{"num_points": 0}, {"noise": -0.1}])
def test_decoding_errors_refuses_invalid_numbers(arguments):
    with pytest.raises(ValueError, match=r"`num_points`.*1.*`noise`.*0"):
        decoding_errors(PAPER, **arguments)
