"""What a codec alone puts off: the papers' claims, as numbers."""

import pytest
import torch

from hrpose.codecs import DarkCodec, HeatmapCodec, UdpCodec, UdpOffsetCodec, decoding_errors

SIZES = ((192, 256), (48, 64))
PLAIN = HeatmapCodec(*SIZES, sigma=2)


@pytest.mark.parametrize("codec", [DarkCodec(*SIZES), UdpCodec(*SIZES)], ids=["dark", "udp"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_dark_and_udp_come_back_within_two_hundredths_of_a_pixel(codec, flip_test):
    assert decoding_errors(codec, flip_test=flip_test).abs().max() < 0.02


def test_offsets_come_back_within_two_tenths_of_a_pixel():  # the blur of the offsets reaches over the rim of the disk
    assert decoding_errors(UdpOffsetCodec(*SIZES)).abs().max() < 0.2


def test_the_papers_codec_is_up_to_half_a_cell_off_and_without_bias():
    errors = decoding_errors(PLAIN, num_points=4000)
    # at an integral cell without a higher neighbour nothing is moved, so the error is uniform on half a cell to either side
    assert errors.abs().max() <= 2.0 + 1e-4
    assert errors.abs().mean().item() == pytest.approx(1.0, abs=0.05)
    assert errors.mean().abs() < 0.1


def test_the_shifted_flip_test_leaves_a_quarter_of_a_pixel():
    """The mirrored person comes back 3 pixels to the left, is moved 4 to the right: half a pixel too far, halved by averaging."""
    bias = decoding_errors(PLAIN, num_points=4000, flip_test=True).mean(dim=0)
    assert bias[0].item() == pytest.approx(0.25, abs=0.1)
    assert abs(bias[1].item()) < 0.1


def test_noise_makes_it_worse_and_the_seed_repeats_it():
    once, again = (decoding_errors(PLAIN, noise=0.05, seed=3) for _ in range(2))
    assert torch.equal(once, again)
    assert once.norm(dim=1).mean() > 1.2 * decoding_errors(PLAIN, seed=3).norm(dim=1).mean()


@pytest.mark.parametrize("arguments", [{"num_points": 0}, {"noise": -0.1}])
def test_numbers_are_checked(arguments):
    with pytest.raises(ValueError, match=r"`num_points`.*1.*`noise`.*0"):
        decoding_errors(PLAIN, **arguments)
