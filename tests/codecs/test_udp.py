import numpy as np
import pytest
import torch
from golden_cases import SIZES, heatmaps, in_image, keypoints
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.codecs import UdpCodec, UdpOffsetCodec


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "dark_udp.npz")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SIZES)
def test_targets_are_official(name, dtype, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    target, weight = UdpCodec(*SIZES[name]).encode(points[:8].to(dtype), visibility[:8])
    want = golden[f"{name}_udp_target"]
    np.testing.assert_allclose(target[: len(want)].numpy(), want, atol=5e-6 if dtype == torch.float32 else 1e-6)
    np.testing.assert_array_equal(weight.numpy(), golden[f"{name}_udp_weight"])


@pytest.mark.parametrize(("smoothing", "kernel", "key"), [("official", 7, "udp_preds_k7"), ("mmpose", 11, "mm_udp_preds_k11")])
@pytest.mark.parametrize("name", SIZES)
def test_decoded_keypoints_are_official_and_mmposes(name, smoothing, kernel, key, golden, golden_dir):
    maps, positive = heatmaps(golden_dir, name)  # other code is undefined for heatmaps without a positive cell
    found, scores = UdpCodec(*SIZES[name], blur_kernel=kernel, smoothing=smoothing).decode(maps)
    image = in_image(found, golden_dir, name, "udp")
    np.testing.assert_allclose(image[positive], golden[f"{name}_{key}"][positive], atol=1e-3)
    assert torch.equal(scores, maps.amax((2, 3)))


@pytest.mark.parametrize(("smoothing", "kernel"), [("official", 7), ("mmpose", 11), ("mmpose", 17), ("official", 1)])
@pytest.mark.parametrize("name", SIZES)
def test_decode_after_encode_is_the_identity_on_clean_heatmaps(name, smoothing, kernel):
    codec = UdpCodec(*SIZES[name], blur_kernel=kernel, smoothing=smoothing)
    margin = 28 if name == "48x64" else 40
    points = margin + torch.rand(8, 17, 2) * (torch.tensor(codec.input_size) - 2.0 * margin)
    assert (codec.decode(codec.encode(points, torch.ones(8, 17))[0])[0] - points).abs().max() < 0.005


def test_the_corners_of_the_heatmap_are_the_corners_of_the_input():
    codec = UdpCodec((192, 256), (48, 64))
    corners = torch.tensor([[[0.0, 0.0], [191.0, 0.0], [0.0, 255.0], [191.0, 255.0]]])
    target, _ = codec.encode(corners, torch.ones(1, 4))
    assert [int(one.argmax()) for one in target[0]] == [0, 47, 63 * 48, 64 * 48 - 1]
    assert (target.amax((2, 3)) == 1).all()


def test_flip_back_shifts_nothing(golden, golden_dir):
    flip = np.load(golden_dir / "flip.npz")
    permutation = list(range(17))
    for left, right in flip["coco_pairs"].tolist():
        permutation[left], permutation[right] = right, left
    back = UdpCodec((48, 64), (12, 16)).flip_back(torch.from_numpy(flip["coco_output_of_flipped_input"]), permutation)
    np.testing.assert_array_equal(back.numpy(), golden["flip_unshifted"])
    mean = (torch.from_numpy(flip["coco_output"]) + back) * 0.5
    np.testing.assert_array_equal(mean.numpy(), golden["flip_unshifted_mean"])


def test_a_flat_heatmap_is_decoded_to_its_first_cell():
    found, scores = UdpCodec((192, 256), (48, 64)).decode(torch.full((1, 1, 64, 48), 0.5))
    assert found.flatten().tolist() == [0, 0]
    assert scores.item() == 0.5


def test_an_unknown_smoothing_is_refused():
    with pytest.raises(ValueError, match=r"`smoothing`.*'none'"):
        UdpCodec((192, 256), (48, 64), smoothing="none")


def _mmpose(name):
    input_size, heatmap_size, _ = SIZES[name]
    radius = 0.0546875 * max(heatmap_size)
    return UdpOffsetCodec(input_size, heatmap_size, radius=radius, disk_kernel=23, offset_kernel=1)


def _triples(golden_dir, name):
    """Return heatmaps 0-4 as disks, 5-9 as x offsets and 10-14 as y offsets of five keypoints."""
    maps, _ = heatmaps(golden_dir, name)
    return torch.stack([maps[:2, 5 * part : 5 * part + 5] for part in range(3)], dim=2).flatten(1, 2)


@pytest.mark.parametrize("name", SIZES)
def test_offset_targets_are_official(name, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    want = golden[f"{name}_udp_offset_target"]
    target, weight = UdpOffsetCodec(*SIZES[name][:2]).encode(points[: len(want), :6], visibility[: len(want), :6])
    np.testing.assert_allclose(target.numpy(), want, atol=1e-6)
    assert torch.equal(weight[..., 0].double(), visibility[: len(want), :6])


@pytest.mark.parametrize("name", SIZES)
def test_offset_targets_are_mmposes_on_the_disks(name, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    want = golden[f"{name}_mm_udp_offset_target"]
    target, _ = _mmpose(name).encode(points[:1, :2], visibility[:1, :2])
    disk = want[:, ::3].repeat(3, axis=1) > 0  # beyond the disks MMPose writes offsets that its loss leaves out
    np.testing.assert_allclose(target.numpy(), np.where(disk, want, 0), atol=2e-6)


@pytest.mark.parametrize("name", SIZES)
def test_offset_decoded_keypoints_are_official(name, golden, golden_dir):
    found, scores = UdpOffsetCodec(*SIZES[name][:2]).decode(_triples(golden_dir, name))
    want = golden[f"{name}_udp_offset_maxvals"][..., 0]
    np.testing.assert_allclose(scores.numpy(), want, atol=1e-6)
    image = in_image(found, golden_dir, name, "udp")
    np.testing.assert_allclose(image[want > 0], golden[f"{name}_udp_offset_preds"][want > 0], atol=1e-3)


@pytest.mark.parametrize("name", SIZES)
def test_offset_decoded_keypoints_are_mmposes(name, golden, golden_dir):
    codec = _mmpose(name)
    found, scores = codec.decode(_triples(golden_dir, name))
    size = np.array(codec.input_size)
    expected = golden[f"{name}_mm_udp_offset_input"] * (size - 1) / size  # MMPose's input is one pixel longer
    positive = scores.numpy() > 0
    np.testing.assert_allclose(found.numpy()[positive], expected[positive], atol=1e-3)


def test_offset_flip_back_is_official(golden, golden_dir):
    permutation = list(range(17))
    for left, right in np.load(golden_dir / "flip.npz")["coco_pairs"].tolist():
        permutation[left], permutation[right] = right, left
    codec = UdpOffsetCodec((24, 32), (6, 8), disk_kernel=1)
    back = codec.flip_back(torch.from_numpy(golden["flip_offset_in"]), permutation)
    np.testing.assert_array_equal(back.numpy(), golden["flip_offset_out"])


@settings(deadline=None, max_examples=50)
@given(st.floats(30, 160), st.floats(30, 220))
def test_decode_after_encode_is_the_identity_on_clean_disks(x, y):
    point, seen = torch.tensor([[[x, y]]]), torch.ones(1, 1)
    for kernel, bound in ((1, 0.001), (5, 0.001), (7, 0.15)):
        codec = UdpOffsetCodec((192, 256), (48, 64), offset_kernel=kernel)
        assert (codec.decode(codec.encode(point, seen)[0])[0] - point).abs().max() < bound


def test_the_target_of_a_mirrored_keypoint_is_flipped_back_to_its_target():
    codec = UdpOffsetCodec((192, 256), (48, 64))
    points = torch.tensor([[[50.0, 70.0], [120.0, 99.0]]])
    mirrored = (points * torch.tensor([-1.0, 1.0]) + torch.tensor([191.0, 0.0]))[:, [1, 0]]
    targets = [codec.encode(each, torch.ones(1, 2))[0] for each in (points, mirrored)]
    torch.testing.assert_close(codec.flip_back(targets[1], [1, 0]), targets[0], atol=1e-5, rtol=0)


def test_a_keypoint_outside_keeps_its_weight_and_has_no_disk():
    target, weight = UdpOffsetCodec((192, 256), (48, 64)).encode(torch.tensor([[[-50.0, 9.0]]]), torch.ones(1, 1))
    assert weight.item() == 1
    assert not target.any()


def test_a_number_of_heatmaps_that_is_no_multiple_of_three_is_refused():
    codec = UdpOffsetCodec((192, 256), (48, 64))
    for call in (codec.decode, lambda maps: codec.flip_back(maps, [0])):
        with pytest.raises(ValueError, match=r"`heatmaps`.* 4\."):
            call(torch.zeros(1, 4, 64, 48))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`radius`"):
        UdpOffsetCodec((192, 256), (48, 64), radius=0)
    with pytest.raises(ValueError, match="`offset_kernel`"):
        UdpOffsetCodec((192, 256), (48, 64), offset_kernel=2)
