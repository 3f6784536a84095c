"""Network, codec and loss are checked on meta tensors before a run starts."""

import logging
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hrpose.codecs import AssociativeEmbedding, HeatmapCodec, IntegralCodec, RegressionCodec, SimccCodec
from hrpose.config import ConfigError, compose
from hrpose.losses import (
    AssociativeEmbeddingLoss,
    CoordinateLoss,
    HeatmapMSELoss,
    HeatmapOHKMLoss,
    IntegralLoss,
    RLELoss,
    SimccLoss,
)
from hrpose.models import DeepPose, HigherHRNet, HRNet, SimCC, SimpleBaseline, StackedHourglass
from hrpose.models.checks import run_on_shapes
from hrpose.tasks.dry_run import check_heatmap_size, dry_run, dry_run_config, settle_last_batch

SIZE, CELLS = (64, 128), (16, 32)


def deeppose(**arguments):
    return DeepPose(SimpleBaseline(18, None, deconv_channels=(), deconv_kernels=()), 3, **arguments)


NETS = {
    "heatmaps": lambda: HRNet(4, 3, num_modules=(1, 1, 1), num_blocks=1),
    "stacks": lambda: StackedHourglass(2, 3, width=8),
    "coordinates": deeppose,
    "sigmas": lambda: deeppose(sigmas=True),
    "bins": lambda: SimCC(SimpleBaseline(18, None), 3, input_size=SIZE),
}
CODECS = {
    "heatmap": HeatmapCodec(SIZE, CELLS),
    "integral": IntegralCodec(SIZE, CELLS),
    "regression": RegressionCodec(SIZE),
    "simcc": SimccCodec(SIZE),
}
LOSSES = {
    "mse": HeatmapMSELoss,
    "integral": IntegralLoss,
    "regression": CoordinateLoss,
    "rle": RLELoss,
    "simcc": lambda: SimccLoss(SIZE),
}
BELONGING = {
    *(("heatmaps", "heatmap", "mse"), ("stacks", "heatmap", "mse"), ("heatmaps", "integral", "integral")),
    *(("stacks", "integral", "integral"), ("coordinates", "regression", "regression")),
    *(("sigmas", "regression", "rle"), ("bins", "simcc", "simcc")),
}


# every loss with a matching codec, and every codec with its loss
OF_CODEC = {"heatmap": "mse", "integral": "integral", "regression": "regression", "simcc": "simcc"}
TRIPLES = {(net, codec, loss) for net, codec, _ in BELONGING for loss in LOSSES}
TRIPLES |= {(net, codec, loss) for net in NETS for codec, loss in OF_CODEC.items()}


@cache
def net_of(name):
    return NETS[name]()


@pytest.mark.parametrize(("name", "codec", "loss"), sorted(TRIPLES))
def test_only_matching_parts_pass(name, codec, loss):
    network = net_of(name)
    if (name, codec, loss) in BELONGING:
        dry_run(network, CODECS[codec], LOSSES[loss](), 3)
        return
    with pytest.raises(ConfigError, match=r"^(codec|loss): it does not match model") as refusal:
        dry_run(network, CODECS[codec], LOSSES[loss](), 3)
    fitting = {"coordinates": "loss=regression", "sigmas": "loss=rle", "bins": "loss=simcc"}.get(name, "loss=mse")
    assert fitting in str(refusal.value)


def test_a_dry_run_changes_neither_weights_nor_random_numbers():
    network = NETS["heatmaps"]().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    dry_run(network, CODECS["heatmap"], HeatmapMSELoss(), 3)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_error_of_a_loss_is_part_of_the_message():
    with pytest.raises(ConfigError, match=r"top_k.*8 keypoints.*3.*loss\.top_k"):
        dry_run(NETS["heatmaps"](), CODECS["heatmap"], HeatmapOHKMLoss(8), 3)


def test_a_network_that_meta_tensors_do_not_support_is_a_warning(caplog):
    class Undecided(nn.Module):
        def forward(self, images):
            return images if images.sum().item() > 0 else -images

    with caplog.at_level(logging.WARNING):
        dry_run(Undecided(), RegressionCodec(SIZE), CoordinateLoss(), 3)
    assert "Could not check model" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (["model=deeppose_tiny", "codec=heatmap", "size=160x96"], "codec=regression size=160x96 loss=regression"),
        (["model=rle_tiny", "loss=regression"], "codec=regression size=160x96 loss=rle"),
        (["codec=regression", "size=160x96"], "codec=heatmap size=160x96 loss=mse, or codec=integral size=160x96 loss=integral"),
        (["experiment=w32_384x288", "model=simcc_w32", "codec=heatmap"], "codec=simcc size=384x288 loss=simcc"),
        (["codec=heatmap", "size=128x96", "model=deeppose_tiny"], "codec=regression size=128x96 loss=regression"),
        (
            ["codec=heatmap", "size=128x96", "codec.input_size=[96,192]", "codec.heatmap_size=[24,48]", "model=deeppose_tiny"],
            r"codec=regression codec.input_size=\[96,192\] loss=regression",
        ),
        (["codec=udp_offset", "size=256x192", "loss=mse"], "loss=offset"),
    ],
)
def test_an_error_names_the_matching_overrides(overrides, advice):
    with pytest.raises(ConfigError, match=f"Matching overrides: {advice}"):
        dry_run_config(compose("fit", overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"model={name}_tiny"] for name in ("hrnet", "deeppose", "rle", "simcc")),
        ["experiment=w32_256x192", "model=rle_w32"],
        ["codec=integral", "size=160x96"],
        ["codec=udp_offset", "size=256x192", "loss=offset"],
        ["loss=ohkm"],
    ],
    ids=" ".join,
)
def test_one_or_two_overrides_select_a_matching_combination(overrides):
    dry_run_config(compose("fit", overrides))


