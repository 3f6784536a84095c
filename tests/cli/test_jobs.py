"""Sweeps run all their jobs, and stopped commands print how to continue."""

import sys

import pytest
from program import hrpose, lines, run_folders, start

from hrpose.cli.arguments import parse
from hrpose.cli.jobs import find_own_code

STOP = "import signal\nos.kill(os.getpid(), signal.{})"
KEEP = """
from pathlib import Path
Path(cfg.paths.run, "checkpoints").mkdir()
Path(cfg.paths.run, "checkpoints/last.ckpt").touch()
"""


@pytest.mark.slow
def test_a_sweep_continues_after_a_job_with_unusable_images(tmp_path):
    body = """
from hrpose.tasks.predict import UnusableImagesError
if cfg.seed == 1:
    raise UnusableImagesError("1 of 2 images could not be used")
"""
    done = hrpose("fit", "-m", "seed=0,1,2", "experiment=tiny", cwd=tmp_path, body=body)
    assert [line.split()[3] for line in done.stdout.splitlines() if line.startswith("JOB")] == ["0", "1", "2"]
    assert "hrpose: 1 of 2 images could not be used" in done.stderr
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("error", "has_trace"),
    [
        ("raise RuntimeError('a fault of the program')", True),
        ("from hrpose.skeletons import Skeleton\n    Skeleton.from_names([], name='x')", False),
    ],
)
def test_a_sweep_continues_after_a_failed_job(tmp_path, error, has_trace):
    done = hrpose("fit", "-m", "seed=0,1,2", "experiment=tiny", cwd=tmp_path, body=f"if cfg.seed != 2:\n    {error}")
    assert [line.split()[3] for line in done.stdout.splitlines() if line.startswith("JOB")] == ["0", "1", "2"]
    first, second = (f" ({folder.relative_to(tmp_path)})" for folder in run_folders(tmp_path)[:2]) if has_trace else ("", "")
    assert done.stderr.splitlines()[-1] == f"hrpose: 2 of 3 jobs failed: seed=0{first}; seed=1{second}"
    assert len(run_folders(tmp_path)) == (3 if has_trace else 1)  # a refused job leaves no folder
    assert ("Traceback" in done.stderr) == has_trace
    assert done.returncode == 1


def test_a_sweep_with_both_kinds_of_failures_has_failed(tmp_path):
    body = """
from hrpose.tasks.predict import UnusableImagesError
raise RuntimeError("no") if cfg.seed == 1 else UnusableImagesError("1 of 2 images could not be used")
"""
    assert hrpose("fit", "-m", "seed=1,2", cwd=tmp_path, body=body).returncode == 1


@pytest.mark.parametrize(("name", "how", "status"), [("SIGTERM", "terminated", 143), ("SIGINT", "interrupted", 130)])
def test_a_stopped_run_prints_how_to_continue(tmp_path, name, how, status):
    words = ["fit", "name=a b", "ckpt_path=null"]
    before = hrpose(*words, cwd=tmp_path, body=STOP.format(name))
    assert (before.returncode, before.stderr) == (status, f"hrpose: {how}. To restart: hrpose fit 'name=a b' ckpt_path=null\n")
    after = hrpose(*words, cwd=tmp_path, body=KEEP + STOP.format(name))
    assert (after.returncode, after.stderr) == (status, f"hrpose: {how}. To continue: hrpose fit 'name=a b' ckpt_path=last\n")


@pytest.mark.parametrize("error", ["raise SystemExit", "raise RuntimeError('a broken worker')"])
def test_the_exit_status_is_that_of_the_signal(tmp_path, error):
    """Lightning turns SIGTERM into a SystemExit without a status and Ctrl-C into one with the status 1."""
    body = f"try:\n    {STOP.format('SIGTERM').replace(chr(10), chr(10) + '    ')}\nexcept KeyboardInterrupt:\n    {error}"
    done = hrpose("fit", cwd=tmp_path, body=body)
    assert (done.returncode, done.stderr) == (143, "hrpose: terminated. To restart: hrpose fit\n")


@pytest.mark.parametrize("verb", ["test", "export"])
def test_other_verbs_print_how_to_restart(tmp_path, verb):
    (tmp_path / "w.pth").touch()
    done = hrpose(verb, "weights=w.pth", cwd=tmp_path, body=KEEP + "os.kill(os.getpid(), 15)")
    assert (done.returncode, done.stderr) == (143, f"hrpose: terminated. To restart: hrpose {verb} weights=w.pth\n")


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_a_sweep(tmp_path, name, status):
    done = hrpose(
        "fit",
        "-m",
        "seed=0,1,2",
        "data=synthetic",
        cwd=tmp_path,
        body=f"if cfg.seed == 1:\n    import signal; os.kill(os.getpid(), signal.{name})",
    )
    assert [line.split()[3] for line in done.stdout.splitlines() if line.startswith("JOB")] == ["0", "1"]
    assert done.returncode == status
    assert done.stderr.endswith(" in job 2 of the sweep. To restart: hrpose fit seed=1 data=synthetic\n")


