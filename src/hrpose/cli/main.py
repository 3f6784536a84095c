"""From a command line to a verb.

Hydra, and the rest of the library, are imported when a verb needs them, so that `hrpose --help` answers at once.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrpose.cli.arguments import OTHER_CONFIG, POSITIONAL, SWEEP, VERBS, Command, advise_verb, parse
from hrpose.cli.help import HELP_FLAGS, print_help
from hrpose.cli.jobs import JobLog, StopSignal, find_own_code, log_to_screen, make_job, refuse, stop_signals

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
hrpose trains, evaluates and measures top-down keypoint networks on COCO-format data.

  hrpose <verb> [key=value | group=option | flag] ...

Verbs
{verbs}

Examples
  hrpose fit                                            train a tiny HRNet on people drawn by code
  hrpose fit experiment=w32_256x192 paths.data=<coco>   train the paper's HRNet-W32 on COCO
  hrpose fit -m model=hrnet_w18,hrnet_w32 optim.lr=1e-3,5e-4   run every combination
  hrpose test ckpt_path=last                            measure the newest checkpoint
  hrpose predict source='photos/*.jpg' ckpt_path=last   draw the poses, and write them as COCO results
  hrpose export format=onnx ckpt_path=last              one file from uint8 crops to keypoints, checked against torch
  hrpose evaluate annotations=gt.json results=res.json  measure results of any tool
  hrpose convert mice/data.yaml                         labels of another tool, ready for fit
  hrpose doctor data.train_annotations=train.json data.train_images=images   check data before it trains
  hrpose compare runs/one/<time> runs/other/<time>      is the one better, or is it chance?

Flags
  <verb> --help        the keys of a verb, its groups and their options
  <verb> --cfg job     show the configuration instead of running it
  <verb> --info        show where it comes from
  <verb> -m            run once for each combination of comma-separated values
  <verb> --config-dir  a folder with configuration files of your own
  --version            the version
  eval "$(hrpose -sc install=bash)"   complete arguments with the tab key (also fish, zsh)

Flags and overrides may be mixed. Set HYDRA_FULL_ERROR=1 to see the traceback of an error."""

