import pytest

from hrpose.config import ConfigError, compose
from hrpose.config.overrides import expand_sweep, normalise_override


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("+experiment=tiny", "experiment=tiny"),
        ("++experiment=tiny", "experiment=tiny"),
        ("experiment=tiny", "experiment=tiny"),
        ("+experiments=tiny", "+experiments=tiny"),
        ("+optim.lr=1", "+optim.lr=1"),
        ("~callbacks.best", "~callbacks.best"),
    ],
)
def test_only_the_experiment_loses_its_plus(given, meant):
    assert normalise_override(given) == meant


def test_a_sweep_is_every_combination():
    assert expand_sweep(["model=a,b", "seed=0", "optim.lr=1e-3,5e-4"]) == [
        ("model=a", "seed=0", "optim.lr=0.001"),
        ("model=a", "seed=0", "optim.lr=0.0005"),
        ("model=b", "seed=0", "optim.lr=0.001"),
        ("model=b", "seed=0", "optim.lr=0.0005"),
    ]


def test_lists_choices_and_ranges_are_understood():
    assert expand_sweep(["logger=[csv,wandb]"]) == [("logger=[csv,wandb]",)]
    assert expand_sweep(["seed=range(2)"]) == [("seed=0",), ("seed=1",)]
    assert expand_sweep(["seed=choice(4,5)"]) == [("seed=4",), ("seed=5",)]


def test_a_range_of_reals_is_left_to_its_sweeper():
    assert expand_sweep(["optim.lr=interval(0, 1)", "seed=1"]) == [("seed=1",)]


def test_mistakes_are_kept_for_the_explanation():
    assert expand_sweep(["tiny", "seed=1,2"]) == [("tiny", "seed=1"), ("tiny", "seed=2")]


def test_an_argument_that_the_files_do_not_mention_is_offered_with_a_plus() -> None:
    with pytest.raises(ConfigError, match=r"Trainer takes it: write \+trainer.limit_train_batches=3"):
        compose("fit", ["trainer.limit_train_batches=3"])


def test_a_misspelt_argument_that_the_files_do_not_mention_is_recognised() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean \+trainer.limit_train_batches\?"):
        compose("fit", ["trainer.limit_train_batchs=3"])
