import pytest

from hrpose.config import ConfigError, check, compose
from hrpose.config.advice import _OTHER_TOOLS, did_you_mean
from hrpose.config.loading import Tree, config_loader


@pytest.mark.parametrize(
    ("name", "choices", "advice"),
    [
        ("lrr", ["lr", "betas"], " Did you mean lr?"),
        ("optim.lrr", ["optim.lr", "optim.eps", "optim"], " Did you mean optim.lr?"),
        ("optm.lr", ["optim.lr", "optim.eps"], " Did you mean optim.lr?"),
        ("lr", ["optim.lr", "optim.eps"], " Did you mean optim.lr?"),
        ("w32", ["tiny", "w32_256x192", "w32_384x288"], " Did you mean w32_256x192, or w32_384x288?"),
        ("hrnet_w31", ["hrnet_w32", "hrnet_w18", "hrnet_tiny"], " Did you mean hrnet_w32, or hrnet_w18?"),
        ("nothing", ["lr", "betas"], ""),
        ("lr", [], ""),
    ],
)
def test_the_closest_choices_are_proposed(name, choices, advice):
    assert did_you_mean(name, choices) == advice


def test_a_prefix_goes_before_every_choice():
    assert did_you_mean("Adm", ["Adam"], prefix="torch.optim.") == " Did you mean torch.optim.Adam?"


# What users of other tools write, and what is meant.
OTHERS = [
    ("fit", "gpus=1", "trainer.accelerator=gpu trainer.devices=1"),
    ("fit", "epochs=3", "trainer.max_epochs=3"),
    ("fit", "max_epochs=3", "trainer.max_epochs=3"),
    ("fit", "batch_size=8", "data.batch_size=8"),
    ("fit", "batch=8", "data.batch_size=8"),
    ("fit", "lr=0.1", "optim.lr=0.1"),
    ("fit", "lr0=0.1", "optim.lr=0.1"),
    ("fit", "device=0", "trainer.accelerator=gpu trainer.devices=[0]"),
    ("fit", "device=cpu", "trainer.accelerator=cpu"),
    ("fit", "workers=4", "data.num_workers=4"),
    ("fit", "resume=True", "ckpt_path=last"),
    ("fit", "resume=a/b.ckpt", "ckpt_path=a/b.ckpt"),
    ("fit", "pretrained=w.pth", "weights=w.pth"),
    ("fit", "pretrained=True", "weights=<file"),
    ("fit", "model=yolov8n.pt", "weights=yolov8n.pt"),
    ("fit", "amp=True", "trainer.precision=bf16-mixed"),
    ("fit", "patience=5", "callbacks/early_stopping=default callbacks.early_stopping.patience=5"),
    ("fit", "freeze=10", "callbacks/freeze=backbone"),
    ("fit", "config=mine/x.yaml", "experiment=x"),
    ("fit", "mine/x.yaml", "experiment=x"),
    ("fit", "data=mine.yaml", "data=coco paths.data=<folder>"),
    ("fit", "DATASET.ROOT=d", "paths.data=d"),
    ("fit", "TRAIN.LR=1", "optim.lr=1"),
    ("fit", "trainer.gpus=2", "trainer.accelerator=gpu trainer.devices=2"),
    ("test", "TEST.MODEL_FILE=w.pth", "weights=w.pth"),
    ("test", "runs/best.ckpt", "ckpt_path=runs/best.ckpt"),
    ("predict", "image.jpg", "source=image.jpg"),
    ("predict", "clip.mp4", "source=clip.mp4"),
    ("predict", "img=a.jpg", "source=a.jpg"),
    ("predict", "batch=8", "batch_size=8"),
    ("predict", "half=True", "precision=16"),
    ("export", "half=True", "precision=fp16"),
    ("export", "w.pth", "weights=w.pth"),
    ("evaluate", "gt.json", "annotations=<file> results=<file>"),
    ("evaluate", "gt=a.json", "annotations=a.json"),
]