def test_a_job_of_a_sweep_continues_from_its_checkpoint(tmp_path):
    done = hrpose("fit", "-m", "seed=0,1", cwd=tmp_path, body=KEEP + "if cfg.seed == 1:\n    os.kill(os.getpid(), 15)")
    file = run_folders(tmp_path)[1].relative_to(tmp_path) / "checkpoints/last.ckpt"
    assert done.stderr == f"hrpose: terminated in job 2 of the sweep. To continue: hrpose fit seed=1 ckpt_path={file}\n"


def test_a_signal_before_the_first_job_prints_one_line(tmp_path):
    before = "import importlib\nmain = importlib.import_module('hrpose.cli.main')  # hrpose.cli.main is the function too\n"
    before += "main._check = lambda command: os.kill(os.getpid(), 15)"
    done = hrpose("fit", "seed=2", cwd=tmp_path, before=before)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "hrpose: terminated. To restart: hrpose fit seed=2\n"


def test_only_the_first_process_of_a_run_prints_the_message(tmp_path):
    done = hrpose("fit", cwd=tmp_path, body="os.kill(os.getpid(), 15)", LOCAL_RANK="1")
    assert (done.returncode, done.stderr) == (143, "")


def test_two_runs_that_start_in_the_same_second_have_two_folders(tmp_path):
    frozen = "import time\ntime.strftime = lambda *_: '2024-05-06_07-08-09'"
    for words in (["name=a"], ["-m", "name=a,b", "seed=1"]):
        for process in [start("fit", *words, cwd=tmp_path, before=frozen) for _ in range(2)]:
            assert lines(process.wait(), "JOB")
    folders = [str(folder.relative_to(tmp_path / "runs")) for folder in run_folders(tmp_path)]
    single = [f"a/2024-05-06_07-08-09{end}" for end in ("", "_2")]
    swept = [f"{name}/2024-05-06_07-08-09{end}/{number}" for number, name in enumerate("ab") for end in ("_3", "_4")]
    assert folders == sorted([*single, *swept])


def test_a_chosen_folder_may_exist(tmp_path):
    for _ in range(2):
        lines(hrpose("fit", "paths.run=runs/mine", cwd=tmp_path), "JOB")
    assert run_folders(tmp_path) == [tmp_path / "runs/mine"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["model={_target_: my_module.MyNet}"], True),
        (["data.sampler._target_=my_module.A"], True),
        (["--config-dir", "conf", "model=mine"], True),
        (["ckpt_path=foreign.ckpt"], False),
    ],
)
def test_the_current_folder_is_searched_last_and_only_for_custom_classes(tmp_path, monkeypatch, arguments, found):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", before := list(sys.path))
    for _ in range(2):
        find_own_code(parse("fit", arguments))
    assert before == [*[folder for folder in before if folder != str(tmp_path)], *[str(tmp_path)] * found]


def test_a_sweep_writes_its_table_in_any_folder(tmp_path):
    body = """
from types import SimpleNamespace
if cfg.seed == 1:
    raise ValueError("The loss is nan. Lower the rate.")
return SimpleNamespace(score=0.5, numbers={"AP_gt": 0.5}, num_epochs=7)
"""
    words = ["seed=0,1", "data.val_boxes=[gt, det]", "hydra.sweep.dir=mine"]
    (tmp_path / "mine" / ".jobs").mkdir(parents=True)
    (tmp_path / "mine" / ".jobs" / "7.json").write_text("{}")  # of an earlier sweep that was stopped
    done = hrpose("fit", "-m", *words, cwd=tmp_path, body=body)
    header, first, second = (tmp_path / "mine" / "sweep.csv").read_text().splitlines()
    assert header == "job,best,overrides,AP_gt,epochs,minutes,folder,state"
    assert first == "0,*,seed=0,0.5,7,0.0,0,done"
    assert second == "1,,seed=1,,,0.0,1,failed: The loss is nan"
    assert "0.500" in done.stdout
    assert done.returncode == 1


def test_the_table_of_a_stopped_sweep_has_the_complete_jobs(tmp_path):
    hrpose("fit", "-m", "seed=0,1,2", cwd=tmp_path, body="if cfg.seed == 1:\n    os.kill(os.getpid(), 15)")
    (file,) = tmp_path.rglob("sweep.csv")
    assert [line.rpartition(",")[2] for line in file.read_text().splitlines()[1:]] == ["done", "not finished"]
