"""Every experiment, and every row of docs/experiments.md, composes and validates; the files build, too."""

import functools
import re

import pytest
import torch
from compositions import CONF, EXPERIMENTS, as_written, at_home, composed
from omegaconf import OmegaConf

from hrpose.codecs import is_bottom_up
from hrpose.config import build, compose, validate
from hrpose.moved import GONE
from hrpose.skeletons import COCO, KNOWN_SKELETONS

PAGE = (CONF.parent / "docs" / "experiments.md").read_text()
ROWS = re.findall(r"^\| `(experiment=[^`]+)` \|", PAGE, re.MULTILINE)
PUBLISHED = {
    name: "".join(re.findall(r"#   paper +((?:AP|PCKh) .*)", (CONF / "experiment" / f"{name}.yaml").read_text()))
    for name in EXPERIMENTS
}
BOTTOM_UP_ROWS = {
    "experiment=higher_hrnet_w32_512 codec.input_size=[640,640] data.batch_size=10",
    "experiment=higher_hrnet_w32_512 model=higher_hrnet_w48 data.batch_size=10",
    "experiment=higher_hrnet_w32_512 codec.scales=[0.5,1,2]",
    "experiment=higher_hrnet_w32_512 model.num_deconvs=0 codec.strides=[4]",
}
# experiment files of version 1 and what they composed to: network, codec, input size, sigma, instances per step, rate, epochs
FORMER = {
    "deeppose_res101_256x192": ("DeepPose 101", "RegressionCodec", [192, 256], None, 512, 0.0005, 210),
    "deeppose_res152_256x192": ("DeepPose 152", "RegressionCodec", [192, 256], None, 512, 0.0005, 210),
    "halpe26_w32_256x192": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "hourglass_4_128x96": ("StackedHourglass 4", "HeatmapCodec", [96, 128], 1.0, 32, 0.00025, 140),
    "hourglass_4_128x96_dark": ("StackedHourglass 4", "DarkCodec", [96, 128], 1.0, 32, 0.00025, 140),
    "hourglass_4_256x192": ("StackedHourglass 4", "HeatmapCodec", [192, 256], 2.0, 32, 0.00025, 140),
    "hourglass_8_128x96": ("StackedHourglass 8", "HeatmapCodec", [96, 128], 2.0, 32, 0.00025, 140),
    "hourglass_8_128x96_dark": ("StackedHourglass 8", "DarkCodec", [96, 128], 2.0, 32, 0.00025, 140),
    "hourglass_8_256x256": ("StackedHourglass 8", "HeatmapCodec", [256, 256], 2.0, 32, 0.00025, 140),
    "mpii_res101_256x256": ("SimpleBaseline 101", "HeatmapCodec", [256, 256], 2.0, 128, 0.001, 140),
    "mpii_res152_256x256": ("SimpleBaseline 152", "HeatmapCodec", [256, 256], 2.0, 128, 0.001, 140),
    "mpii_w32_256x256_dark": ("HRNet 32", "DarkCodec", [256, 256], 2.0, 128, 0.001, 210),
    "mpii_w32_256x256_udp": ("HRNet 32", "UdpCodec", [256, 256], 2.0, 128, 0.001, 210),
    "mpii_w48_256x256": ("HRNet 48", "HeatmapCodec", [256, 256], 2.0, 128, 0.001, 210),
    "mpii_w48_256x256_dark": ("HRNet 48", "DarkCodec", [256, 256], 2.0, 128, 0.001, 210),
    "res101_128x96": ("SimpleBaseline 101", "HeatmapCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res101_128x96_dark": ("SimpleBaseline 101", "DarkCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res152_128x96": ("SimpleBaseline 152", "HeatmapCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res152_128x96_dark": ("SimpleBaseline 152", "DarkCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res152_256x192_udp": ("SimpleBaseline 152", "UdpCodec", [192, 256], 2.0, 128, 0.001, 140),
    "res152_384x288_udp": ("SimpleBaseline 152", "UdpCodec", [288, 384], 3.0, 128, 0.001, 140),
    "res50_128x96": ("SimpleBaseline 50", "HeatmapCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res50_128x96_dark": ("SimpleBaseline 50", "DarkCodec", [96, 128], 1.0, 128, 0.001, 140),
    "res50_256x192_udp": ("SimpleBaseline 50", "UdpCodec", [192, 256], 2.0, 128, 0.001, 140),
    "res50_384x288_udp": ("SimpleBaseline 50", "UdpCodec", [288, 384], 3.0, 128, 0.001, 140),
    "rle_res101_256x192": ("DeepPose 101", "RegressionCodec", [192, 256], None, 512, 0.001, 210),
    "rle_res152_256x192": ("DeepPose 152", "RegressionCodec", [192, 256], None, 512, 0.001, 210),
    "rle_res152_384x288": ("DeepPose 152", "RegressionCodec", [288, 384], None, 512, 0.001, 210),
    "rle_w32_256x192": ("DeepPose 32", "RegressionCodec", [192, 256], None, 512, 0.001, 210),
    "simcc_res50_384x288": ("SimCC 50", "SimccCodec", [288, 384], 6.0, 512, 0.001, 140),
    "simcc_w32_256x192": ("SimCC 32", "SimccCodec", [192, 256], 4.0, 512, 0.001, 210),
    "tiny_deeppose": ("DeepPose 16", "RegressionCodec", [96, 160], None, 32, 0.001, 14),
    "tiny_integral": ("HRNet 16", "IntegralCodec", [96, 160], None, 32, 0.001, 14),
    "tiny_rle": ("DeepPose 16", "RegressionCodec", [96, 160], None, 32, 0.0005, 14),
    "tiny_simcc": ("SimCC 16", "SimccCodec", [96, 160], 4.0, 32, 0.001, 14),
    "w32_128x96": ("HRNet 32", "HeatmapCodec", [96, 128], 1.0, 128, 0.001, 210),
    "w32_128x96_dark": ("HRNet 32", "DarkCodec", [96, 128], 1.0, 128, 0.001, 210),
    "w32_256x192_across_stages": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_branch_2x": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_branch_4x": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_dark": ("HRNet 32", "DarkCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_final_exchange": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_pixels": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_scratch": ("HRNet 32", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_udp": ("HRNet 32", "UdpCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w32_256x192_udp_offset": ("HRNet 32", "UdpOffsetCodec", [192, 256], None, 128, 0.001, 210),
    "w32_384x288_dark": ("HRNet 32", "DarkCodec", [288, 384], 3.0, 112, 0.001, 210),
    "w32_384x288_udp": ("HRNet 32", "UdpCodec", [288, 384], 3.0, 128, 0.001, 210),
    "w48_128x96": ("HRNet 48", "HeatmapCodec", [96, 128], 1.0, 128, 0.001, 210),
    "w48_128x96_dark": ("HRNet 48", "DarkCodec", [96, 128], 1.0, 128, 0.001, 210),
    "w48_256x192_branch_2x": ("HRNet 48", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w48_256x192_branch_4x": ("HRNet 48", "HeatmapCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w48_256x192_dark": ("HRNet 48", "DarkCodec", [192, 256], 2.0, 120, 0.001, 210),
    "w48_256x192_udp": ("HRNet 48", "UdpCodec", [192, 256], 2.0, 128, 0.001, 210),
    "w48_384x288_dark": ("HRNet 48", "DarkCodec", [288, 384], 3.0, 72, 0.001, 210),
    "w48_384x288_udp": ("HRNet 48", "UdpCodec", [288, 384], 3.0, 96, 0.001, 210),
}


@functools.cache
def outputs_of(model, num_channels, input_size):
    """Return the outputs of a network, on shapes alone; many experiments share one."""
    with torch.device("meta"):
        net = build(OmegaConf.create(model), num_keypoints=num_channels).eval()
        width, height = input_size
        return net(torch.empty(1, 3, height, width))


DEEPER = re.compile(r"384x288|_?res1\d\d|w48")  # they differ from others in depth, width or size


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=pytest.mark.slow if DEEPER.search(name) else ()) for name in EXPERIMENTS]
)
def test_an_experiment_composes_validates_and_builds(experiment, tmp_path):
    cfg = at_home(composed(f"experiment={experiment}"), tmp_path)
    cfg.paths.runs = str(tmp_path)
    validate(cfg)
    codec = build(cfg.codec)
    skeleton = COCO if "file" in cfg.skeleton else build(cfg.skeleton)
    channels = codec.num_channels(17)  # not those of the skeleton, so that the data sets share a network
    outputs = outputs_of(OmegaConf.to_yaml(cfg.model, resolve=True), channels, codec.input_size)
    if is_bottom_up(codec):
        assert [output.shape[1] for output in outputs] == [2 * channels, channels]
    else:
        assert outputs.shape[:2] == (1, channels)
        assert codec.decode(outputs)[0].shape == (1, 17, 2)
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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if row % 4 else ()) for row, name in enumerate(FORMER)]
)
def test_a_former_experiment_is_a_row_of_the_page(name):
    arguments = GONE[f"experiment={name}"]
    assert arguments in ROWS
    cfg = composed(*arguments.split())
    network = cfg.model.get("backbone", cfg.model)
    size = network.get("width") or network.get("depth") or network.num_stacks
    assert FORMER[name] == (
        f"{cfg.model._target_.rpartition('.')[2]} {size}",
        cfg.codec._target_.rpartition(".")[2],
        list(cfg.codec.input_size),
        cfg.codec.get("sigma"),
        cfg.data.batch_size * cfg.trainer.accumulate_grad_batches,
        cfg.optim.lr,
        cfg.trainer.max_epochs,
    )


def test_the_rows_are_the_experiments_and_the_former_ones():
    gone = {key.partition("=")[2]: new for key, new in GONE.items() if key.startswith("experiment=")}
    assert set(FORMER) == set(gone)
    assert set(ROWS) == {f"experiment={name}" for name in EXPERIMENTS} | set(gone.values()) | BOTTOM_UP_ROWS


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if PUBLISHED[name]])
def test_a_row_has_the_numbers_of_the_header(experiment):
    shares = re.findall(r"(AP|AP50|AP75|APM|APL|AR) \.(\d\d)(\d)\b", PUBLISHED[experiment])
    percents = re.findall(r"(PCKh|[A-Z][a-z]+|Mean@0\.11) (\d\d)\.(\d)\b", PUBLISHED[experiment])
    head, row = re.search(
        rf"^(\| arguments (?:(?!^\| arguments).)*?)$(?:(?!^\| arguments).)*?^(\| `experiment={experiment}` .*?)$",
        PAGE,
        re.MULTILINE | re.DOTALL,
    ).groups()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert {name: f"{whole}.{tenth}" for name, whole, tenth in shares + percents}.items() <= cells.items()


