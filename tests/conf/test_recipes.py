"""The numbers of the papers, and the two recipes by which anything can be trained."""

import pytest
from compositions import as_written, at_home, composed

from hrpose.config import ConfigError, build, compose, validate
from hrpose.skeletons import MPII

PAPER = {  # experiment: width, input (w, h), sigma, persons per step
    "w32_256x192": (32, (192, 256), 2.0, 128),
    "w32_384x288": (32, (288, 384), 3.0, 128),
    "w48_256x192": (48, (192, 256), 2.0, 128),
    "w48_384x288": (48, (288, 384), 3.0, 96),
}
RESNETS = {  # experiment: depth, input (w, h), sigma
    "res50_256x192": (50, (192, 256), 2.0),
    "res50_384x288": (50, (288, 384), 3.0),
    "res101_256x192": (101, (192, 256), 2.0),
    "res101_384x288": (101, (288, 384), 3.0),
    "res152_256x192": (152, (192, 256), 2.0),
    "res152_384x288": (152, (288, 384), 3.0),
}
MPII_NETWORKS = {  # experiment: network, its width or depth, epochs, milestones, colour order
    "mpii_w32_256x256": ("HRNet", 32, 210, [170, 200], "rgb"),
    "mpii_res50_256x256": ("SimpleBaseline", 50, 140, [90, 120], "bgr"),
}
HOURGLASSES = {"hourglass_8_256x192": (8, (192, 256))}  # experiment: stacks, input (w, h)


