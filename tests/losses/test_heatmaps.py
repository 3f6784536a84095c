import numpy as np
import pytest
import torch

from hrpose.losses import HeatmapMSELoss, HeatmapOffsetMSELoss, HeatmapOHKMLoss


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "losses.npz")


def _case(golden, number):
    return [torch.from_numpy(golden[f"{name}_{number}"]) for name in ("output", "target", "target_weight")]


@pytest.mark.parametrize("number", [1, 3])
def test_mse_and_its_gradient_are_official(golden, number):
    heatmaps, target, weight = _case(golden, number)
    heatmaps.requires_grad_()
    loss = HeatmapMSELoss()(heatmaps, target, weight)
    loss.backward()
    assert loss.item() == pytest.approx(float(golden[f"mse_weighted_{number}"]), rel=1e-5)
    want = golden[f"mse_weighted_grad_{number}"]
    np.testing.assert_allclose(heatmaps.grad.numpy(), want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    unweighted = HeatmapMSELoss()(heatmaps.detach(), target, torch.ones_like(weight))
    assert unweighted.item() == pytest.approx(float(golden[f"mse_unweighted_{number}"]), rel=1e-5)


@pytest.mark.parametrize("number", [1, 3])
def test_mse_by_the_rules_of_mmpose_is_mmposes(golden, number):
    heatmaps, target, weight = _case(golden, number)
    loss = HeatmapMSELoss("mmpose")
    for case, weights in (("weighted", weight), ("noweight", torch.ones_like(weight))):
        want = float(golden[f"mmpose_mse_{case}_{number}"])
        assert loss(heatmaps, target, weights).item() == pytest.approx(want, rel=1e-5)
    labelled = (weight > 0).float()
    assert loss(heatmaps, target, labelled).item() == pytest.approx(2 * HeatmapMSELoss()(heatmaps, target, labelled).item())
    with pytest.raises(ValueError, match=r"`rules`.*'mine'"):
        HeatmapMSELoss("mine")


@pytest.mark.parametrize("top_k", [4, 8])
def test_ohkm_is_official(golden, top_k):
    heatmaps, target, weight = _case(golden, 1)
    loss = HeatmapOHKMLoss(top_k)
    for name, weights in (("weighted", weight), ("unweighted", torch.ones_like(weight))):
        want = float(golden[f"ohkm_{name}_top{top_k}_1"])
        assert loss(heatmaps, target, weights).item() == pytest.approx(want, rel=1e-5)


def test_ohkm_of_a_batch_is_the_mean_over_its_instances(golden):
    batch = _case(golden, 1)
    loss = HeatmapOHKMLoss(5)
    single = [loss(*(values[row : row + 1] for values in batch)).item() for row in range(len(batch[0]))]
    assert loss(*batch).item() == pytest.approx(np.mean(single), rel=1e-6)


def test_ohkm_of_all_keypoints_is_mse(golden):
    batch = _case(golden, 3)
    assert HeatmapOHKMLoss(17)(*batch).item() == pytest.approx(HeatmapMSELoss()(*batch).item(), rel=1e-6)


def test_unlabelled_keypoints_count_in_the_mean_and_have_no_gradient():
    heatmaps = torch.rand(2, 4, 6, 5, requires_grad=True)
    target, weight = torch.zeros(2, 4, 6, 5), torch.ones(2, 4, 1)
    weight[:, 1:] = 0
    loss = HeatmapMSELoss()(heatmaps, target, weight)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * heatmaps[:, 0].detach().square().mean().item() / 4, rel=1e-6)
    assert not heatmaps.grad[:, 1:].any()


def test_half_precision_heatmaps_are_summed_in_float32():
    heatmaps = torch.full((2, 17, 64, 48), 1.0).bfloat16()
    target, weight = torch.full((2, 17, 64, 48), 1.001), torch.ones(2, 17, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = HeatmapMSELoss()(heatmaps, target, weight)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.5e-6, rel=1e-3)  # in bfloat16 1.001 is 1