_SHOWN_ONLY = ("--cfg", "-c", "--info", "-i")  # flags that show a configuration
_NO_COMMON_FOLDER = (
    "paths.run: torchrun or srun has started several processes, and each would make a folder of its own. "
    "Give them one: paths.run=runs/<name>/<folder>."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments behind `hrpose`; those of the process by default.

    Returns:
        The exit status: 0; 1 for a fault of the configuration, or of data that `doctor` checks; 2 for an unknown verb; 3 if
        some images could not be used; 130 and 143 if Ctrl-C or SIGTERM has ended it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [arguments[1], "--help", *arguments[2:]]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {verb:9}{summary}" for verb, summary in VERBS.items())))
        return 0
    if "--version" in arguments:
        # help does without the version
        from hrpose import __version__

        print(f"hrpose {__version__}")
        return 0
    if "-sc" in arguments or "--shell-completion" in arguments:
        return complete([text for text in arguments if "=" in text])
    if arguments[0] not in VERBS:
        print(f"hrpose: there is no verb '{arguments[0]}'. {advise_verb(arguments[0])}", file=sys.stderr)
        return 2
    if any(argument in HELP_FLAGS for argument in arguments):
        try:
            print_help(arguments[0], arguments[1:])
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has enough, as in `hrpose fit --help | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return _run(arguments[0], arguments[1:])


def _run(verb: str, arguments: Sequence[str]) -> int:
    """Check the configuration, of every job of a sweep, before Hydra makes the first folder; then let Hydra run it."""
    log_to_screen()
    with stop_signals() as stop:
        log = JobLog(Command(verb, (), ()), [verb, *arguments])
        try:
            log.command = parse(verb, arguments)
            find_own_code(log.command)
            return _run_jobs(log, stop)
        except BaseException as error:
            if not (stop.number or isinstance(error, KeyboardInterrupt)):
                raise
            return log.stopped(stop)


def _run_jobs(log: JobLog, stop: StopSignal) -> int:
    # Hydra comes in here
    from hrpose.config import ConfigError, claimed_folders, compose_sweep

    command = log.command
    try:
        configs = _check(command)
    except ConfigError as error:
        return refuse(error)
    with claimed_folders(configs, "sweep" if command.has(*SWEEP) else "run"):
        if command.has(*SWEEP) and not command.has(*_SHOWN_ONLY, "--hydra-help", *OTHER_CONFIG):
            # slow to import
            from hrpose.tasks.sweep import forget_jobs

            cfg = compose_sweep(command.verb, [*command.overrides, *_search_path(command)])
            log.sweep = Path(str(cfg.hydra.sweep.dir)).absolute()
            forget_jobs(log.sweep)
        try:
            hand_to_hydra(command, make_job(log, list(sys.argv), stop))
        except SystemExit:  # of Hydra, which has printed why the launcher failed
            if stop.number:
                raise
            log.finish()
            raise
    status = log.finish()
    return stop.status if stop.number == signal.SIGTERM else status


def _check(command: Command) -> list["DictConfig"]:
    """Compose and validate all jobs; what is only to be shown may have faults that its composition forgives.

    Returns:
        The configurations of the jobs that need a folder.

    Raises:
        ConfigError: with the faults of all jobs, or because their folder cannot be made.
    """
    # Hydra comes in here
    from hrpose.config import ConfigError, advise_flag, check, compose, expand_jobs, open_run_folder

    if command.has("--hydra-help", *OTHER_CONFIG):
        return []
    faults = [
        f"{flag}: there is no such flag. {advise_flag(command.verb, flag, value)}"
        for flag, value in command.unknown_flags
    ]
    faults += [f"'{text}' has spaces around its '='. Write {text}." for text in command.spaced]
    if _lacks_common_folder(command):
        faults.append(_NO_COMMON_FOLDER)
    own = _search_path(command)
    if command.config_dir and not Path(command.config_dir).is_dir():
        raise ConfigError(*faults, f"--config-dir: there is no folder {command.config_dir}.")
    shown_only = command.has(*_SHOWN_ONLY)
    expanded = expand_jobs(command.verb, [*command.overrides, *own]) if command.has(*SWEEP) else [command.overrides]
    jobs = [[*job, *(text for text in own if text not in job)] for job in expanded]
    for job in jobs:
        try:
            (compose if shown_only else check)(command.verb, job)
        except ConfigError as error:
            faults += error.faults
    if not faults and not shown_only:
        faults = _check_parts(command.verb, jobs)
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    if not jobs or shown_only:
        return []
    open_run_folder(compose(command.verb, jobs[0]))
    if any(text.startswith(("hydra.run.dir=", "hydra.sweep.dir=")) for text in command.overrides):
        return []
    return [compose(command.verb, job) for job in jobs]


def _search_path(command: Command) -> list[str]:
    """Return the override that adds the user's own configuration folder."""
    return [f"hydra.searchpath=[file://{Path(command.config_dir).absolute()}]"] if command.config_dir else []


def _check_parts(verb: str, jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return what the parts of some job refuse; the last job is checked before the first one runs."""
    # Hydra, and torch for the verbs that train or test
    from hrpose import tasks
    from hrpose.config import ConfigError, compose

    faults: list[str] = []
    for job in jobs:
        try:
            tasks.check(verb, compose(verb, job))
        except ValueError as error:
            faults += error.faults if isinstance(error, ConfigError) else [str(error)]
    return faults


def _lacks_common_folder(command: Command) -> bool:
    """Check whether another launcher than Lightning's has started several processes, and each would make a folder of its own."""
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    several = by_torchrun or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    return several and not any(text.startswith(("paths.run=", "hydra.run.dir=")) for text in command.overrides)


if TYPE_CHECKING:
    from omegaconf import DictConfig


def hand_to_hydra(command: Command, task: Callable[["DictConfig"], Any]) -> None:
    """Call Hydra's main with the flags behind the overrides, where it understands them."""
    # slow to import
    import hydra

    # and Hydra comes in with it
    from hrpose.config import conf_dir

    given = sys.argv
    program = "hrpose" if "install" in " ".join(command.overrides) else f"hrpose {command.verb}"
    sys.argv = [program, *command.overrides, *command.flags]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command.verb)(task)()
    finally:
        sys.argv = given


def complete(arguments: Sequence[str]) -> int:
    """Answer the shell, or give it the script that asks.

    Args:
        arguments: `query=<shell>` with the line typed so far in COMP_LINE, or `install=<shell>`.
    """
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    verb = typed[1] if len(typed) > 1 else ""
    if not any(argument.startswith("query=") for argument in arguments):
        verb = "fit"  # the script is the same for all verbs
    elif verb not in VERBS or (len(typed) == 2 and not line.endswith(" ")):
        print(" ".join(known for known in VERBS if known.startswith(verb)))
        return 0
    rest = typed[2:]
    if verb in POSITIONAL:  # Hydra cannot read what has no key; what is being typed stays
        typing = [] if line.endswith(" ") else rest[-1:]
        rest = [text for text in rest[: len(rest) - len(typing)] if "=" in text] + typing
    os.environ["COMP_LINE"] = " ".join(["hrpose", *rest]) + (" " if line.endswith(" ") else "")
    hand_to_hydra(Command(verb, ("--shell-completion",), tuple(arguments)), lambda cfg: None)
    return 0
