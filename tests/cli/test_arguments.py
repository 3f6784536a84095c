import pytest

from hrpose.cli import Command, parse


@pytest.mark.parametrize(
    ("words", "flags", "overrides"),
    [
        ("-m a=1,2 --config-dir d b=3", ("-m", "--config-dir", "d"), ("a=1,2", "b=3")),
        ("a=1 -cd d b=3 --multirun", ("-cd", "d", "--multirun"), ("a=1", "b=3")),
        ("--config-dir=d +experiment=x", ("--config-dir=d",), ("experiment=x",)),
        ("--cfg job -p optim a=1", ("--cfg", "job", "-p", "optim"), ("a=1",)),
        ("--info a=1", ("--info",), ("a=1",)),
        ("--info defaults a=1", ("--info", "defaults"), ("a=1",)),
        ("~callbacks.best +a=-1 --resolve", ("--resolve",), ("~callbacks.best", "+a=-1")),
        ("tiny", (), ("tiny",)),
        ("--epochs 3 a=1", ("--epochs", "3"), ("a=1",)),
        ("--epochs=3 b", ("--epochs=3",), ("b",)),
    ],
)
def test_flags_and_overrides_may_be_mixed(words, flags, overrides):
    assert parse("fit", words.split()) == Command("fit", flags, overrides)


def test_values_of_compare_need_no_keys():
    assert parse("compare", ["runs/x", "force=true", "runs/y"]).overrides == ("a=runs/x", "force=true", "b=runs/y")
    assert parse("compare", ["runs/x (1)/it's"]).overrides == (r"a='runs/x (1)/it\'s'",)
    assert parse("compare", ["x", "y", "z"]).overrides == ("a=x", "b=y", "z")


@pytest.mark.parametrize("words", [["-cd", "d", "-m"], ["--config-dir=d"], ["-m", "--config-dir", "d"]])
def test_the_custom_config_folder_is_found_among_the_flags(words):
    assert parse("fit", words).config_dir == "d"
    assert parse("fit", ["-m"]).config_dir is None


@pytest.mark.parametrize(
    ("arguments", "overrides", "spaced"),
    [
        ("a = 1 b=2", ("a=1", "b=2"), ("a=1",)),
        ("a= 1", ("a=1",), ("a=1",)),
        ("a =1 c", ("a=1", "c"), ("a=1",)),
        ("a= b=2", ("a=", "b=2"), ()),
        ("a= -m", ("a=",), ()),
    ],
)
def test_spaces_around_the_equals_sign_are_removed(arguments, overrides, spaced):
    command = parse("fit", arguments.split())
    assert (command.overrides, command.spaced) == (overrides, spaced)


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        ("--cfg job --resolve -m", []),
        ("--epochs 3 --cfg=x.yaml", [("--epochs", "3"), ("--cfg", "x.yaml")]),
        ("--resume -c all", [("--resume", "")]),
    ],
)
def test_unknown_flags_have_their_values(arguments, unknown):
    assert parse("fit", arguments.split()).unknown_flags == unknown
