import subprocess
import sys
from pathlib import Path

import pytest
from program import PROGRAM, hrpose, lines, run_folders

from hrpose import __version__
from hrpose.cli import VERBS, main


def test_help_lists_the_verbs(capsys):
    for words in (["--help"], ["-h"], ["help"], []):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {verb}" in shown for verb in VERBS)


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom hrpose.cli import main\nmain(['--help'])\nmain(['fti'])\n"
        "heavy = {'torch', 'lightning', 'hydra', 'omegaconf', 'numpy', 'rich'}\nassert not heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hrpose {__version__}\n"
    assert main(["fit", "--version"]) == 0


@pytest.mark.parametrize(
    ("verb", "advice"),
    [
        ("fti", "Did you mean fit?"),
        ("tset", "Did you mean test?"),
        ("train", "Did you mean fit?"),
        ("eval", "Did you mean test?"),
        ("dance", "There are fit, test, predict, export, evaluate, convert, doctor, compare"),
    ],
)
def test_an_unknown_verb_is_explained(verb, advice, capsys):
    assert main([verb]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"hrpose: there is no verb '{verb}'. {advice}")
    assert shown.out == ""


def test_a_job_gets_its_folder_and_the_original_command_line(tmp_path):
    done = hrpose("fit", "+experiment=w32_256x192", "data=synthetic", "optim.lr=0.5", "--config-dir", ".", "seed=3", cwd=tmp_path)
    (job,) = lines(done, "JOB")
    (folder,) = run_folders(tmp_path / "runs")
    assert job == f"fit w32_256x192 3 0.5 {folder} None"
    words = ["fit", "+experiment=w32_256x192", "data=synthetic", "optim.lr=0.5", "--config-dir", ".", "seed=3"]
    assert lines(done, "ARGV") == [str([str(tmp_path / "program.py"), *words])]
    assert folder.parent == tmp_path / "runs" / "w32_256x192"


def test_every_job_of_a_sweep_has_its_folder_and_command_line(tmp_path):
    done = hrpose("fit", "-m", "optim.lr=0.1,0.2", "--config-dir", ".", "seed=3", cwd=tmp_path)
    folders = run_folders(tmp_path / "runs")
    assert [folder.name for folder in folders] == ["0", "1"]
    assert lines(done, "JOB") == [f"fit tiny 3 {rate} {folder} None" for rate, folder in zip((0.1, 0.2), folders, strict=True)]
    for rate, argv in zip((0.1, 0.2), lines(done, "ARGV"), strict=True):
        assert argv.endswith(f"'fit', '--config-dir', '.', 'optim.lr={rate}', 'seed=3', 'hydra.mode=RUN']")


def test_a_repeated_job_of_a_sweep_uses_the_folder_of_the_first_process(tmp_path):
    """Return the arguments that Lightning's launcher appends: lightning.fabric.strategies.launchers.subprocess_script."""
    folder = tmp_path / "runs" / "tiny" / "sweep" / "0"
    done = hrpose(
        "fit", "optim.lr=0.1", "hydra.mode=RUN", f'hydra.run.dir="{folder}"', "hydra.job.name=train_ddp_process_1",
        "hydra.output_subdir=null", cwd=tmp_path,
    )  # fmt: skip
    assert lines(done, "JOB") == [f"fit tiny 0 0.1 {folder} None"]
    assert sorted(path.name for path in folder.iterdir()) == ["train_ddp_process_1.log"]


def keys(printed: str) -> list[str]:
    """Return the keys of the printed faults."""
    faults = [line for line in printed.splitlines() if line.startswith(("hrpose: ", "  - ")) and not line.endswith(":")]
    faults = faults or printed.splitlines()[:1]
    return [line.removeprefix("  - ").removeprefix("hrpose: ").split(": ")[0].split(" does not")[0] for line in faults]


