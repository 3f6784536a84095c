"""Every option of every group fits, and one word of the command line is enough for anything."""

from itertools import zip_longest

import pytest
from compositions import CONF, at_home, composed, options
from omegaconf import OmegaConf
from tiny_coco import content, write_json

from hrpose.config import build, compose, validate
from hrpose.skeletons import KNOWN_SKELETONS

OTHERS = ("experiment", "hydra", "paths", "draw", "smoothing", "tracking", "detector")  # not of `fit`, or tested by themselves
GROUPS = {
    group: [f"{group}=[{name}]" if group == "logger" else f"{group}={name}" for name in options(group)]
    for group in sorted({file.parent.relative_to(CONF).as_posix() for file in CONF.rglob("*/*.yaml")})
    if group not in OTHERS
}
# Networks, codecs and recipes select options of other groups and come alone, networks in test_models; of the other groups the
# first options come together, then the second ones.
LEADING = ("model", "codec", "recipe")
ALONE = [(option,) for group in ("codec", "recipe") for option in GROUPS[group]]
TOGETHER = list(zip_longest(*(choices for group, choices in GROUPS.items() if group not in LEADING)))
READ_OPTIONS = ("category", "keypoint_fields", "visibility_map", "bbox_from_keypoints")  # `skeleton=auto` takes them of `data`


@pytest.mark.parametrize("words", [*ALONE, *TOGETHER], ids=lambda words: ",".join(filter(None, words)))
def test_every_option_validates(words, tmp_path):
    validate(at_home(composed(*filter(None, words)), tmp_path))


@pytest.mark.parametrize(
    "option",
    ["draw=default", "draw=none", "smoothing=one_euro", "smoothing=none", "tracking=oks", "codec=udp", "detector=rtdetr"],
)
def test_every_option_of_a_prediction_validates(option, tmp_path):
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "net.pth").touch()
    validate(compose("predict", [f"source={tmp_path}/photo.jpg", f"weights={tmp_path}/net.pth", option]))


@pytest.mark.parametrize("option", [option for option in options("skeleton") if option != "auto"])
def test_a_skeleton_is_one_of_the_known(option):
    skeleton = build(OmegaConf.load(CONF / "skeleton" / f"{option}.yaml"))
    assert skeleton is KNOWN_SKELETONS[{"ochuman": "coco", "humanart": "coco"}.get(option, option)]


@pytest.mark.parametrize("option", options("skeleton"))
@pytest.mark.parametrize(("pairs", "found"), [([[0, 4], [2, 1]], ((0, 4), (1, 2))), ([], ())])
def test_mirror_pairs_can_be_given_for_any_skeleton(option, pairs, found, tmp_path):
    node = OmegaConf.load(CONF / "skeleton" / f"{option}.yaml")
    if option == "auto":
        file = str(write_json(tmp_path / "persons.json", content()))
        node = OmegaConf.merge(node, {"file": file, "sigmas": None, **dict.fromkeys(READ_OPTIONS)})
    node.flip_pairs = pairs
    assert build(node).flip_pairs == found


def test_every_known_skeleton_has_a_file():
    assert {file.stem for file in (CONF / "skeleton").glob("*.yaml")} >= set(KNOWN_SKELETONS)


@pytest.mark.parametrize("verb", ["predict", "export"])
def test_a_codec_that_brings_its_loss_can_be_given_where_nothing_is_trained(verb):
    cfg = compose(verb, ["codec=regression"])
    assert (cfg.codec._target_, cfg.loss._target_) == ("hrpose.codecs.RegressionCodec", "hrpose.losses.CoordinateLoss")
    assert "beta" not in compose(verb).get("loss", {})


def test_several_loggers_are_possible():
    assert list(compose("fit", ["logger=[csv,wandb,tensorboard]"]).logger) == ["csv", "wandb", "tensorboard"]
    assert list(compose("fit", ["logger=tensorboard"]).logger) == ["tensorboard"]


def test_one_line_chooses_what_checkpoints_go_by():
    words = ["callbacks/early_stopping=default"]
    for cfg, leading, least in (
        (compose("fit", [*words, "metric=pckh"]), "val/PCKh", 0.1),
        (compose("fit", words), "val/AP", 0.001),
    ):
        assert cfg.callbacks.best.monitor == cfg.callbacks.early_stopping.monitor == leading
        assert cfg.callbacks.early_stopping.min_delta == least
    validate(compose("fit", ["callbacks.best=null"]))


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["trainer.precision=bf16-mixed"], "trainer.precision", "bf16-mixed"),
        (["trainer.accumulate_grad_batches=4"], "trainer.accumulate_grad_batches", 4),
        (["trainer.gradient_clip_val=1.0"], "trainer.gradient_clip_val", 1.0),
        (["callbacks/ema=default"], "callbacks.ema.decay", 0.999),
        (["optim.backbone_factor=0.1"], "optim.backbone_factor", 0.1),
        (["optim=sgd", "optim.backbone_factor=0.1"], "optim.backbone_factor", 0.1),
        (["callbacks/freeze=backbone"], "callbacks.freeze.epochs", None),
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
