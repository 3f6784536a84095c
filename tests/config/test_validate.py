import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf, open_dict

from hrpose.config import ConfigError, check, compose, validate


def faults(*overrides: str) -> list[str]:
    """Validate a configuration with some values changed; without Hydra's grammar, which would take longer."""
    groups = [text for text in overrides if text.startswith(("callbacks/", "pixels="))]
    cfg = compose("fit", ["experiment=w32_256x192", "data=synthetic", *groups])
    for key, _, text in (text.partition("=") for text in overrides if text not in groups):
        with open_dict(cfg):
            if key.startswith("~"):
                owner, _, last = key[1:].rpartition(".")
                OmegaConf.select(cfg, owner).pop(last)
            else:
                OmegaConf.update(cfg, key.lstrip("+"), yaml.safe_load(text) if text != "yes" else text, force_add=True)
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    return list(caught.value.faults)


def test_the_default_is_valid():
    validate(compose("fit"))


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("+optim.lrr=1", "optim.lrr: torch.optim.Adam has no such argument. Did you mean lr?"),
        (
            "+trainer.max_epoch=3",
            "trainer.max_epoch: lightning.pytorch.Trainer has no such argument. Did you mean max_epochs?",
        ),
        ("+model.depth=3", "model.depth: hrpose.models.HRNet has no such argument. Did you mean width?"),
        (
            "+codec.z=3",
            "codec.z: hrpose.codecs.HeatmapCodec has no such argument. It has input_size, heatmap_size, sigma, rules.",
        ),
        ("+loss.weight=3", "loss.weight: hrpose.losses.HeatmapMSELoss has no such argument. It has rules."),
        (
            "+augment.flip.probabilty=1",
            "augment.flip.probabilty: hrpose.data.transforms.RandomFlip has no such argument. Did you mean",
        ),
        ("+model.num_keypoints=3", "model.num_keypoints: it cannot be set here: it follows from the skeleton."),
        ("+trainer.logger=true", "trainer.logger: it cannot be set here: it is the group logger."),
        (
            "~codec.heatmap_size",
            "codec.heatmap_size: hrpose.codecs.HeatmapCodec needs it. Give it: +codec.heatmap_size=...",
        ),
        (
            "model._target_=hrpose.models.HRNett",
            "model._target_: there is no 'hrpose.models.HRNett'. Did you mean hrpose.models.HRNet?",
        ),
        (
            "data.area_from_bbox=true",
            "data.area_from_bbox: expected float, but got True (bool). It is a share: 1.0 takes the whole area of the box",
        ),
        ("loss._target_=3", "loss._target_: expected the dotted name of a class or function, but got 3 (int)."),
        ("loss._target_=torhc.nn.MSELoss", "loss._target_: no package is named 'torhc'; is it installed?"),
        ("~loss._target_", "loss: expected a node with a _target_, but got {'rules': 'official'} (dict)."),
        ("optim.lr=fast", "optim.lr: expected float | Tensor, but got 'fast' (str)."),
        ("model.width=32.5", "model.width: expected int, but got 32.5 (float)."),
        ("model.width=true", "model.width: expected int, but got True (bool)."),
        ("codec.input_size=[96]", "codec.input_size: expected tuple[int, int], but got [96] (list)."),
        ("data.val_boxes=gt", "data.val_boxes: expected Sequence[Literal['gt', 'det']], but got 'gt' (str)."),
        ("trainer.precision=bf16-mixd", "trainer.precision: expected one of 64, 32, 16, "),
        ("seed=x", "seed: expected int, but got 'x' (str)."),
        ("flip_test=yes", "flip_test: expected bool, but got 'yes' (str)."),
        (
            "data.val_boxes=det",
            "data.val_boxes: expected Sequence[Literal['gt', 'det']], but got 'det' (str). One alone is a list",
        ),
        ("schedule_interval=epochs", "schedule_interval: expected one of epoch, step, but got 'epochs' (str)."),
        (
            "+callbacks.mine=3",
            "callbacks.mine: expected a node with a _target_, or null to switch it off, but got 3 (int).",
        ),
        ("+optm.lr=1", "optm: nothing reads it. Did you mean optim?"),
        ("name=${nmae}", "name: ${nmae} leads nowhere. There is no key nmae. Did you mean name?"),
        (
            "name=${oc.env:HRPOSE_NO_SUCH}",
            "name: ${oc.env:HRPOSE_NO_SUCH} leads nowhere. Environment variable 'HRPOSE_NO_SUCH' not found.",
        ),
        ("name=${noresolver:1}", "name: ${noresolver:1} leads nowhere. "),
        ("optim.lr=???", "optim.lr: it has no value yet (???). Give one: optim.lr=..."),
        ("weights=nowhere.pth", "weights: there is no file nowhere.pth."),
        (
            "ckpt_path=nowhere/best.ckpt",
            "ckpt_path: there is no file nowhere/best.ckpt. There is no folder nowhere either.",
        ),
    ],
)
def test_a_fault_is_named_with_its_full_key(override, fault):
    found = faults(override)
    assert [text for text in found if text.startswith(fault)], found
    assert len(found) == 1, found  # and nothing that only follows from it