@pytest.mark.parametrize("row", sorted(BOTTOM_UP_ROWS))
def test_a_row_of_a_bottom_up_network_has_outputs_of_its_codecs_strides(row, tmp_path):
    cfg = at_home(composed(*row.split()), tmp_path)
    validate(cfg)
    codec = build(cfg.codec)
    outputs = outputs_of(OmegaConf.to_yaml(cfg.model, resolve=True), 17, codec.input_size)
    assert [tuple(output.shape[:1:-1]) for output in outputs] == list(codec.heatmap_sizes)
    build(cfg.data, codec=codec, skeleton=COCO)


def test_higher_hrnet_has_the_recipe_of_its_authors():
    cfg = composed("experiment=higher_hrnet_w32_512")
    assert (cfg.optim.lr, cfg.optim.weight_decay, cfg.trainer.max_epochs) == (1e-3, 0, 300)
    assert (list(cfg.schedule.milestones), cfg.data.batch_size * cfg.trainer.accumulate_grad_batches) == ([200, 260], 48)
    window, flip = (build(node) for node in cfg.augment.values() if node is not None)
    assert (tuple(window.scale), window.rotation, window.shift, flip.probability) == ((0.75, 1.5), 30, 0.2, 0.5)
    assert (cfg.loss.push_factor, cfg.loss.pull_factor, cfg.loss.push_type) == (1e-3, 1e-3, "exp")
    assert (cfg.metric.oks_nms_threshold, list(cfg.data.val_boxes)) == (None, ["none"])
    crowdpose = composed("experiment=crowdpose_higher_hrnet_w48_640")
    assert (build(crowdpose.skeleton), crowdpose.data.area_from_bbox) == (KNOWN_SKELETONS["crowdpose"], 0.53)
    assert (crowdpose.model.width, list(crowdpose.codec.input_size)) == (48, [640, 640])


def test_plain_fit_is_the_tiny_experiment():
    assert as_written() == as_written("+experiment=tiny")


def test_test_is_fit_but_for_its_task_its_folder_and_its_pictures():
    verb = OmegaConf.to_container(OmegaConf.load(CONF / "test.yaml"), resolve=False)
    own = {"task": "test", "paths": {"run": verb["paths"]["run"]}, "report_images": False}
    assert verb == {"defaults": ["fit", "_self_"], **own}


@pytest.mark.parametrize(
    "experiment",
    ["tiny", "w32_256x192", "simcc_res50_256x192", "mpii_w32_256x256", "wholebody_w32_256x192", "higher_hrnet_w32_512"],
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
