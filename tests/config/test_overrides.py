from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hrpose.config import ConfigError, compose
from hrpose.config.overrides import expand_sweep, normalise_override, quote, sample_sweep, write_override


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


def test_a_continuous_range_is_left_to_its_sweeper():
    assert expand_sweep(["optim.lr=interval(0, 1)", "seed=1"]) == [("seed=1",)]


def test_wrong_overrides_are_kept_unchanged():
    assert expand_sweep(["tiny", "seed=1,2"]) == [("tiny", "seed=1"), ("tiny", "seed=2")]


def test_an_argument_that_the_files_do_not_mention_is_offered_with_a_plus() -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.overfit_batches: .*\+trainer.overfit_batches=3"):
        compose("fit", ["trainer.overfit_batches=3"])


@pytest.mark.parametrize(
    "name",
    [
        *("a=b.jpg", "a (1).jpg", "[1].jpg", "p/[ab]*.jpg", "{x}.jpg", "it's.jpg", 'q".jpg', "ünï.jpg", "日本.jpg", "a#b.jpg"),
        *("a&b;c.jpg", "~/a.jpg", "a^b.jpg", "a`b.jpg", "a<b>.jpg", "photos/*.jpg", "x/**/*.jpg", "a b.jpg", "a@b?%.jpg"),
        *("a\\(b).jpg", "(a)\\", "\\'", "{a}\\\\'b"),
    ],
)
@pytest.mark.parametrize("key", ["source", "weights", "paths.data"])
def test_a_path_may_have_any_characters(name, key):
    word = normalise_override(f"{key}={name}")
    assert OverridesParser.create().parse_override(word).value() == name


@pytest.mark.parametrize("name", ["a,b.jpg", "a\\ b.jpg", "1e5", "null", "true", "${x}.jpg", "a\\,b.jpg", " a.jpg", "glob(x)"])
def test_an_existing_file_has_precedence_over_the_syntax_of_hydra(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert normalise_override(f"source={name}") == f"source={name}"
    (tmp_path / name).touch()
    cfg = OmegaConf.create({"path": OverridesParser.create().parse_override(normalise_override(f"source={name}")).value()})
    assert cfg.path == name


def test_a_pattern_in_a_folder_with_special_characters_is_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "1.jpg").touch()
    assert normalise_override("source=a,b/*.jpg") == "source='a,b/*.jpg'"


@pytest.mark.parametrize(
    "word",
    ["source=a.jpg,b.jpg", "source='a b.jpg'", 'source="[1].jpg"', "source=0", "ckpt_path=null", "name=a=b", "weights=", "seed"],
)
def test_other_overrides_are_unchanged(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").touch()
    assert normalise_override(word) == word


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_quoted_text_is_parsed_unchanged(text):
    assume("${" not in text)
    assert OverridesParser.create().parse_override(f"x={quote(text)}").value() == text


values_of_python = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=8,
)


@given(values_of_python)
def test_a_python_value_survives_an_override(value):
    text = write_override("key", value)
    override = OverridesParser.create().parse_override(text)
    assert not override.is_sweep_override()
    assert OmegaConf.create({"key": override.value()}).key == OmegaConf.create({"key": value}).key or "$" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tiny", "tiny"),
        ("null", "'null'"),
        ("123", "'123'"),
        (Path("a, b"), "'a, b'"),
        (np.float32(0.5), "0.5"),
        (("gt", "det"), "[gt,det]"),
        ({-1: 0}, "{-1:0}"),
    ],
)
def test_values_are_quoted_where_hydra_would_read_something_else(value, text):
    assert write_override("key", value) == f"key={text}"


def test_an_unsupported_value_is_refused():
    with pytest.raises(ConfigError, match=r"^optim\.lr:"):
        write_override("optim.lr", object())


def test_a_search_is_checked_with_each_choice_and_both_ends_of_each_interval():
    jobs = sample_sweep(["a=1,2,3", "b=int(interval(4, 9))", "c=0", "d=range(1, 8, 3)"])
    assert jobs == [
        ("a=1", "b=4", "c=0", "d=1"),
        ("a=2", "b=4", "c=0", "d=1"),
        ("a=3", "b=4", "c=0", "d=1"),
        ("a=1", "b=9", "c=0", "d=1"),
        ("a=1", "b=4", "c=0", "d=4"),
        ("a=1", "b=4", "c=0", "d=7"),
    ]