def test_a_misspelt_required_argument_is_named_once():
    cfg = compose("fit", ["codec=heatmap", "size=256x192"])
    with open_dict(cfg):
        cfg.codec.heatmap_sise = cfg.codec.pop("heatmap_size")
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    (fault,) = caught.value.faults
    assert fault == "codec.heatmap_sise: hrpose.codecs.HeatmapCodec has no such argument. Did you mean heatmap_size?"


def test_a_near_miss_is_found_where_any_argument_is_taken():
    (fault,) = faults("callbacks/ema=default", "+callbacks.ema.decey=0.9")
    assert fault.endswith("EMAWeightAveraging has no such argument. Did you mean decay?")
    validate(compose("fit", ["logger=wandb", "+logger.wandb.tags=[a]"]))


def test_nodes_inside_nodes_are_checked():
    (fault,) = faults("pixels=color_dropout", "+pixels.color.brigthness=1")
    assert fault.endswith("albumentations.ColorJitter has no such argument. Did you mean brightness?")


def test_a_key_that_others_refer_to_is_allowed():
    validate(compose("fit", ["+my_rate=0.1", "optim.lr=${my_rate}"]))


def test_all_faults_are_named_at_once():
    found = faults(
        "+optim.lrr=1", "seed=x", "weights=nowhere.pth", "model._target_=hrpose.Net", "name=???", "+callbacks.mine=3"
    )
    keys = {fault.split(":")[0] for fault in found}
    assert keys == {"name", "seed", "callbacks.mine", "model._target_", "optim.lrr", "weights"}


def test_a_missing_value_is_named_once_however_many_refer_to_it():
    assert faults("paths.data=???") == ["paths.data: it has no value yet (???). Give one: paths.data=..."]


def test_a_configuration_from_elsewhere_is_checked_too():
    with pytest.raises(ConfigError, match=r"model\.widht: hrpose\.models\.HRNet has no such argument"):
        validate(OmegaConf.create({"model": {"_target_": "hrpose.models.HRNet", "widht": 3}}))


def test_validating_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from hrpose.config import ConfigError, compose, validate\n"
        "validate(compose('fit', ['pixels=color_dropout', 'logger=[csv,wandb,tensorboard]', 'callbacks/ema=default']))\n"
        "words = ['+experiment=w48_384x288', '+optim.lrr=1', 'paths.data=nowhere', '+trainer.max_epoch=1']\n"
        "try: validate(compose('fit', words))\n"
        "except ConfigError as error: assert len(error.faults) == 3, error\n"
        "print([name for name in ('torch', 'lightning', 'albumentations', 'cv2', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_wrong_words_and_other_faults_are_named_together():
    with pytest.raises(ConfigError) as caught:
        check("fit", ["optm.lr=1", "+optim.lrr=1", "weights=nowhere.pth"])
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["optm.lr", "optim.lrr", "weights"]
    check("fit", ["+experiment=tiny"])


def test_a_configuration_that_cannot_be_composed_at_all_is_refused():
    with pytest.raises(ConfigError, match="there is no verb 'fti'"):
        check("fti", [])
