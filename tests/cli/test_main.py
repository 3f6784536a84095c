import subprocess
import sys
from pathlib import Path

import pytest
from program import hrpose, lines, run_folders

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


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hrpose {__version__}\n"
    assert main(["fit", "--version"]) == 0


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("fti", "Did you mean fit?"),
        ("tset", "Did you mean test?"),
        ("train", "Did you mean fit?"),
        ("eval", "Did you mean test?"),
        ("dance", "There are fit, test, predict, export, evaluate, compare"),
    ],
)
def test_an_unknown_verb_is_explained(word, advice, capsys):
    assert main([word]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"hrpose: there is no verb '{word}'. {advice}")
    assert shown.out == ""


def test_a_job_gets_its_folder_and_the_original_command_line(tmp_path):
    done = hrpose(
        "fit", "+experiment=w32_256x192", "data=synthetic", "optim.lr=0.5", "--config-dir", ".", "seed=3", cwd=tmp_path
    )
    (job,) = lines(done, "JOB")
    (folder,) = run_folders(tmp_path / "runs")
    assert job == f"fit w32_256x192 3 0.5 {folder} None"
    words = ["fit", "+experiment=w32_256x192", "data=synthetic", "optim.lr=0.5", "--config-dir", ".", "seed=3"]
    assert lines(done, "ARGV") == [str([str(tmp_path / "program.py"), *words])]
    assert folder.parent == tmp_path / "runs" / "w32_256x192"


def test_a_sweep_gives_every_job_a_folder_and_a_command_line_of_its_own(tmp_path):
    done = hrpose("fit", "-m", "optim.lr=0.1,0.2", "--config-dir", ".", "seed=3", cwd=tmp_path)
    folders = run_folders(tmp_path / "runs")
    assert [folder.name for folder in folders] == ["0", "1"]
    assert lines(done, "JOB") == [
        f"fit tiny 3 {rate} {folder} None" for rate, folder in zip((0.1, 0.2), folders, strict=True)
    ]
    for rate, argv in zip((0.1, 0.2), lines(done, "ARGV"), strict=True):
        assert argv.endswith(f"'fit', '--config-dir', '.', 'optim.lr={rate}', 'seed=3', 'hydra.mode=RUN']")


def test_a_repeated_job_of_a_sweep_uses_the_folder_of_the_first_process(tmp_path):
    """What Lightning's launcher appends: see lightning.fabric.strategies.launchers.subprocess_script."""
    folder = tmp_path / "runs" / "tiny" / "sweep" / "0"
    done = hrpose(
        "fit", "optim.lr=0.1", "hydra.mode=RUN", f'hydra.run.dir="{folder}"', "hydra.job.name=train_ddp_process_1",
        "hydra.output_subdir=null", cwd=tmp_path,
    )  # fmt: skip
    assert lines(done, "JOB") == [f"fit tiny 0 0.1 {folder} None"]
    assert sorted(path.name for path in folder.iterdir()) == ["train_ddp_process_1.log"]


def test_all_faults_are_told_before_anything_is_made(tmp_path):
    words = ("optim=adam", "+optim.lrr=1", "weights=nowhere.pth", "trainer.max_epoch=3", "model=hrnet_w33x", "tinny")
    done = hrpose("fit", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "hrpose: 5 faults in the configuration:",
        "  - 'tinny' is not of the form key=value. Every word after the flags has an '='.",
        "  - model: there is no option 'hrnet_w33x'. Did you mean hrnet_w32? There are 27: hrpose fit --help lists them.",
        "  - trainer.max_epoch: there is no such key. Did you mean trainer.max_epochs?",
        "  - optim.lrr: torch.optim.Adam has no such argument. Did you mean lr?",
        "  - weights: there is no file nowhere.pth.",
    ]
    assert not (tmp_path / "runs").exists()


def test_the_last_job_of_a_sweep_is_checked_before_the_first_runs(tmp_path):
    done = hrpose("fit", "-m", "optim.lr=0.1,slow,fast", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "hrpose: 2 faults in the configuration:",
        "  - optim.lr: expected float | Tensor, but got 'slow' (str).",
        "  - optim.lr: expected float | Tensor, but got 'fast' (str).",
    ]
    assert not (tmp_path / "runs").exists()


