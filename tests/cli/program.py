"""The command line with a task that prints what it was given, in a process of its own."""

import os
import subprocess
import textwrap
from pathlib import Path

from processes import Process

# Runs the command line with a task that prints what it was given, and needs no torch.
PROGRAM = """
import os, sys
{before}
import hrpose.tasks
def run(verb, cfg):
    print("JOB", verb, cfg.name, cfg.seed, cfg.optim.lr, cfg.paths.run, os.environ.get("LOCAL_RANK"))
    print("ARGV", sys.argv)
    os.environ["LOCAL_RANK"] = os.environ["MASTER_PORT"] = "0"
    {body}
hrpose.tasks.run = run
from hrpose import conf_dir
from hrpose.cli import main
sys.exit(main())
"""


def start(*words: str, cwd: Path, body: str = "", before: str = "", **environment: str) -> Process:
    """Start the command; `body` is what the task does, `before` runs before anything is imported."""
    program = cwd / "program.py"
    program.write_text(PROGRAM.format(before=before, body=textwrap.indent(body, "    ").strip() or "pass"))
    return Process(program, words, cwd=cwd, environment={**os.environ, **environment})


def hrpose(
    *words: str, cwd: Path, body: str = "", before: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return start(*words, cwd=cwd, body=body, before=before, **environment).wait()


def lines(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.removeprefix(f"{start} ") for line in done.stdout.splitlines() if line.startswith(start)]


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob(".hydra"))
