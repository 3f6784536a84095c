import copy
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from hrpose import files
from hrpose.config import ConfigError, compose, conf_dir, describe_choices, expand_jobs
from hrpose.config.loading import config_loader, load

ROOT = Path(__file__).parents[2]


def faults(*overrides: str, verb: str = "fit") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(verb, overrides)
    return list(caught.value.faults)


def test_conf_dir_is_the_checkouts():
    assert conf_dir() == ROOT / "conf"


def test_the_folder_of_the_package_has_precedence(tmp_path, monkeypatch):
    (tmp_path / "hrpose" / "conf").mkdir(parents=True)
    (tmp_path / "hrpose" / "conf" / "fit.yaml").touch()
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "hrpose")
    assert conf_dir() == tmp_path / "hrpose" / "conf"


def test_an_installation_without_conf_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "src" / "hrpose")
    with pytest.raises(FileNotFoundError, match="installation is incomplete"):
        conf_dir()


@pytest.mark.parametrize("spelling", ["experiment=w32_384x288", "+experiment=w32_384x288", "++experiment=w32_384x288"])
def test_an_experiment_with_and_without_plus_is_the_same(spelling):
    assert compose("fit", [spelling]).name == "w32_384x288"


def test_overrides_have_precedence_over_the_experiment():
    cfg = compose("fit", ["optim.lr=0.5", "model=hrnet_w18", "experiment=w48_384x288", "data.batch_size=7"])
    assert (cfg.optim.lr, cfg.model.width, cfg.data.batch_size, cfg.codec.sigma) == (0.5, 18, 7, 3.0)


def test_the_state_of_hydra_is_cleared():
    compose("fit", ["seed=123"])
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()
    assert "hydra" not in compose("fit")


def test_the_hydra_of_the_caller_is_restored(tmp_path):
    (tmp_path / "mine.yaml").write_text("answer: 42\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose("fit", ["seed=5"]).seed == 5
        assert hydra.compose("mine").answer == 42


def test_each_call_returns_a_new_configuration():
    first = compose("fit")
    first.seed = 99
    assert compose("fit").seed == 0


def test_a_changed_file_is_read_again(tmp_path, monkeypatch):
    folder = tmp_path / "hrpose" / "conf"
    folder.mkdir(parents=True)
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "hrpose")
    (folder / "fit.yaml").write_text("seed: 1\n")
    assert compose("fit").seed == 1
    (folder / "fit.yaml").write_text("seed: 2\n")
    assert compose("fit").seed == 2


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim.lr=1", "+trainer.limit_train_batches=3", "name='a b'"],
        ["experiment=w32_256x192", "paths.data=/x", "~callbacks.best", "size=384x288", "++optim.new={a: 1}"],
        ["callbacks/ema=default", "callbacks.ema.decay=0.5", "logger=[csv,wandb]", "logger.wandb.offline=true"],
        ["hydra.run.dir=x", "~schedule"],
    ],
)
def test_values_set_in_a_copy_equal_the_composition_of_hydra(overrides):
    def as_written(cfg):
        return {**OmegaConf.to_container(cfg, resolve=False), "hydra": cfg.hydra.runtime.choices}

    with config_loader() as loader:
        expected = loader.load_configuration("fit", overrides, RunMode.RUN, from_shell=False)
        for _ in range(2):  # read, and kept
            found = load(loader, "fit", overrides)
            assert as_written(found) == as_written(expected)
            assert OmegaConf.is_struct(found)


def test_the_run_folder_is_constant_within_a_configuration():
    cfg = compose("fit")
    assert cfg.paths.run == copy.deepcopy(cfg).paths.run
    assert cfg.callbacks.best.dirpath == f"{cfg.paths.run}/checkpoints"
    assert cfg.paths.run.startswith("runs/tiny/")


def test_hydra_variables_are_not_needed_to_resolve():
    OmegaConf.resolve(compose("fit"))
    OmegaConf.resolve(compose("test"))