def test_a_network_that_its_codec_cannot_read_is_refused_before_the_sweep_begins(tmp_path):
    done = hrpose(
        "fit", "-m", "model=hrnet_tiny,deeppose_tiny,simcc_tiny", "codec=heatmap", "size=160x96", cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "2 faults in the configuration" in done.stderr
    for network, words in {
        "DeepPose": "codec=regression size=160x96 loss=regression",
        "SimCC": "codec=simcc size=160x96 loss=simcc",
    }.items():
        assert f"codec: it does not go with model ({network})" in done.stderr
        assert f"What fits this model: {words}." in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_sweep_over_networks_that_bring_their_codecs_runs(tmp_path):
    done = hrpose("fit", "-m", "model=hrnet_tiny,rle_tiny", cwd=tmp_path)
    assert len(lines(done, "JOB")) == 2


@pytest.mark.parametrize(
    "environment", [{"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "2"}]
)
def test_processes_of_another_launcher_need_one_folder(tmp_path, environment):
    done = hrpose("fit", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "Give them one: paths.run=runs/<name>/<folder>." in done.stderr
    assert hrpose("fit", "paths.run=runs/mine", cwd=tmp_path, **environment).returncode == 0
    assert run_folders(tmp_path) == [tmp_path / "runs" / "mine"]


def test_a_trace_is_shown_on_request(tmp_path):
    done = hrpose("fit", "optim.lrr=1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "Did you mean optim.lr?" in done.stderr


def test_an_error_of_ours_is_a_message(tmp_path):
    done = hrpose("fit", cwd=tmp_path, body="from hrpose.skeletons import Skeleton\nSkeleton.from_names([], name='x')")
    assert done.returncode == 1
    assert done.stderr.startswith("hrpose: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("open('nowhere/at all.txt')", "hrpose: No such file or directory: nowhere/at all.txt\n"),
        ("import errno; raise OSError(errno.ENOSPC, 'No space left on device')", "hrpose: No space left on device\n"),
        ("raise ValueError('a sentence')", None),
        ("raise OSError('no number')", None),
    ],
)
def test_what_the_machine_refuses_is_a_message(tmp_path, raised, told):
    done = hrpose("fit", cwd=tmp_path, body=raised)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == (told is None)
    assert told is None or done.stderr == told


def test_a_warning_is_a_line_of_the_screen_and_of_the_runs_log(tmp_path):
    done = hrpose(
        "fit", cwd=tmp_path, body="import warnings; warnings.warn('three persons are left out', stacklevel=1)"
    )
    assert done.stdout.splitlines()[-1] == "Warning: three persons are left out"
    assert done.stderr == ""
    (folder,) = run_folders(tmp_path / "runs")
    assert (folder / "hrpose.log").read_text().endswith("[WARNING] - three persons are left out\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--epochs", "3"], "--epochs: there is no such flag. Values are given without dashes: epochs=3."),
        (["--optim.lr=1e-3"], "--optim.lr: there is no such flag. Values are given without dashes: optim.lr=1e-3."),
        (
            ["--batch-size", "--cfg", "job"],
            "--batch-size: there is no such flag. Values are given without dashes: batch_size=....",
        ),
    ],
)
def test_the_flags_of_other_tools_are_explained(tmp_path, words, told):
    done = hrpose("fit", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"hrpose: {told}\n")


def test_a_run_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").touch()
    for word, told in {
        "paths.runs=file/runs": "paths.run: expected a folder for what the run leaves, but file/runs/tiny/",
        "paths.run=file": "paths.run: expected a folder for what the run leaves, but file is a file. Choose another: ",
    }.items():
        for words in ([word], [word, "-m", "seed=1,2"]):
            done = hrpose("fit", *words, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"hrpose: {told}")
            assert done.stderr.count("\n") == 1


def test_another_error_has_its_trace(tmp_path):
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
    assert done.stderr == "hrpose: optim.lrr: there is no such key. Did you mean optim.lr?\n"


def test_info_shows_the_files(tmp_path):
    assert (
        "experiment/w32_384x288" in hrpose("fit", "--info", "defaults", "experiment=w32_384x288", cwd=tmp_path).stdout
    )


def test_a_folder_of_the_users_own_adds_experiments(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "short.yaml").write_text("# @package _global_\nname: short\nseed: 7\n")
    done = hrpose("fit", "--config-dir", "mine", "+experiment=short", cwd=tmp_path)
    assert lines(done, "JOB")[0].startswith("fit short 7 ")


def test_a_folder_of_the_users_own_has_to_be_there(tmp_path):
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
        ("hrpose ", "fit test predict export evaluate compare"),
        ("hrpose fit model=hrnet_w4", "model=hrnet_w48"),
        ("hrpose fit experiment=w48_384x288 codec.sig", "codec.sigma="),
        ("hrpose test ckpt", "ckpt_path="),
        ("hrpose compare runs/one runs/(other) anno", "annotations="),
    ],
)
def test_words_are_completed(tmp_path, line, choices):
    done = hrpose("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line)
    assert done.stdout.strip() == choices, done.stderr
