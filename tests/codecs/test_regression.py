import pytest
import torch

from hrpose.codecs import RegressionCodec

CODEC = RegressionCodec(input_size=(192, 256))


def test_targets_are_divided_by_the_input_size():
    target, weight = CODEC.encode(torch.tensor([[[48.0, 64.0], [0.0, 255.0]]]), torch.tensor([[1, 2]]))
    assert target.tolist() == [[[0.25, 0.25], [0.0, 255 / 256]]]
    assert weight.tolist() == [[[1.0], [1.0]]]


@pytest.mark.parametrize("point", [(-0.1, 5.0), (5.0, -0.1), (191.1, 5.0), (5.0, 255.1)])
def test_keypoints_outside_have_weight_zero(point):
    target, weight = CODEC.encode(torch.tensor([[point]]), torch.ones(1, 1))
    assert not weight.any()
    assert not target.any()


def test_decode_after_encode_is_exact():
    points = torch.rand(5, 17, 2) * torch.tensor([191.0, 255.0])
    torch.testing.assert_close(CODEC.decode(CODEC.encode(points, torch.ones(5, 17))[0])[0], points, rtol=0, atol=3e-5)


def test_a_score_is_one_minus_the_mean_sigma_and_one_without_sigmas():
    answers = torch.tensor([[[0.5, 0.5, 0.1, 0.3]]])
    keypoints, scores = CODEC.decode(answers)
    assert keypoints.tolist() == [[[96.0, 128.0]]]
    assert scores.item() == pytest.approx(0.8)
    assert CODEC.decode(answers[..., :2])[1].tolist() == [[1.0]]


def test_flipping_back_keeps_sigmas_and_swaps_left_and_right():
    answers = torch.tensor([[[0.25, 0.1, 0.2, 0.3], [0.5, 0.4, 0.6, 0.7]]])
    back = CODEC.flip_back(answers, [1, 0])
    torch.testing.assert_close(back[0, 0], torch.tensor([1 - 1 / 192 - 0.5, 0.4, 0.6, 0.7]))
    torch.testing.assert_close(back[0, 1], torch.tensor([1 - 1 / 192 - 0.25, 0.1, 0.2, 0.3]))
    torch.testing.assert_close(CODEC.flip_back(back, [1, 0]), answers)


def test_three_numbers_per_keypoint_are_refused():
    with pytest.raises(ValueError, match=r"\(B, K, 2\).*\(B, K, 4\).*\(1, 2, 3\)"):
        CODEC.decode(torch.zeros(1, 2, 3))