@pytest.mark.parametrize("experiment", sorted(PAPER))
def test_the_papers_numbers(experiment):
    cfg = composed(f"experiment={experiment}")
    width, input_size, sigma, batch = PAPER[experiment]
    assert (cfg.model.width, tuple(cfg.codec.input_size), cfg.codec.sigma) == (width, input_size, sigma)
    assert tuple(cfg.codec.heatmap_size) == (input_size[0] // 4, input_size[1] // 4)
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches * cfg.trainer.devices == batch
    assert (cfg.optim._target_, cfg.optim.lr, cfg.optim.weight_decay) == ("torch.optim.Adam", 1e-3, 0)
    assert (list(cfg.schedule.milestones), cfg.schedule.gamma, cfg.trainer.max_epochs) == ([170, 200], 0.1, 210)
    assert (cfg.augment.scale.factor, cfg.augment.rotation.factor, cfg.augment.half_body.probability) == (0.35, 45, 0.3)
    assert (cfg.flip_test, cfg.metric.oks_nms_threshold, cfg.keypoint_score_threshold) == (True, 0.9, 0.2)
    assert cfg.pixels is None
    assert cfg.name == experiment


@pytest.mark.parametrize("experiment", [*RESNETS, *HOURGLASSES])
def test_the_recipe_of_the_networks_that_hrnet_was_measured_against(experiment):
    cfg = composed(f"experiment={experiment}")
    if experiment in RESNETS:
        depth, input_size, sigma = RESNETS[experiment]
        assert (cfg.model.depth, tuple(cfg.codec.input_size), cfg.codec.sigma) == (depth, input_size, sigma)
        persons, rate = 128, 1e-3
    else:
        num_stacks, input_size = HOURGLASSES[experiment]
        assert (cfg.model.num_stacks, tuple(cfg.codec.input_size), cfg.codec.sigma) == (num_stacks, input_size, 2.0)
        persons, rate = 32, 2.5e-4
    assert tuple(cfg.codec.heatmap_size) == (input_size[0] // 4, input_size[1] // 4)
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches * cfg.trainer.devices == persons
    assert (cfg.optim._target_, cfg.optim.lr, cfg.optim.weight_decay) == ("torch.optim.Adam", rate, 0)
    assert (list(cfg.schedule.milestones), cfg.schedule.gamma, cfg.trainer.max_epochs) == ([90, 120], 0.1, 140)
    assert (cfg.augment.scale.factor, cfg.augment.rotation.factor, cfg.augment.half_body) == (0.3, 40, None)
    assert cfg.data.channel_order == "bgr"
    assert cfg.name == experiment


@pytest.mark.parametrize("experiment", MPII_NETWORKS)
def test_the_recipe_of_mpii(experiment):
    network, size, epochs, milestones, channel_order = MPII_NETWORKS[experiment]
    cfg = composed(f"experiment={experiment}")
    assert cfg.model._target_.endswith(f".{network}")
    assert cfg.model["width" if network == "HRNet" else "depth"] == size
    assert (tuple(cfg.codec.input_size), tuple(cfg.codec.heatmap_size), cfg.codec.sigma) == ((256, 256), (64, 64), 2.0)
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches * cfg.trainer.devices == 128
    assert (cfg.optim._target_, cfg.optim.lr, cfg.optim.weight_decay) == ("torch.optim.Adam", 1e-3, 0)
    assert (cfg.trainer.max_epochs, list(cfg.schedule.milestones), cfg.schedule.gamma) == (epochs, milestones, 0.1)
    assert (cfg.augment.scale.factor, cfg.augment.rotation.factor, cfg.augment.half_body) == (0.25, 30, None)
    assert (cfg.augment.flip.probability, cfg.flip_test, cfg.data.bbox_padding) == (0.5, True, 1.25)
    assert (cfg.data.channel_order, cfg.data.val_detections, list(cfg.data.val_boxes)) == (channel_order, None, ["gt"])
    assert cfg.metric._target_ == "hrpose.metrics.PCKh"
    assert build(cfg.skeleton) is MPII
    assert cfg.name == experiment


@pytest.mark.parametrize(
    ("experiment", "rate", "milestones"),
    [
        ("deeppose_res50_256x192", 5e-4, [170, 200]),
        ("rle_res50_256x192", 1e-3, [170, 200]),
        ("simcc_res50_256x192", 1e-3, [170, 200]),
        ("integral_res50_256x256", 5e-4, [170, 200]),
    ],
)
def test_the_recipe_of_the_networks_without_gaussians_is_mmposes(experiment, rate, milestones):
    cfg = composed(f"experiment={experiment}")
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches == 512
    assert (cfg.optim._target_, cfg.optim.lr, cfg.schedule.warmup_steps) == ("torch.optim.Adam", rate, 500)
    assert (list(cfg.schedule.milestones), cfg.schedule_interval) == (milestones, "step")
    assert (cfg.augment.shift_scale_rotate.rotation, cfg.data.bbox_rules, cfg.data.channel_order) == (80, "mmpose", "rgb")
    assert cfg.name == experiment


@pytest.mark.parametrize("experiment", [*PAPER, "res50_256x192", "hourglass_8_256x192", "tiny"])
def test_the_official_recipe_is_the_experiment_itself(experiment):
    word = f"experiment={experiment}"
    assert as_written(word, "recipe=official") == as_written(word)


@pytest.mark.parametrize(
    "arguments",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in list(PAPER)[1:]),
        *("w32_256x192", "res50_256x192", "hourglass_8_256x192", "w32_256x192 codec=dark"),
        *("w32_256x192 codec=udp", "w32_256x192 codec=udp_offset loss=offset", "w32_256x192 pixels=color_dropout"),
        "w32_256x192 +model.heatmap_branch=1 codec.heatmap_size=[24,32]",
    ],
)
def test_the_recipe_of_mmpose_on_any_network_and_codec(arguments, tmp_path):
    words = f"experiment={arguments}".split()
    plain = composed(*words)
    cfg = at_home(composed(*words, "recipe=mmpose"), tmp_path)
    validate(cfg)
    assert (cfg.model, cfg.name) == (plain.model, plain.name)
    assert (cfg.optim._target_, cfg.optim.lr, cfg.optim.weight_decay) == ("torch.optim.Adam", 5e-4, 0)
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches * cfg.trainer.devices == 512
    assert (cfg.trainer.max_epochs, cfg.trainer.check_val_every_n_epoch) == (210, 10)
    schedule = cfg.schedule
    assert (list(schedule.milestones), schedule.warmup_steps, schedule.warmup_factor) == ([170, 200], 500, 0.001)
    assert (cfg.schedule_interval, schedule.num_epochs) == ("step", 210)
    assert list(cfg.augment) == ["flip", "half_body", "shift_scale_rotate"]
    assert (cfg.data.bbox_rules, cfg.data.channel_order) == ("mmpose", "rgb")
    if "udp_offset" not in arguments:
        assert cfg.loss.rules == "mmpose"
    codec = build(cfg.codec)
    assert getattr(codec, "rules", getattr(codec, "smoothing", "mmpose")) == "mmpose"


def test_the_recipe_of_mmpose_on_mpii_neither_shifts_nor_takes_half_bodies():
    cfg = compose("fit", ["experiment=mpii_w32_256x256", "recipe=mmpose", "augment=mmpose_mpii"])
    assert list(cfg.augment) == ["flip", "shift_scale_rotate"]
    assert (cfg.augment.shift_scale_rotate.shift_probability, cfg.optim.lr) == (0, 5e-4)


def test_words_of_the_command_line_beat_the_recipe():
    words = ["recipe=mmpose", "experiment=w48_384x288", "data.batch_size=32", "augment=hrnet", "trainer.max_epochs=3"]
    cfg = compose("fit", words)
    assert (cfg.data.batch_size, cfg.trainer.max_epochs, cfg.schedule.num_epochs) == (32, 3, 3)
    assert list(cfg.augment) == ["half_body", "scale", "rotation", "flip"]


def test_missing_files_of_mpii_are_named_with_their_layout(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.val_ground_truth = .*gt_valid\.mat") as caught:
        validate(compose("fit", ["experiment=mpii_w32_256x256", f"paths.data={tmp_path}"]))
    assert f"MPII is expected under {tmp_path} like this" in str(caught.value)
    assert "human-pose.mpi-inf.mpg.de" in str(caught.value)
