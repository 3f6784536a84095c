"""Every experiment composes, validates and builds, and says what it is for."""

import functools

import pytest
import torch
from compositions import CONF, EXPERIMENTS, at_home, composed
from omegaconf import OmegaConf

from hrpose.config import build, compose, validate
from hrpose.skeletons import COCO, KNOWN_SKELETONS


@functools.cache
def outputs_of(model, num_channels, input_size):
    """What a network puts out, on shapes alone; many experiments share one."""
    with torch.device("meta"):
        net = build(OmegaConf.create(model), num_keypoints=num_channels).eval()
        width, height = input_size
        return net(torch.empty(1, 3, height, width))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_validates_and_builds(experiment, tmp_path):
    cfg = at_home(composed(f"experiment={experiment}"), tmp_path)
    cfg.paths.runs = str(tmp_path)
    validate(cfg)
    codec = build(cfg.codec)
    skeleton = COCO if "file" in cfg.skeleton else build(cfg.skeleton)
    channels = codec.num_channels(skeleton.num_keypoints)
    outputs = outputs_of(OmegaConf.to_yaml(cfg.model, resolve=True), channels, codec.input_size)
    assert outputs.shape[:2] == (1, channels)
    assert codec.decode(outputs)[0].shape == (1, skeleton.num_keypoints, 2)
    datamodule = build(
        cfg.data,
        codec=codec,
        skeleton=skeleton,
        augment=[build(node) for node in cfg.augment.values() if node is not None],
        pixel_transforms=build(cfg.pixels),
    )
    assert datamodule.seed == cfg.seed
    assert sum((datamodule.files.keypoint_fields or {}).values()) in (0, skeleton.num_keypoints)
    optimizer = build(cfg.optim)([torch.nn.Parameter(torch.zeros(1))])
    told = {"total_steps": 100} if cfg.schedule_interval == "step" else {}
    build(cfg.schedule)(optimizer, **told)
    build(cfg.loss)
    build(cfg.metric, **({} if experiment.startswith("mpii_") else {"sigmas": skeleton.sigmas}))
    callbacks = [build(node) for node in cfg.callbacks.values() if node is not None]
    loggers = [build(node) for node in cfg.logger.values()]
    build(cfg.trainer, callbacks=callbacks, logger=loggers, accelerator="cpu")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_opens_with_command_hardware_and_ap(experiment):
    header = (CONF / "experiment" / f"{experiment}.yaml").read_text().partition("defaults:")[0]
    for word in ("command    hrpose fit", "hardware", "expected", "obtained"):
        assert f"#   {word}" in header


def test_test_is_fit_but_for_its_task_and_its_folder():
    verb = OmegaConf.to_container(OmegaConf.load(CONF / "test.yaml"), resolve=False)
    assert verb == {"defaults": ["fit", "_self_"], "task": "test", "paths": {"run": verb["paths"]["run"]}}


@pytest.mark.parametrize(
    "experiment",
    [
        "tiny",
        "w32_256x192",
        "w32_256x192_udp_offset",
        "simcc_res50_256x192",
        "mpii_w32_256x256",
        "wholebody_w32_256x192",
    ],
)
def test_fit_and_test_measure_the_same_way(experiment):
    fit, test = composed(f"experiment={experiment}"), compose("test", [f"experiment={experiment}"])
    for key in ("data", "codec", "model", "skeleton", "metric", "flip_test", "keypoint_score_threshold", "name"):
        assert fit[key] == test[key], key


@pytest.mark.parametrize(
    ("experiment", "skeleton", "area_from_bbox", "fields"),
    [
        ("crowdpose_w32_256x192", "crowdpose", 0.53, None),
        ("aic_w32_256x192", "aic", 0.53, None),
        ("ochuman_w32_256x192", "coco", 1.0, None),
        ("halpe_w32_256x192", "halpe", 1.0, None),
        ("halpe26_w32_256x192", "halpe26", 1.0, {"keypoints": 26}),
        (
            "wholebody_w32_256x192",
            "wholebody",
            1.0,
            {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21},
        ),
        ("humanart_w32_256x192", "coco", 1.0, None),
        ("jhmdb_w32_256x256", "jhmdb", 0.53, None),
    ],
)
def test_an_experiment_of_another_data_set_has_its_protocol(experiment, skeleton, area_from_bbox, fields):
    cfg = composed(f"experiment={experiment}")
    assert build(cfg.skeleton) is KNOWN_SKELETONS[skeleton]
    assert (cfg.data.area_from_bbox, cfg.data.keypoint_fields) == (area_from_bbox, fields)
    assert (cfg.name, cfg.model.width, cfg.trainer.max_epochs) == (experiment, 32, 210)
