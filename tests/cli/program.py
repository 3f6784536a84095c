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
import hrpose.config.validate
import hrpose.tasks
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


def start(*arguments: str, cwd: Path, body: str = "", before: str = "", imports: bool = False, **environment: str) -> Process:
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
    task = textwrap.indent(body, "    ").strip() or "pass"
    text = PROGRAM.format(before=before, imports=imports, body=task)
    if not program.is_file() or program.read_text() != text:  # another process may be reading it
        program.write_text(text)
    return Process(program, arguments, cwd=cwd, environment={**os.environ, **environment})


def hrpose(
    *arguments: str, cwd: Path, body: str = "", before: str = "", imports: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    return start(*arguments, cwd=cwd, body=body, before=before, imports=imports, **environment).wait()


def lines(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.removeprefix(f"{start} ") for line in done.stdout.splitlines() if line.startswith(start)]


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob(".hydra"))