TINY = {"width": 4, "num_keypoints": 3, "num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}


def check_sizes(net, codec):
    check_heatmap_size(net, codec, run_on_shapes(net, codec.input_size))


@pytest.mark.parametrize("branch", [0, 1, 2, 3])
def test_equal_heatmap_sizes_pass(branch):
    cells = (64 >> branch + 2, 96 >> branch + 2)
    check_sizes(HRNet(**TINY, heatmap_branch=branch), HeatmapCodec((64, 96), cells))


def test_a_wrong_heatmap_size_is_refused_with_both_keys():
    net = HRNet(**TINY, heatmap_branch=1)
    with pytest.raises(ConfigError) as error:
        check_sizes(net, HeatmapCodec((64, 96), (16, 24)))
    assert "codec.heatmap_size: expected [8, 12]" in str(error.value)
    assert "got [16, 24]. Set codec.heatmap_size=[8,12], or change model.heatmap_branch" in str(error.value)


def test_the_branch_is_named_only_for_networks_with_branches():
    net = StackedHourglass(1, 3, width=8).train()  # returns (B, S, K, h, w)
    check_sizes(net, HeatmapCodec((64, 128), (16, 32)))
    with pytest.raises(ConfigError, match=r"\(StackedHourglass\)") as error:
        check_sizes(net, HeatmapCodec((64, 128), (32, 64)))
    assert "heatmap_branch" not in str(error.value)


def test_outputs_that_are_no_heatmaps_are_not_checked():
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
    net(torch.zeros(1, 3, 8, 8))
    check_sizes(net, HeatmapCodec((8, 8), (2, 2)))
    check_sizes(net, SimpleNamespace(input_size=(8, 8)))


@pytest.mark.parametrize(
    ("size", "batch_size", "count", "dropped"),
    [((32, 32), 4, 9, True), ((32, 32), 4, 8, True), ((64, 64), 4, 9, False), ((64, 64), 1, 9, False)],
)
def test_a_last_batch_of_one_sample_is_dropped_if_batch_norm_refuses_it(size, batch_size, count, dropped):
    data = SimpleNamespace(batch_size=batch_size, num_train_samples=count, drop_single_sample=False)
    settle_last_batch(NETS["heatmaps"](), HeatmapCodec(size, (size[0] // 4, size[1] // 4)), data)
    assert data.drop_single_sample is dropped


@pytest.mark.parametrize(("batch_size", "count", "processes"), [(1, 9, 1), (4, 1, 1), (4, 2, 2), (4, 3, 3)])
def test_batches_of_one_sample_are_refused_if_batch_norm_refuses_them(batch_size, count, processes):
    data = SimpleNamespace(batch_size=batch_size, num_train_samples=count, drop_single_sample=False)
    with pytest.raises(ConfigError, match=r"data\.batch_size"):
        settle_last_batch(NETS["heatmaps"](), HeatmapCodec((32, 32), (8, 8)), data, processes)


BOTTOM_UP = AssociativeEmbedding((64, 64))


def higher_hrnet(**options):
    return HigherHRNet(4, 3, num_modules=(1, 1, 1), num_blocks=1, **options)


def test_a_bottom_up_network_matches_its_codec_and_loss():
    dry_run(higher_hrnet(), BOTTOM_UP, AssociativeEmbeddingLoss(), 3)
    plain = AssociativeEmbedding((64, 64), strides=(4,))
    dry_run(higher_hrnet(num_deconvs=0), plain, AssociativeEmbeddingLoss(), 3)


@pytest.mark.parametrize(
    ("net", "codec", "part", "advice"),
    [
        (lambda: net_of("heatmaps"), BOTTOM_UP, "codec", "model=higher_hrnet"),
        (higher_hrnet, HeatmapCodec((64, 64), (16, 16)), "codec", "codec=associative_embedding"),
        (lambda: higher_hrnet(num_deconvs=0), BOTTOM_UP, "loss", "codec.strides"),
    ],
)
def test_top_down_and_bottom_up_parts_are_not_mixed(net, codec, part, advice):
    with pytest.raises(ConfigError, match=rf"(?s)^{part}: .*{advice}"):
        dry_run(net(), codec, AssociativeEmbeddingLoss(), 3)
