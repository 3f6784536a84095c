import re
import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf, open_dict

from hrpose.config import ConfigError, check, compose, conf_dir, validate
from hrpose.config.build import find_signature
from hrpose.config.overrides import normalise_overrides
from hrpose.tasks.dry_run import check_parts


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
    ("override", "key", "named"),
    [
        ("+optim.lrr=1", "optim.lrr", "Did you mean lr?"),
        ("+trainer.max_epoch=3", "trainer.max_epoch", "Did you mean max_epochs?"),
        ("+model.depth=3", "model.depth", "Did you mean width?"),
        ("+codec.z=3", "codec.z", "input_size, heatmap_size, sigma, rules"),
        ("+metric.max_detection=3", "metric.max_detection", "Did you mean max_detections?"),
        ("+metric.zzz=3", "metric.zzz", "KeypointAveragePrecision has no such argument"),
        ("+loss.weight=3", "loss.weight", "rules"),
        ("+augment.flip.probabilty=1", "augment.flip.probabilty", "Did you mean probability?"),
        ("+model.num_keypoints=3", "model.num_keypoints", "skeleton"),
        ("+trainer.logger=true", "trainer.logger", "the group logger"),
        ("~codec.heatmap_size", "codec.heatmap_size", "+codec.heatmap_size=..."),
        ("model._target_=hrpose.models.HRNett", "model._target_", "Did you mean hrpose.models.HRNet?"),
        ("prepare._target_=hrpose.data.synthetic.write_dataset", "prepare._target_", "hrpose.synthetic.write_dataset"),
        ("data.area_from_bbox=true", "data.area_from_bbox", "expected float, but got True (bool). It is a share"),
        ("loss._target_=3", "loss._target_", "3 (int)"),
        ("loss._target_=torhc.nn.MSELoss", "loss._target_", "'torhc'"),
        ("~loss._target_", "loss", "{'rules': 'official'} (dict)"),
        ("optim.lr=fast", "optim.lr", "expected float | torch.Tensor, but got 'fast' (str)"),
        ("model.width=32.5", "model.width", "expected int, but got 32.5 (float)"),
        ("model.width=true", "model.width", "expected int, but got True (bool)"),
        ("codec.input_size=[96]", "codec.input_size", "expected tuple[int, int], but got [96] (list)"),
        ("codec.input_size=[256,192]", "codec.input_size", "write codec.input_size=[192,256]"),
        ("data.val_boxes=gt", "data.val_boxes", "data.val_boxes=[gt]"),
        ("trainer.precision=bf16-mixd", "trainer.precision", "one of 64, 32, 16, "),
        ("seed=x", "seed", "expected int, but got 'x' (str)"),
        ("flip_test=yes", "flip_test", "expected bool, but got 'yes' (str)"),
        ("schedule_interval=epochs", "schedule_interval", "one of epoch, step, but got 'epochs' (str)"),
        ("+callbacks.mine=3", "callbacks.mine", "3 (int)"),
        ("+optm.lr=1", "optm", "Did you mean optim?"),
        ("name=${nmae}", "name", "Did you mean name?"),
        ("name=${oc.env:HRPOSE_NO_SUCH}", "name", "Environment variable 'HRPOSE_NO_SUCH' not found"),
        ("name=${noresolver:1}", "name", "noresolver"),
        ("optim.lr=???", "optim.lr", "optim.lr=..."),
        ("weights=nowhere.pth", "weights", "nowhere.pth"),
        ("ckpt_path=nowhere/best.ckpt", "ckpt_path", "folder nowhere does not exist"),
        ("~model", "model", "model=<option>"),
    ],
)
def test_a_fault_has_its_full_key(override, key, named):
    found = faults(override)
    assert [text for text in found if text.startswith(f"{key}: ") and named in text], found
    assert len(found) == 1, found  # and nothing that only follows from it


def test_a_misspelt_required_argument_is_reported_once():
    cfg = compose("fit", ["codec=heatmap", "size=256x192"])
    with open_dict(cfg):
        cfg.codec.heatmap_sise = cfg.codec.pop("heatmap_size")
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    (fault,) = caught.value.faults
    assert fault.startswith("codec.heatmap_sise: ")
    assert fault.endswith("Did you mean heatmap_size?")


def test_a_misspelt_argument_is_found_for_targets_with_kwargs():
    (fault,) = faults("callbacks/ema=default", "+callbacks.ema.decey=0.9")
    assert fault.endswith("MovingAverage has no such argument. Did you mean decay?")
    validate(compose("fit", ["logger=wandb", "+logger.wandb.tags=[a]"]))


