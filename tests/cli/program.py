"""The command line with a task that prints what it was given, in a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

# Runs the command line with a task that prints what it was given, and needs no torch.
PROGRAM = """
import os, sys
{before}
import hrpose.tasks
import hrpose.config.validate
if not {imports}:  # the parts of a configuration stay unimported, which saves seconds
    sys.modules["hrpose.config.validate"]._target_faults = lambda *args: ()
    hrpose.tasks.check = lambda *args: None
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


def start(
    *arguments: str, cwd: Path, body: str = "", before: str = "", imports: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """Start the command.

    Args:
        arguments: of the command line.
        cwd: the working directory.
        body: what the task does.
        before: runs before anything is imported.
        imports: whether the targets are imported and checked.
        environment: variables to add.
    """
    program = cwd / "program.py"
    program.write_text(
        PROGRAM.format(before=before, imports=imports, body=textwrap.indent(body, "    ").strip() or "pass")
    )
    return subprocess.Popen(
        [sys.executable, str(program), *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def hrpose(
    *arguments: str, cwd: Path, body: str = "", before: str = "", imports: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    return wait(start(*arguments, cwd=cwd, body=body, before=before, imports=imports, **environment))


def lines(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.removeprefix(f"{start} ") for line in done.stdout.splitlines() if line.startswith(start)]


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob(".hydra"))