def test_composing_imports_nothing_heavy():
    program = (
        "import sys, hrpose\n"
        "hrpose.compose('fit', ['+experiment=tiny'])\n"
        "print([name for name in ('torch', 'lightning', 'albumentations', 'cv2', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# A wrong override, the key that is blamed, and what its message proposes.
EXPLAINED = [
    ("optim.lrr=1", "optim.lrr", "Did you mean optim.lr?"),
    ("optm.lr=1", "optm.lr", "Did you mean optim.lr?"),
    ("trainer.max_epoch=3", "trainer.max_epoch", "Did you mean trainer.max_epochs?"),
    ("callbacks.best.mod=max", "callbacks.best.mod", "Did you mean callbacks.best.mode?"),
    ("modle=hrnet_w32", "modle", "Did you mean model?"),
    ("zzz=1", "zzz", "the groups augment, codec, "),
    ("codec.input_size.5=1", "codec.input_size.5", "codec.input_size=[...]"),
    ("seed.x=1", "seed.x", "seed is 0"),
    ("callbacks.ema.decay=0.9", "callbacks.ema.decay", "callbacks/ema=default"),
    ("+optim.lr=1", "optim.lr", "optim.lr=1 without '+'"),
    ("~optim.beta", "optim.beta", ""),
    ("+model=hrnet_w32", "model", "model=hrnet_w32 without '+'"),
    ("model@other=hrnet_w18", "model", "Write model=hrnet_w18."),
    ("hydra.run.dirr=x", "hydra.run.dirr", "Did you mean hydra.run.dir?"),
    ("name=(", "'name=('", """'name="("'"""),
    ("optim.lr=1,2", "optim.lr", "Add -m "),
    ("model=hrnet_w31", "model", "Did you mean hrnet_w32"),
    ("experiment=w32_256x129", "experiment", "Did you mean w32_256x192?"),
    ("logger=[csv,wandbb]", "logger", "Did you mean wandb?"),
    ("callbacks/ema=on", "callbacks/ema", "Options: default."),
    ("tiny", "'tiny'", "Did you mean experiment=tiny, or augment=tiny?"),
]


@pytest.fixture(scope="module")
def explained() -> list[str]:
    """Return the faults of all wrong overrides in one composition."""
    return faults(*(override for override, _, _ in EXPLAINED))


@pytest.mark.parametrize(("override", "key", "meant"), EXPLAINED)
def test_a_wrong_override_is_explained(explained, override, key, meant):
    assert [text for text in explained if text.startswith((f"{key}: ", f"{key} ")) and meant in text], explained


def test_each_wrong_override_is_one_fault(explained):
    assert len(explained) == len(EXPLAINED)


def test_all_options_are_listed_where_one_is_wrong(explained):
    assert all(re.search(r" Options: |lists all", text) for text in explained if "there is no option" in text)


def test_a_long_list_of_options_is_shown_only_without_suggestion(explained):
    (close,) = [text for text in explained if text.startswith("experiment: ")]
    assert re.search(r"`hrpose fit --help` lists all \d+", close)
    (far,) = faults("experiment=quux")
    assert "Options: aic_w32_256x192, " in far


def test_keys_of_the_chosen_options_are_known():
    assert compose("fit", ["optim=sgd", "optim.momentum=0.8"]).optim.momentum == 0.8
    (fault,) = faults("optim=sgd", "optim.momentun=0.8")
    assert "Did you mean optim.momentum?" in fault


def test_an_unknown_verb_is_explained():
    assert faults(verb="fti") == ["there is no verb 'fti'. Did you mean fit? There are " + ", ".join(VERBS) + "."]


VERBS = sorted(file.stem for file in (ROOT / "conf").glob("*.yaml"))


def test_a_fault_in_a_custom_file_is_reported(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /modle: hrnet_w32\n")
    (found,) = faults(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert "modle" in found


def test_a_custom_experiment_is_found(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - w32_256x192\n  - override /model: hrnet_w18\n  - _self_\nname: mine\n"
    )
    cfg = compose("fit", [f"hydra.searchpath=[file://{tmp_path}]", "+experiment=mine"])
    assert (cfg.name, cfg.model.width, cfg.data.batch_size) == ("mine", 18, 32)


@pytest.mark.parametrize(
    ("overrides", "selected", "alone"),
    [
        (["experiment=w32_256x192", "model=hrnet_tiny"], "codec=dark size=160x96", "codec=heatmap size=256x192"),
        (["experiment=w32_256x192", "model=hrnet_tiny", "codec=udp"], "size=160x96", "size=256x192"),
        (["experiment=w32_384x288", "model=rle_w32"], "codec=regression", "codec=heatmap"),
        (["model=hrnet_w32", "model.width=16"], "codec=heatmap size=256x192", "codec=dark size=160x96"),
    ],
)
def test_a_network_that_selects_another_codec_or_size_gives_a_line(overrides, selected, alone):
    (line,) = describe_choices("fit", overrides)
    assert f"selects {selected};" in line
    assert f"alone has {alone}." in line


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=w32_256x192"],
        ["experiment=w32_256x192", "model=hrnet_w48"],
        ["experiment=w32_256x192", "model=hrnet_tiny", "codec=dark", "size=160x96"],
        ["experiment=w32_256x192", "model=rle_w32", "loss.residual=false"],
    ],
)
def test_a_codec_that_is_unchanged_or_chosen_gives_no_line(overrides):
    assert describe_choices("fit", overrides) == []


def test_a_crop_that_is_wider_than_high_gives_a_line():
    (line,) = describe_choices("fit", ["codec.input_size=[256,192]"])
    assert "[256,192]" in line
    assert describe_choices("fit", ["codec.input_size=[192,256]"]) == []


SEARCH = "hydra/sweeper=optuna"
LOCAL = "hydra/launcher=submitit_local"


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["optim.lr=interval(1e-4, 1e-2)"], "optim.lr"),  # no range for the sweeper that Hydra has
        ([SEARCH, "seed=1"], "hydra.sweeper.params"),
        ([SEARCH, "seed=1,2", "hydra.sweeper.num_trials=0"], "hydra.sweeper.num_trials"),
        ([SEARCH, "seed=1,2", "hydra.sweeper.num_parallel=some"], "hydra.sweeper.num_parallel"),
        ([LOCAL, "seed=1,2", "hydra.launcher.tasks_per_node=2"], "hydra.launcher.tasks_per_node"),  # each would train all
    ],
)
def test_a_sweep_that_cannot_work_is_refused(overrides, key):
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        expand_jobs("fit", overrides)


def test_the_example_of_a_search_space_composes_and_ranges_of_the_command_replace_its_own():
    jobs = expand_jobs("fit", ["hydra/sweeper=optuna_example", "data.batch_size=choice(4, 6)"])
    configs = [compose("fit", job) for job in jobs]
    assert {cfg.data.batch_size for cfg in configs} == {4, 6}
    assert {cfg.augment.scale.factor for cfg in configs} == {0.1, 0.4}


def test_a_misspelt_key_of_a_range_is_found_in_its_jobs():
    (first, *_) = expand_jobs("fit", [SEARCH, "optim.rl=interval(1e-4, 1e-2)"])
    with pytest.raises(ConfigError, match=r"^optim\.rl: .*optim\.lr"):
        compose("fit", first)