def test_the_errors_of_all_stacks_are_summed(golden):
    heatmaps, target, weight = _case(golden, 3)
    stacks = torch.stack([heatmaps, 0.5 * heatmaps, heatmaps + 1], dim=1)
    loss = HeatmapMSELoss()
    alone = sum(loss(stacks[:, stack], target, weight) for stack in range(3))
    assert loss(stacks, target, weight).item() == pytest.approx(alone.item(), rel=1e-6)
    assert loss(stacks[:, :1], target, weight) == loss(heatmaps, target, weight)
    assert HeatmapOHKMLoss(17)(stacks, target, weight).item() == pytest.approx(alone.item(), rel=1e-6)


@pytest.mark.parametrize("loss", [HeatmapMSELoss(), HeatmapOHKMLoss(2)])
def test_shapes_that_would_broadcast_are_refused(loss):
    heatmaps = torch.zeros(2, 3, 8, 6)
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 6\).*\(2, 1, 8, 6\).*\(2, 3, 1\)"):
        loss(heatmaps, torch.zeros(2, 1, 8, 6), torch.ones(2, 3, 1))
    with pytest.raises(ValueError, match=r"\(2, 4, 8, 6\).*\(2, 3, 8, 6\).*\(2, 3, 1\)"):
        loss(torch.zeros(2, 5, 4, 8, 6), heatmaps, torch.ones(2, 3, 1))
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 6\), \(2, 3, 8, 6\) and \(2, 3\)"):
        loss(heatmaps, heatmaps, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3, 2\).*\(2, 3, 1\)"):
        loss(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2), torch.ones(2, 3, 1))


def test_a_top_k_above_the_number_of_keypoints_is_refused():
    with pytest.raises(ValueError, match=r"top_k.*8 keypoints.*5.*loss.top_k"):
        HeatmapOHKMLoss()(torch.zeros(1, 5, 4, 4), torch.zeros(1, 5, 4, 4), torch.ones(1, 5, 1))
    with pytest.raises(ValueError, match=r"`top_k`.*1.*0"):
        HeatmapOHKMLoss(0)


@pytest.fixture
def offsets(golden_dir):
    golden = np.load(golden_dir / "dark_udp.npz")
    batch = [torch.from_numpy(golden[f"comb_{name}"]) for name in ("output", "target", "weight")]
    return batch, float(golden["comb_udp_loss_hm"]), float(golden["comb_udp_loss_offset"])


def test_the_loss_of_disks_and_offsets_is_official(offsets):
    batch, disks, ways = offsets
    assert HeatmapOffsetMSELoss()(*batch).item() == pytest.approx(disks + ways, rel=1e-5)


def test_offsets_have_gradients_on_the_disks_only(offsets):
    (heatmaps, target, weight), _, _ = offsets
    heatmaps.requires_grad_()
    HeatmapOffsetMSELoss()(heatmaps, target, weight).backward()
    outside = target[:, ::3] == 0
    assert not heatmaps.grad[:, 1::3][outside].any()
    assert heatmaps.grad[:, 1::3][~outside].any()


def test_disks_and_offsets_of_two_stacks_are_summed(offsets):
    (heatmaps, target, weight), disks, ways = offsets
    loss = HeatmapOffsetMSELoss()
    stacks = torch.stack([heatmaps, heatmaps * 0.5], dim=1)
    want = disks + ways + loss(heatmaps * 0.5, target, weight).item()
    assert loss(stacks, target, weight).item() == pytest.approx(want, rel=1e-5)


def test_a_loss_for_another_codec_is_refused():
    three, one = torch.zeros(2, 9, 8, 6), torch.zeros(2, 3, 8, 6)
    with pytest.raises(ValueError, match="loss=offset"):
        HeatmapMSELoss()(three, three, torch.ones(2, 3, 1))
    with pytest.raises(ValueError, match="`offset`"):
        HeatmapOffsetMSELoss()(one, one, torch.ones(2, 3, 1))
