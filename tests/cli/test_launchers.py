"""Sweeps whose jobs run in other processes, on two devices each: with joblib, submitit, and submitit through a stub of SLURM."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = (
    "prepare.num_train=6", "prepare.num_val=2", "trainer.max_epochs=1", "data.num_workers=0", "data.batch_size=2",
    "trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp", "data.val_boxes=[gt]", "callbacks.pictures=null",
    "+callbacks.mark={_target_: own_code.Mark, folder: '${paths.run}'}",
)  # fmt: skip
OWN_CODE = """
import os, signal
from pathlib import Path
from lightning.pytorch import Callback

class Mark(Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_start(self, trainer, pl_module):
        Path(self.folder, f"rank_{trainer.global_rank}_of_{trainer.world_size}").touch()

class Kill(Callback):
    def on_train_batch_end(self, *args):
        os.kill(os.getpid(), signal.SIGKILL)
"""
# As little of SLURM as submitit and Lightning ask for: sbatch runs each task of an array, srun starts its processes.
STUBS = {
    "sbatch": """#!/bin/bash
value() { sed -n "s/^#SBATCH --$1=//p" "$script" | head -1; }
script=${@: -1}
export SLURM_JOB_NAME=hrpose SLURM_JOB_NODELIST=localhost SLURM_NODELIST=localhost SLURM_NNODES=1 SLURM_JOB_NUM_NODES=1
export SLURM_NTASKS_PER_NODE=$(value ntasks-per-node) SLURM_NTASKS=$(value ntasks-per-node) SLURM_ARRAY_JOB_ID=4200
array=$(value array)
for index in $(seq ${array%%-*} $(echo ${array#*-} | sed 's/%.*//')); do
    SLURM_ARRAY_TASK_ID=$index SLURM_JOB_ID=$((4200 + index)) bash "$script" >"$script.$index.log" 2>&1 </dev/null &
done
echo "Submitted batch job 4200"
""",
    "srun": """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
for rank in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NODEID=0 SLURM_STEP_NUM_TASKS=$SLURM_NTASKS "$@" &
done
wait
""",
    "scontrol": "#!/bin/bash\necho localhost\n",
}


def sweep(folder: Path, *overrides: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, str]], Path]:
    """Run a sweep of two jobs with the installed command; the first job diverges."""
    (folder / "own_code.py").write_text(OWN_CODE)
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    for name, text in STUBS.items():
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    command = [Path(sys.executable).with_name("hrpose"), "fit", "-m", *SMALL, "optim.lr=1e30,1e-3", *overrides]
    done = subprocess.run(
        command, cwd=folder, env={**environment, "PATH": f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    (table,) = folder.rglob("sweep.csv")
    with table.open(newline="") as stream:
        return done, list(csv.DictReader(stream)), table.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=basic"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local"],
        ["hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"],
    ],
    ids=["basic", "joblib", "submitit_local", "submitit_slurm"],
)
def test_jobs_of_a_launcher_train_on_two_devices_and_a_diverging_one_does_not_stop_the_other(tmp_path, launcher):
    done, rows, folder = sweep(tmp_path, *launcher)
    assert [row["overrides"] for row in rows] == ["optim.lr=1e+30", "optim.lr=0.001"], done.stderr
    assert rows[0]["state"].startswith("failed: ")
    assert (rows[1]["state"], rows[1]["best"], rows[1]["epochs"]) == ("done", "*", "1")
    for number in ("0", "1"):
        assert sorted(path.name for path in (folder / number).glob("rank_*")) == ["rank_0_of_2", "rank_1_of_2"]
    assert (folder / "1" / "checkpoints" / "best.ckpt").is_file()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("hrpose: 1 of 2 jobs failed: optim.lr=1e+30 (")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "cause"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], "SIGKILL"),
        (["hydra/launcher=submitit_local"], "UncompletedJobError"),
    ],
    ids=["joblib", "submitit_local"],
)
def test_a_killed_process_of_a_launcher_ends_the_sweep_with_its_cause_and_the_table(tmp_path, launcher, cause):
    killed = ["+callbacks.kill={_target_: own_code.Kill}", "trainer.devices=1", "trainer.strategy=auto"]
    done, rows, _ = sweep(tmp_path, *launcher, *killed)
    assert {row["state"] for row in rows} <= {"not finished", "failed: training diverged"}
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("hrpose: hydra/launcher: ")]
    assert cause in message
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
