import numpy as np
import pytest
import torch
from golden_cases import SIZES, heatmaps, in_photo, keypoints
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.codecs import UdpOffsetCodec


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "dark_udp.npz")


def _mmpose(name):
    input_size, heatmap_size, _ = SIZES[name]
    radius = 0.0546875 * max(heatmap_size)
    return UdpOffsetCodec(input_size, heatmap_size, radius=radius, disk_kernel=23, offset_kernel=1)


def _triples(golden_dir, name):
    """Heatmaps 0-4 as disks, 5-9 as x offsets, 10-14 as y offsets of five keypoints."""
    maps, _ = heatmaps(golden_dir, name)
    return torch.stack([maps[:2, 5 * part : 5 * part + 5] for part in range(3)], dim=2).flatten(1, 2)


@pytest.mark.parametrize("name", SIZES)
def test_targets_are_official(name, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    want = golden[f"{name}_udp_offset_target"]
    target, weight = UdpOffsetCodec(*SIZES[name][:2]).encode(points[: len(want), :6], visibility[: len(want), :6])
    np.testing.assert_allclose(target.numpy(), want, atol=1e-6)
    assert torch.equal(weight[..., 0].double(), visibility[: len(want), :6])


@pytest.mark.parametrize("name", SIZES)
def test_targets_are_mmposes_on_the_disks(name, golden, golden_dir):
    points, visibility = keypoints(golden_dir, name)
    want = golden[f"{name}_mm_udp_offset_target"]
    target, _ = _mmpose(name).encode(points[:1, :2], visibility[:1, :2])
    disk = want[:, ::3].repeat(3, axis=1) > 0  # beyond the disks MMPose writes offsets that its loss leaves out
    np.testing.assert_allclose(target.numpy(), np.where(disk, want, 0), atol=2e-6)


@pytest.mark.parametrize("name", SIZES)
def test_decoded_keypoints_are_official(name, golden, golden_dir):
    found, scores = UdpOffsetCodec(*SIZES[name][:2]).decode(_triples(golden_dir, name))
    want = golden[f"{name}_udp_offset_maxvals"][..., 0]
    np.testing.assert_allclose(scores.numpy(), want, atol=1e-6)
    photo = in_photo(found, golden_dir, name, "udp")
    np.testing.assert_allclose(photo[want > 0], golden[f"{name}_udp_offset_preds"][want > 0], atol=1e-3)


@pytest.mark.parametrize("name", SIZES)
def test_decoded_keypoints_are_mmposes(name, golden, golden_dir):
    codec = _mmpose(name)
    found, scores = codec.decode(_triples(golden_dir, name))
    size = np.array(codec.input_size)
    theirs = golden[f"{name}_mm_udp_offset_input"] * (size - 1) / size  # MMPose's input is one pixel longer
    positive = scores.numpy() > 0
    np.testing.assert_allclose(found.numpy()[positive], theirs[positive], atol=1e-3)


def test_flip_back_is_official(golden, golden_dir):
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


def test_the_target_of_a_mirrored_keypoint_is_flipped_back_to_its_own():
    codec = UdpOffsetCodec((192, 256), (48, 64))
    points = torch.tensor([[[50.0, 70.0], [120.0, 99.0]]])
    mirrored = (points * torch.tensor([-1.0, 1.0]) + torch.tensor([191.0, 0.0]))[:, [1, 0]]
    targets = [codec.encode(each, torch.ones(1, 2))[0] for each in (points, mirrored)]
    torch.testing.assert_close(codec.flip_back(targets[1], [1, 0]), targets[0], atol=1e-5, rtol=0)


def test_a_keypoint_outside_keeps_its_weight_and_has_no_disk():
    target, weight = UdpOffsetCodec((192, 256), (48, 64)).encode(torch.tensor([[[-50.0, 9.0]]]), torch.ones(1, 1))
    assert weight.item() == 1
    assert not target.any()


def test_heatmaps_that_are_no_triples_are_refused():
    codec = UdpOffsetCodec((192, 256), (48, 64))
    for call in (codec.decode, lambda maps: codec.flip_back(maps, [0])):
        with pytest.raises(ValueError, match=r"three channels for each keypoint .* but got 4 channels"):
            call(torch.zeros(1, 4, 64, 48))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="`radius` to be a positive number of heatmap cells"):
        UdpOffsetCodec((192, 256), (48, 64), radius=0)
    with pytest.raises(ValueError, match="`offset_kernel` to be an odd number"):
        UdpOffsetCodec((192, 256), (48, 64), offset_kernel=2)
