"""The files of conf/: every experiment composes, validates and builds; every option fits; every file says what it is for."""

import dataclasses
import functools
import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from hrpose.config import ConfigError, build, compose, conf_dir, validate
from hrpose.models import count_macs, count_parameters
from hrpose.skeletons import COCO, KNOWN_SKELETONS, MPII

CONF = conf_dir()
FILES = sorted(CONF.rglob("*.yaml"))
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
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
    "mpii_w48_256x256": ("HRNet", 48, 210, [170, 200], "rgb"),
    "mpii_res50_256x256": ("SimpleBaseline", 50, 140, [90, 120], "bgr"),
    "mpii_res101_256x256": ("SimpleBaseline", 101, 140, [90, 120], "bgr"),
    "mpii_res152_256x256": ("SimpleBaseline", 152, 140, [90, 120], "bgr"),
}
HOURGLASSES = {  # experiment: stacks, input (w, h)
    "hourglass_4_256x192": (4, (192, 256)),
    "hourglass_8_256x192": (8, (192, 256)),
    "hourglass_8_256x256": (8, (256, 256)),
}
VARIANTS = {  # experiment: the words that make the same of another
    "mpii_w32_256x256_dark": "experiment=mpii_w32_256x256 codec=dark_256x256",
    "mpii_w48_256x256_dark": "experiment=mpii_w48_256x256 codec=dark_256x256",
    "mpii_w32_256x256_udp": "experiment=mpii_w32_256x256 codec=udp_256x256",
    "w32_256x192_pixels": "experiment=w32_256x192 pixels=color_dropout",
    "w32_256x192_scratch": "experiment=w32_256x192",
    "w32_256x192_across_stages": "experiment=w32_256x192 +model.exchanges=across_stages",
    "w32_256x192_final_exchange": "experiment=w32_256x192 +model.exchanges=final",
    "w32_256x192_branch_2x": "experiment=w32_256x192 +model.heatmap_branch=1 codec.heatmap_size=[24,32]",
    "w32_256x192_branch_4x": "experiment=w32_256x192 +model.heatmap_branch=2 codec.heatmap_size=[12,16]",
    "w48_256x192_branch_2x": "experiment=w48_256x192 +model.heatmap_branch=1 codec.heatmap_size=[24,32]",
    "w48_256x192_branch_4x": "experiment=w48_256x192 +model.heatmap_branch=2 codec.heatmap_size=[12,16]",
    **{
        f"{net}_128x96": f"experiment={net}_256x192 codec=heatmap_128x96 data.batch_size=64 trainer.accumulate_grad_batches=2"
        for net in ("w32", "w48", "res50", "res101", "res152")
    },
    **{
        f"{net}_128x96_dark": f"experiment={net}_128x96 codec=dark_128x96"
        for net in ("w32", "res50", "res101", "res152")
    },
    "w48_128x96_dark": "experiment=w48_128x96 codec=dark_128x96 codec.blur_kernel=11",
    "hourglass_4_128x96": "experiment=hourglass_4_256x192 codec=heatmap_128x96",
    "hourglass_8_128x96": "experiment=hourglass_8_256x192 codec=heatmap_128x96 codec.sigma=2.0",
    "hourglass_4_128x96_dark": "experiment=hourglass_4_128x96 codec=dark_128x96 codec.blur_kernel=11",
    "hourglass_8_128x96_dark": "experiment=hourglass_8_128x96 codec=dark_128x96 codec.blur_kernel=11 codec.sigma=2.0",
    "w32_256x192_dark": "experiment=w32_256x192 codec=dark_256x192",
    "w48_256x192_dark": "experiment=w48_256x192 codec=dark_256x192 data.batch_size=30",
    "w32_384x288_dark": "experiment=w32_384x288 codec=dark_384x288 data.batch_size=28",
    "w48_384x288_dark": "experiment=w48_384x288 codec=dark_384x288 data.batch_size=18",
    **{
        f"{net}_{size}_udp": f"experiment={net}_{size} codec=udp_{size}"
        for net in ("w32", "w48", "res50", "res152")
        for size in ("256x192", "384x288")
    },
    "w32_256x192_udp_offset": "experiment=w32_256x192 codec=udp_offset_256x192 loss=offset",
}
SIZE = re.compile(r"([\d.]+) M parameters,? .*?([\d.]+) ([GM]) multiply-adds at (\d+)x(\d+)")
OPTIONS = [
    f"{file.parent.relative_to(CONF).as_posix()}={file.stem}"
    for file in FILES
    if file.parent != CONF
    and file.parent.name not in ("experiment", "bench", "hydra", "paths", "draw", "smoothing", "tracking", "detector")
]


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """A folder in the layout of COCO and of MPII, with empty files."""
    folder = tmp_path_factory.mktemp("coco")
    for name in (
        "annotations/person_keypoints_train2017.json",
        "annotations/person_keypoints_val2017.json",
        "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
        *("annot/train.json", "annot/valid.json", "annot/gt_valid.mat"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "train2017").mkdir()
    (folder / "val2017").mkdir()
    (folder / "images").mkdir()
    return folder


def places(words: list[str], coco: Path) -> list[str]:
    """Point a configuration to empty files that are made where it expects its data."""
    told = [f"paths.data={coco}"]
    cfg = compose("fit", [*words, *told])
    if "coco" in cfg.paths:  # data sets that are trained on COCO
        told.append(f"paths.coco={coco}")
    for key, path in cfg.data.items():
        if str(path).startswith(f"{coco}/"):
            file = Path(path)
            (file if key.endswith("_images") else file.parent).mkdir(parents=True, exist_ok=True)
            if not key.endswith("_images"):
                file.touch()
    return told


@functools.cache
def composed(word):
    """The configuration of `fit` with one word, composed once for all tests that only look at it."""
    return compose("fit", [word])


def as_written(verb, words=()):
    """A configuration without the time of day, which two compositions may see differently in the names of their folders."""
    return OmegaConf.to_container(compose(verb, list(words)), resolve=False)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_validates_and_builds(experiment, coco, tmp_path):
    words = [f"experiment={experiment}", f"paths.runs={tmp_path}"]
    cfg = compose("fit", [*words, *places(words, coco)])
    validate(cfg)
    codec = build(cfg.codec)
    skeleton = COCO if "file" in cfg.skeleton else build(cfg.skeleton)
    channels = codec.num_channels(skeleton.num_keypoints)
    with torch.device("meta"):
        net = build(cfg.model, num_keypoints=channels).eval()
        width, height = codec.input_size
        outputs = net(torch.empty(1, 3, height, width))
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


def test_one_line_chooses_what_checkpoints_go_by():
    words = ["callbacks/early_stopping=default"]
    for cfg, leading, least in (
        (compose("fit", [*words, "metric=pckh"]), "val/PCKh", 0.1),
        (compose("fit", words), "val/AP", 0.001),
    ):
        assert cfg.callbacks.best.monitor == cfg.callbacks.early_stopping.monitor == leading
        assert cfg.callbacks.early_stopping.min_delta == least
    validate(compose("fit", ["callbacks.best=null"]))


def test_missing_files_of_mpii_are_named_with_their_layout(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.val_ground_truth = .*gt_valid\.mat") as caught:
        validate(compose("fit", ["experiment=mpii_w32_256x256", f"paths.data={tmp_path}"]))
    assert f"MPII is expected under {tmp_path} like this" in str(caught.value)
    assert "human-pose.mpi-inf.mpg.de" in str(caught.value)


@pytest.mark.parametrize(
    ("experiment", "rate", "milestones"),
    [
        ("deeppose_res50_256x192", 5e-4, [170, 200]),
        ("rle_res152_384x288", 1e-3, [170, 200]),
        ("simcc_res50_256x192", 1e-3, [170, 200]),
        ("simcc_res50_384x288", 1e-3, [90, 120]),
        ("integral_res50_256x256", 5e-4, [170, 200]),
    ],
)
def test_the_recipe_of_the_networks_without_gaussians_is_mmposes(experiment, rate, milestones):
    cfg = composed(f"experiment={experiment}")
    assert cfg.data.batch_size * cfg.trainer.accumulate_grad_batches == 512
    assert (cfg.optim._target_, cfg.optim.lr, cfg.schedule.warmup_steps) == ("torch.optim.Adam", rate, 500)
    assert (list(cfg.schedule.milestones), cfg.schedule_interval) == (milestones, "step")
    assert (cfg.augment.shift_scale_rotate.rotation, cfg.data.bbox_rules, cfg.data.channel_order) == (
        80,
        "mmpose",
        "rgb",
    )
    assert cfg.name == experiment


def test_all_experiments_of_the_paper_are_there():
    assert {*PAPER, *RESNETS, *MPII_NETWORKS, *HOURGLASSES, *VARIANTS, "tiny"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("experiment", VARIANTS)
def test_a_variant_differs_from_its_origin_by_what_its_name_says(experiment):
    words = [*VARIANTS[experiment].split(), f"name={experiment}"]
    assert as_written("fit", [f"experiment={experiment}"]) == as_written("fit", words)


@pytest.mark.parametrize("experiment", [*PAPER, "res50_256x192", "hourglass_8_256x192", "w32_256x192_udp", "tiny"])
def test_the_official_recipe_is_the_experiment_itself(experiment):
    assert as_written("fit", [f"experiment={experiment}", "recipe=official"]) == as_written(
        "fit", [f"experiment={experiment}"]
    )


@pytest.mark.parametrize(
    "experiment",
    [
        *(*PAPER, "res50_256x192", "res152_384x288", "hourglass_8_256x192", "w32_256x192_dark", "w48_384x288_dark"),
        *("w32_256x192_udp", "w32_256x192_udp_offset", "w32_256x192_branch_2x", "w32_256x192_pixels"),
    ],
)
def test_the_recipe_of_mmpose_on_any_network_and_codec(experiment, coco):
    plain = composed(f"experiment={experiment}")
    cfg = compose("fit", [f"experiment={experiment}", "recipe=mmpose", f"paths.data={coco}"])
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
    if "udp_offset" not in experiment:
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


def test_plain_fit_is_the_tiny_experiment():
    assert as_written("fit") == as_written("fit", ["+experiment=tiny"])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_fit_and_test_measure_the_same_way(experiment):
    fit, test = composed(f"experiment={experiment}"), compose("test", [f"experiment={experiment}"])
    for key in ("data", "codec", "model", "skeleton", "metric", "flip_test", "keypoint_score_threshold", "name"):
        assert fit[key] == test[key], key


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_validates(option, coco):
    group, _, name = option.partition("=")
    words = [f"logger=[{name}]" if group == "logger" else option]
    validate(compose("fit", [*words, *places(words, coco)]))


@pytest.mark.parametrize(
    "option",
    [
        "draw=default",
        "draw=none",
        "smoothing=one_euro",
        "smoothing=none",
        "tracking=oks",
        "codec=udp_256x192",
        "detector=rtdetr",
    ],
)
def test_every_option_of_a_prediction_validates(option, tmp_path):
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "net.pth").touch()
    validate(compose("predict", [f"source={tmp_path}/photo.jpg", f"weights={tmp_path}/net.pth", option]))


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "model").glob("*.yaml")))
def test_a_network_speaks_what_its_codec_reads_and_says_its_size(name):
    parameters, work, unit, rows, columns = SIZE.search((CONF / "model" / f"{name}.yaml").read_text()).groups()
    cfg = compose("fit", ["experiment=w32_256x192", f"model={name}"])
    codec = build(cfg.codec)
    width, height = codec.input_size
    assert (height, width) == (int(rows), int(columns))
    with torch.device("meta"):
        net = build(cfg.model, num_keypoints=17).eval()
        outputs = net(torch.empty(1, 3, height, width))
    assert codec.decode(outputs)[0].shape == (1, 17, 2)
    if outputs.ndim == 4:
        assert tuple(outputs.shape[2:]) == (height // 4, width // 4)
    assert f"{count_parameters(net) / 1e6:.{_decimals(parameters)}f}" == parameters
    macs = count_macs(net, codec.input_size) / {"G": 1e9, "M": 1e6}[unit]
    assert f"{macs:.{_decimals(work)}f}" == work


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "codec").glob("*.yaml")))
def test_a_codec_is_named_by_the_height_and_width_of_its_crops(name):
    cfg = compose("fit", [f"codec={name}"]).codec
    codec = build(cfg)
    width, height = codec.input_size
    assert name.endswith(f"_{height}x{width}")
    assert getattr(codec, "heatmap_size", (width // 4, height // 4)) == (width // 4, height // 4)
    assert set(cfg) - {"_target_"} == {field.name for field in dataclasses.fields(codec)}


@pytest.mark.parametrize(
    "option", sorted(file.stem for file in (CONF / "skeleton").glob("*.yaml") if file.stem != "auto")
)
def test_a_skeleton_is_one_of_the_known(option):
    skeleton = build(compose("fit", [f"skeleton={option}"]).skeleton)
    assert skeleton is KNOWN_SKELETONS[{"ochuman": "coco", "humanart": "coco"}.get(option, option)]


def test_every_known_skeleton_has_a_file():
    assert {file.stem for file in (CONF / "skeleton").glob("*.yaml")} >= set(KNOWN_SKELETONS)


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


@pytest.mark.parametrize("subject", ["codecs", "data", "inference", "metric"])
def test_every_measurement_validates(subject, coco):
    validate(compose("bench", [f"bench={subject}"]))
    assert compose("bench").bench == compose("bench", ["bench=data"]).bench
    if subject == "data":
        cfg = compose("bench", ["data=coco", f"paths.data={coco}", "codec=heatmap_384x288"])
        validate(cfg)
        assert list(cfg.bench.input_size) == [288, 384]


@pytest.mark.parametrize("verb", ["predict", "export"])
def test_a_codec_that_brings_its_loss_can_be_given_where_nothing_is_trained(verb):
    cfg = compose(verb, ["codec=regression_256x192"])
    assert (cfg.codec._target_, cfg.loss._target_) == ("hrpose.codecs.RegressionCodec", "hrpose.losses.CoordinateLoss")
    assert "beta" not in compose(verb).get("loss", {})


def test_several_loggers_are_possible():
    assert list(compose("fit", ["logger=[csv,wandb,tensorboard]"]).logger) == ["csv", "wandb", "tensorboard"]
    assert list(compose("fit", ["logger=tensorboard"]).logger) == ["tensorboard"]


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["trainer.precision=bf16-mixed"], "trainer.precision", "bf16-mixed"),
        (["trainer.accumulate_grad_batches=4"], "trainer.accumulate_grad_batches", 4),
        (["trainer.gradient_clip_val=1.0"], "trainer.gradient_clip_val", 1.0),
        (["callbacks/ema=default"], "callbacks.ema.decay", 0.999),
        (["callbacks/early_stopping=default"], "callbacks.early_stopping.monitor", "val/AP"),
        (["callbacks.pictures=null"], "callbacks.pictures", None),
        (["channels_last=false"], "channels_last", False),
        (["compile=true"], "compile", True),
        (["augment.half_body=null"], "augment.half_body", None),
        (["pixels=color_dropout"], "pixels.dropout.p", 0.5),
        (["schedule=none"], "schedule", None),
    ],
)
def test_one_word_of_the_command_line_is_enough(words, key, value):
    cfg = compose("fit", words)
    validate(cfg)
    assert OmegaConf.select(cfg, key) == value


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONF).as_posix())
def test_a_file_opens_with_what_it_is_for(file):
    lines = file.read_text().splitlines()
    first = lines[1] if lines[0] == "# @package _global_" else lines[0]
    assert first.startswith("# ")
    assert first.rstrip().endswith((".", ")"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_opens_with_command_hardware_and_ap(experiment):
    header = (CONF / "experiment" / f"{experiment}.yaml").read_text().partition("defaults:")[0]
    for word in ("command    hrpose fit", "hardware", "expected", "obtained"):
        assert f"#   {word}" in header


@pytest.mark.parametrize("file", CONF.glob("*.yaml"), ids=lambda file: file.name)
def test_a_verb_overrides_no_group(file):
    assert "override" not in file.read_text()  # it would beat the experiment in silence