@pytest.mark.parametrize(("verb", "override", "meant"), OTHERS)
def test_keys_of_other_tools_are_answered_with_the_override(verb, override, meant):
    with pytest.raises(ConfigError) as caught:
        compose(verb, [override])
    (fault,) = caught.value.faults
    assert f"Use {meant}" in fault


def test_several_files_are_one_source():
    with pytest.raises(ConfigError) as caught:
        compose("predict", ["a.jpg", "b.jpg"])
    (fault,) = caught.value.faults
    assert "source=<folder>" in fault


def test_a_folder_is_a_source(tmp_path):
    with pytest.raises(ConfigError, match=f"Use source={tmp_path}"):
        compose("predict", [str(tmp_path)])


def test_every_replacement_is_an_override_of_some_verb():
    values = {"<option>": "none", "<number>": "1", "<folder>": "x", "{value}": "1", "{stem}": "tiny", "cuda:{value}": "cuda:0"}
    with config_loader() as loader:
        trees = {verb: Tree(loader, verb) for verb in ("fit", "predict", "export", "evaluate")}
        verbs = {}
        for here, *_ in _OTHER_TOOLS:
            keys = [text.partition("=")[0] for text in here.split() if "=" in text]
            verbs[here] = next(verb for verb, tree in trees.items() if all(map(tree.has, keys)))
    for here, *_ in _OTHER_TOOLS:
        overrides = [text.strip(",") for text in here.split() if "=" in text]
        for placeholder, value in values.items():
            overrides = [text.replace(placeholder, value) for text in overrides]
        overrides = ["optim=sgd" if text == "optim=none" else text for text in overrides if "<" not in text]
        compose(verbs[here], overrides)  # raises if it is none


@pytest.mark.parametrize(
    ("verb", "override", "key"),
    [
        ("predict", "experiment=tiny", "experiment"),
        ("predict", "+experiment=tiny", "experiment"),
        ("evaluate", "model=x", "model"),
        ("evaluate", "+model=hrnet_w32", "model"),
        ("compare", "data=coco", "data"),
    ],
)
def test_a_group_of_another_verb_is_answered_with_the_groups_of_the_verb(verb, override, key):
    with pytest.raises(ConfigError) as caught:
        compose(verb, [override])
    (fault,) = caught.value.faults
    assert fault.startswith(f"{key}: {verb} has no such group.")
    assert "detector" in fault if verb == "predict" else "annotations" in fault


# Hydra's and OmegaConf's own words; none may reach the user.
HYDRA = ("defaults list", "config group", "Could not", "full_key", "object_type", "struct", "LexerNoViableAlt", "mismatched")


@pytest.mark.parametrize(
    "override",
    [
        *("trainer=1e-3", "experiment=", "model=null", "model=", "schedule=null", "callbacks=null", "model=true"),
        *("hydra.searchpath=*", "hydra.searchpath=[nowhere]", "hydra.searchpath=x", "hydra=foo", "hydra/launcher=foo"),
        *("~foo", "~model=hrnet_w48", "~optim.lr=3", "~optim.beta", "~", "=3", "=", "+", "", "a==b", "name=[1,2", "name={b"),
        *("name=${a", "seed=int(x)", "optim..lr=1", ".lr=1", "optim.=1", "optim/lr=1", "foo/bar=1", "optim.lr =1"),
        *("data.val_boxes.7=det", "+data.val_boxes.7=det", "seed.x=1", "model@foo=hrnet_w32", "model=[hrnet_w32,hrnet_w48]"),
        *("+optim.lr=1", "+model=hrnet_w32", "optim.lr=1,2", "model=choice(a,b)", "task=test", "hydra.job.chdir=[1]"),
    ],
)
def test_a_wrong_override_is_refused_without_messages_of_hydra(override):
    with pytest.raises(ConfigError) as caught:
        check("fit", [override, "seed=0"])
    fault = caught.value.faults[0]
    assert "\n" not in fault
    assert not [text for text in HYDRA if text in fault], fault