def test_all_faults_are_reported_before_anything_is_made(tmp_path):
    overrides = ("optim=adam", "weights=nowhere.pth", "trainer.max_epoch=3", "model=hrnet_w33x", "tinny")
    done = hrpose("fit", *overrides, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert keys(done.stderr) == ["'tinny'", "model", "trainer.max_epoch", "weights"]
    assert "trainer.max_epochs" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_wrong_override_is_refused_without_importing_torch(tmp_path):
    program = (
        "import sys\nfrom hrpose.cli import main\n"
        "assert main(['fit', 'optim.lrr=1', '+trainer.foo=1', 'seed=x']) == 1\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'cv2'}\nassert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert keys(done.stderr) == ["optim.lrr", "seed"]


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["-m", "optim.lr=0.1,slow,fast,-1"], ["optim.lr"] * 3),
        (["-m", "model=hrnet_tiny,deeppose_tiny,simcc_tiny", "codec=heatmap", "size=160x96"], ["codec", "codec"]),
        (["augment.flip.probability=3"], ["augment.flip"]),
        (["-m", "+callbacks.best.save_top_k=1,-2"], ["callbacks.best"]),
        (["prepare=null"], ["data"]),
    ],
)
def test_all_jobs_are_checked_before_anything_is_made(tmp_path, capsys, monkeypatch, overrides, found):
    """With real parts, which are imported already."""
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *overrides]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert keys(shown.err) == found
    assert not list(tmp_path.iterdir())


def test_a_job_that_is_refused_while_it_runs_leaves_no_folder(tmp_path):
    body = "from hrpose.config import ConfigError\nraise ConfigError('seed: no')"
    done = hrpose("fit", cwd=tmp_path, body=body)
    assert (done.returncode, done.stderr) == (1, "hrpose: seed: no\n")
    assert not list(tmp_path.glob("runs/*/*"))
    done = hrpose("fit", cwd=tmp_path, body=f"open(cfg.paths.run + '/kept', 'w').close()\n{body}")
    assert [path.name for path in tmp_path.glob("runs/*/*/kept")] == ["kept"]


def test_a_sweep_over_networks_with_different_codecs_runs(tmp_path):
    done = hrpose("fit", "-m", "model=hrnet_tiny,rle_tiny", cwd=tmp_path, imports=True)
    assert len(lines(done, "JOB")) == 2


