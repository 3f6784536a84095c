"""`hrpose <verb> --help` shows the keys and groups of the verb only."""

import re
import subprocess
import sys

import pytest
from compositions import CONF, EXPERIMENTS, options
from omegaconf import OmegaConf

from hrpose import compose
from hrpose.cli import VERBS, main, parse
from hrpose.cli.help import EXAMPLES, _keys, _option_keys, read_verb

GROUPS = {  # the groups of each verb that are shown
    "evaluate": {"paths", "protocol"},
    "compare": {"paths", "protocol"},
    "convert": {"paths"},
    "predict": {"paths", "tracking", "smoothing", "draw", "detector", "loss", "size", "codec", "model", "skeleton"},
}


@pytest.fixture(autouse=True)
def hundred_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def shown(capsys, *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_keys_and_groups_are_those_of_the_composed_configuration(verb):
    groups, keys = read_verb(verb)
    cfg = compose(verb)
    written = OmegaConf.to_container(cfg, resolve=False)
    for name, value, comment in keys:
        assert comment
        if value != "???":
            assert OmegaConf.to_container(OmegaConf.create(f"{name}: {value}"), resolve=False)[name] == written[name]
    settings = {key for key in cfg if not isinstance(written[key], dict)}
    of_groups = {"task", "prepare", "layout", "schedule_interval", "monitor", "monitor_min_delta", "pixels", "schedule"}
    assert {name for name, _, _ in keys} >= settings - of_groups - {name for name, _, _ in groups}
    assert GROUPS.get(verb, {name for name, _, _ in groups}) == {name for name, _, _ in groups}
    assert all(comment for _, _, comment in groups)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(verb, capsys):
    text = shown(capsys, verb, "--help")
    assert text == shown(capsys, verb, "-h", "seed=3") == shown(capsys, "help", verb)
    assert all(len(line) <= 100 for line in text.splitlines())
    groups, keys = read_verb(verb)
    for name, value, _ in (*keys, *groups):
        assert re.search(rf"^  {name}{'' if value == '???' else '='}", text, re.MULTILINE), name
    assert all(f"\n  {example}\n" in text for example in EXAMPLES[verb])
    words = text.replace(",", " ").split()
    assert all((name in words) == ("experiment" in dict(entry[:2] for entry in groups)) for name in EXPERIMENTS[1:])


@pytest.mark.parametrize(("verb", "example"), [(verb, text) for verb in VERBS for text in EXAMPLES[verb]])
def test_an_example_composes(verb, example):
    program, given, *arguments = example.replace("'", "").split()
    assert (program, given) == ("hrpose", verb)
    words = [word.partition(",")[0] if "-m" in arguments else word for word in arguments if word != "-m"]
    assert compose(verb, parse(verb, words).overrides).task == verb


def test_a_group_has_its_options_and_keys(capsys):
    text = shown(capsys, "fit", "--help", "data")
    assert all(f"  data={option} " in text for option in options("data"))
    assert re.search(r"^  data\.batch_size=32 +crops", text, re.MULTILINE)  # of data=coco, which data=synthetic includes
    assert "layout.data_dir" not in text  # data=synthetic switches it off
    assert "  detector.score_threshold=0.3 " in shown(capsys, "predict", "--help", "detector=rtdetr")
    assert "--help <group>" in shown(capsys, "fit", "data", "--help")


def test_options_of_a_custom_config_folder_are_listed(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "my_net.yaml").write_text("# My network.\n_target_: torch.nn.Identity\n")
    assert "my_net" in shown(capsys, "fit", "--config-dir", str(tmp_path), "--help")
    assert "  model=my_net " in shown(capsys, "fit", f"--config-dir={tmp_path}", "--help", "model")


def test_help_of_a_verb_imports_nothing_heavy():
    program = (
        "import sys\nfrom hrpose.cli import main\nmain(['fit', '--help'])\n"
        "assert not {'torch', 'lightning', 'hydra', 'omegaconf', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_only_terminals_get_colours(monkeypatch, capsys):
    assert "\x1b" not in shown(capsys, "compare", "--help")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[36m" in shown(capsys, "compare", "--help")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(capsys, "compare", "--help")


FILES = [file for file in sorted(CONF.rglob("*.yaml")) if file.parent.name != "hydra"]
OPTIONS = [file for file in FILES if file.parent != CONF and file.parent.name not in ("experiment", "recipe")]


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: file.relative_to(CONF).as_posix())
def test_every_key_of_an_option_has_a_comment(file):
    files = {other.stem: other for other in file.parent.glob("*.yaml")}
    group = file.parent.relative_to(CONF).as_posix()
    keys = _option_keys(files, group, file.stem)
    assert [name for name, value, comment in keys if not comment and value not in ("null", "{}")] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONF).as_posix())
def test_every_key_of_a_file_is_read(file):
    """The reader of comments is not a YAML parser, so it could miss keys."""
    written = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    written.pop("defaults", None)

    def names(node, prefix=""):
        for name, value in node.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{name}.")

    inline = [name for name, value, _ in _keys(file) if value.startswith("{")]
    expected = [name for name in names(written) if not any(name.startswith(f"{parent}.") for parent in inline)]
    assert [name for name, _, _ in _keys(file)] == expected


@pytest.mark.parametrize("arguments", ["--help", "fit --help"])
def test_a_closed_pipe_is_no_error(arguments):
    command = f"set -o pipefail; {sys.executable} -u -m hrpose {arguments} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