def test_the_classes_of_hrpose_refuse_unknown_arguments():
    """Misspelt keys would pass. `compose_pixels` takes its transforms by any names."""
    found = {
        target
        for file in conf_dir().rglob("*.yaml")
        for target in re.findall(r"_target_: (hrpose[\w.]+)", file.read_text())
        if find_signature(target).open_ended
    }
    assert found == {"hrpose.data.pixels.compose_pixels"}


def test_nested_nodes_are_checked():
    (fault,) = faults("pixels=color_dropout", "+pixels.color.brigthness=1")
    assert fault.endswith("albumentations.ColorJitter has no such argument. Did you mean brightness?")


def test_a_key_that_interpolations_use_is_allowed():
    validate(compose("fit", ["+my_rate=0.1", "optim.lr=${my_rate}"]))


def test_all_faults_are_reported_at_once():
    found = faults("+optim.lrr=1", "seed=x", "weights=nowhere.pth", "model._target_=hrpose.Net", "name=???", "+callbacks.mine=3")
    keys = {fault.split(":")[0] for fault in found}
    assert keys == {"name", "seed", "callbacks.mine", "model._target_", "optim.lrr", "weights"}


def test_a_missing_value_with_references_is_reported_once():
    (fault,) = faults("paths.data=???")
    assert fault.startswith("paths.data: ")


def test_a_configuration_that_was_not_composed_is_checked_too():
    with pytest.raises(ConfigError, match=r"model\.widht: hrpose\.models\.HRNet has no such argument"):
        validate(OmegaConf.create({"model": {"_target_": "hrpose.models.HRNet", "widht": 3}}))


def test_a_missing_library_is_reported_once(monkeypatch):
    monkeypatch.setattr("hrpose.config.settings._is_installed", lambda package: package != "wandb")
    with pytest.raises(ConfigError) as caught:
        validate(compose("fit", ["logger=wandb"]))
    (fault,) = caught.value.faults
    assert fault.startswith("logger.wandb: ")
    assert "pip install 'wandb'" in fault


def test_wrong_overrides_and_other_faults_are_reported_together_without_imports():
    program = (
        "import sys\n"
        "from hrpose.config import ConfigError, check\n"
        "try: check('fit', ['optm.lr=1', '+optim.lrr=1', 'weights=nowhere.pth'])\n"
        "except ConfigError as error: print([fault.split(':')[0] for fault in error.faults])\n"
        "print([name for name in ('torch', 'lightning', 'albumentations', 'cv2') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['optm.lr', 'weights']", "[]"]


def test_a_configuration_that_cannot_be_composed_is_refused():
    with pytest.raises(ConfigError, match="there is no verb 'fti'"):
        check("fti", [])


@pytest.mark.parametrize(
    ("verb", "override"),
    [
        ("predict", "chunk_size=0"),
        ("predict", "devices=0"),
        ("predict", "bit_depth=7"),
        ("predict", "oks_nms_threshold=2"),
        ("predict", "device=0"),
        ("predict", "backend=tensorrt"),
        ("export", "num_crops=0"),
        ("export", "format=engine"),
        ("export", "max_ap_loss=-1"),
        ("evaluate", "max_detections=0"),
        ("evaluate", "sigmas=nothing"),
        ("compare", "num_samples=-1"),
    ],
)
def test_settings_of_other_verbs_are_checked(verb, override):
    with pytest.raises(ConfigError) as caught:
        check(verb, [override])
    key = override.partition("=")[0]
    assert [fault for fault in caught.value.faults if fault.startswith(f"{key}: ")]


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    """The example of docs/own_parts.md, importable."""
    page = (conf_dir().parent / "docs" / "own_parts.md").read_text()
    (tmp_path / "my_package.py").write_text(page.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    return page


def test_a_custom_network_is_valid(own_network, tmp_path):
    command = re.findall(r"hrpose fit '(model=.*)'", own_network)
    check("fit", command)
    check_parts(compose("fit", command))
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "mine.yaml").write_text("_target_: my_package.MyNet\n")
    check("fit", [f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]", "model=mine"])


def test_a_custom_loss_is_valid(own_network):
    command = re.findall(r"hrpose fit '(loss=.*)'", own_network)
    check("fit", command)
    check_parts(compose("fit", command))


@pytest.mark.parametrize("verb", ["fit", "test", "predict", "export"])
def test_a_custom_class_replaces_the_option_of_its_group(own_network, verb):
    assert compose(verb, ["model={_target_: my_package.MyNet, width: 3}"]).model == {"_target_": "my_package.MyNet", "width": 3}
    texts = normalise_overrides(["~model", "model={_target_:my_package.MyNet}", "seed=1"])
    assert texts == ["~model", "+model={_target_:my_package.MyNet}", "seed=1"]