@pytest.mark.parametrize("environment", [{"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "2"}])
def test_processes_of_another_launcher_need_one_folder(tmp_path, environment):
    done = hrpose("fit", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "Set paths.run=runs/<name>/<folder>." in done.stderr
    assert hrpose("fit", "paths.run=runs/mine", cwd=tmp_path, **environment).returncode == 0
    assert run_folders(tmp_path) == [tmp_path / "runs" / "mine"]


def test_a_traceback_is_shown_on_request(tmp_path):
    done = hrpose("fit", "optim.lrr=1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "Did you mean optim.lr?" in done.stderr


def test_an_error_of_hrpose_is_a_message(tmp_path):
    done = hrpose("fit", cwd=tmp_path, body="from hrpose.skeletons import Skeleton\nSkeleton.from_names([], name='x')")
    assert done.returncode == 1
    assert done.stderr.startswith("hrpose: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("open('nowhere/at all.txt')", "hrpose: No such file or directory: nowhere/at all.txt\n"),
        ("import errno; raise OSError(errno.ENOSPC, 'No space left on device')", "hrpose: No space left on device: {runs}/tiny/"),
        ("raise ValueError('a sentence')", None),
        ("raise OSError('no number')", None),
    ],
)
def test_an_error_of_the_machine_is_a_message(tmp_path, raised, message):
    done = hrpose("fit", cwd=tmp_path, body=raised)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == (message is None)
    assert message is None or done.stderr.startswith(message.format(runs=tmp_path / "runs"))
    assert message is None or done.stderr.count("\n") == 1


def test_a_warning_is_one_line_on_the_screen_and_in_the_log(tmp_path):
    done = hrpose("fit", cwd=tmp_path, body="import warnings; warnings.warn('three persons are left out', stacklevel=1)")
    assert done.stdout.splitlines()[-1] == "Warning: three persons are left out"
    assert done.stderr == ""
    (folder,) = run_folders(tmp_path / "runs")
    assert (folder / "hrpose.log").read_text().endswith("[WARNING] - three persons are left out\n")


@pytest.mark.slow
def test_messages_of_lightning_are_in_the_log_of_the_run(tmp_path):
    body = "from lightning.pytorch.utilities.rank_zero import rank_zero_info; rank_zero_info('GPU available')"
    (tmp_path / "program.py").write_text(PROGRAM.format(before="", imports=True, body=body))
    # a process of its own: those of `hrpose` have imported Lightning before
    done = subprocess.run([sys.executable, "program.py", "fit"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "GPU available"
    (folder,) = run_folders(tmp_path / "runs")
    assert (folder / "hrpose.log").read_text().endswith("[INFO] - GPU available\n")


@pytest.mark.parametrize(
    ("arguments", "flag", "meant"),
    [
        (["--epochs", "3"], "--epochs", "trainer.max_epochs=3"),
        (["--optim.lr=1e-3"], "--optim.lr", "optim.lr=1e-3"),
        (["--lr", "0.1"], "--lr", "optim.lr=0.1"),
        (["--gpus", "2"], "--gpus", "trainer.devices=2"),
        (["--config", "mine/x.yaml"], "--config", "experiment=x"),
        (["--cfg", "mine/x.yaml"], "--cfg", "experiment=x"),
        (["--batch-size", "--cfg", "job"], "--batch-size", "data.batch_size=..."),
    ],
)
def test_the_flags_of_other_tools_are_explained(tmp_path, capsys, monkeypatch, arguments, flag, meant):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *arguments]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"hrpose: {flag}: ")
    assert meant in shown


@pytest.mark.parametrize("arguments", [["seed", "=", "x"], ["seed=", "x"], ["seed", "=x"]])
def test_spaces_around_the_equals_sign_are_explained(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *arguments, "annotations=a", "results=b"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "Write seed=x." in lines[1]
    assert "seed: expected int" in lines[2]


def test_a_run_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").touch()
    for word, message in {
        "paths.runs=file/runs": "paths.run: expected a writable folder, but file/runs/tiny/",
        "paths.run=file": "paths.run: expected a writable folder, but file is a file. ",
    }.items():
        for words in ([word], [word, "-m", "seed=1,2"]):
            done = hrpose("fit", *words, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"hrpose: {message}")
            assert done.stderr.count("\n") == 1


def test_other_errors_have_a_traceback(tmp_path):
    done = hrpose("fit", cwd=tmp_path, body="raise ValueError('a fault of the program')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a fault of the program" in done.stderr


def test_the_configuration_is_shown_not_run(tmp_path):
    done = hrpose("fit", "--cfg", "job", "optim.lr=0.25", "-p", "optim", cwd=tmp_path)
    assert done.returncode == 0
    assert "lr: 0.25" in done.stdout
    assert not (tmp_path / "runs").exists()
    assert hrpose("fit", "--cfg", "job", "--resolve", "experiment=w48_384x288", cwd=tmp_path).returncode == 0


def test_a_wrong_key_is_explained_where_the_configuration_is_shown(tmp_path):
    done = hrpose("fit", "--cfg", "job", "optim.lrr=0.25", cwd=tmp_path)
    assert keys(done.stderr) == ["optim.lrr"]


def test_info_shows_the_files(tmp_path):
    assert "experiment/w32_384x288" in hrpose("fit", "--info", "defaults", "experiment=w32_384x288", cwd=tmp_path).stdout


def test_a_custom_config_folder_adds_experiments(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "short.yaml").write_text("# @package _global_\nname: short\nseed: 7\n")
    done = hrpose("fit", "--config-dir", "mine", "+experiment=short", cwd=tmp_path)
    assert lines(done, "JOB")[0].startswith("fit short 7 ")


def test_a_missing_custom_config_folder_is_refused(tmp_path):
    done = hrpose("fit", "--config-dir", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "hrpose: --config-dir: there is no folder mine.\n")


@pytest.mark.parametrize("words", ["-sc install=bash", "fit -sc install=bash", "-sc install=fish", "-sc install=zsh"])
def test_shell_completion_is_installed_for_the_command(tmp_path, words):
    program = Path(sys.executable).with_name("hrpose")
    done = subprocess.run([program, *words.split()], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "hrpose" in done.stdout
    assert "hrpose fit" not in done.stdout


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("hrpose f", "fit"),
        ("hrpose ", "fit test predict export evaluate convert doctor compare"),
        ("hrpose fit model=hrnet_w4", "model=hrnet_w48"),
        ("hrpose fit experiment=w48_384x288 codec.sig", "codec.sigma="),
        ("hrpose test ckpt", "ckpt_path="),
        ("hrpose compare runs/one runs/(other) anno", "annotations="),
    ],
)
def test_arguments_are_completed(tmp_path, line, choices):
    done = hrpose("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line)
    assert done.stdout.strip() == choices, done.stderr
