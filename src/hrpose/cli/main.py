"""The command `hrpose`. Hydra and most of the library are imported when a verb needs them, so that help is fast."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrpose.cli.arguments import OTHER_CONFIG, POSITIONAL, SWEEP, VERBS, Command, advise_verb, parse
from hrpose.cli.faults import explain_launcher
from hrpose.cli.help import HELP_FLAGS, print_help
from hrpose.cli.jobs import JobLog, StopSignal, find_own_code, log_to_screen, make_job, raised_by_hydra, refuse, stop_signals

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
hrpose trains, evaluates and runs keypoint networks on COCO-format data.

  hrpose <verb> [key=value | group=option | flag] ...

Verbs
{verbs}

Examples
  hrpose fit                                            train a tiny HRNet on drawn people
  hrpose fit experiment=w32_256x192 paths.data=<coco>   train the paper's HRNet-W32 on COCO
  hrpose fit -m model=hrnet_w18,hrnet_w32 optim.lr=1e-3,5e-4   run every combination
  hrpose test ckpt_path=last                            measure the newest checkpoint
  hrpose predict source='images/*.jpg' ckpt_path=last   draw the poses, and write them as COCO results
  hrpose export format=onnx ckpt_path=last              one file from uint8 crops to keypoints, checked against torch
  hrpose evaluate annotations=gt.json results=res.json  evaluate results of any tool
  hrpose convert mice/data.yaml                         convert labels of another tool for fit
  hrpose doctor data.train_annotations=train.json data.train_images=images   check data before training
  hrpose compare runs/one/<time> runs/other/<time>      compare two runs, with a p-value

Flags
  <verb> --help        show the keys of a verb, its groups and their options
  <verb> --cfg job     show the configuration instead of running it
  <verb> --info        show the sources of the configuration
  <verb> -m            run once for each combination of comma-separated values
  <verb> --config-dir  add a folder with your configuration files
  --version            show the version
  eval "$(hrpose -sc install=bash)"   complete arguments with the tab key (also fish, zsh)

Flags and overrides may be mixed. Set HYDRA_FULL_ERROR=1 to see the traceback of an error."""

_BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # runs the jobs in this process
_SHOWN_ONLY = ("--cfg", "-c", "--info", "-i")  # flags that show a configuration
_NO_COMMON_FOLDER = (
    "paths.run: expected one folder for all processes of torchrun or srun, otherwise each makes a folder. "
    "Set paths.run=runs/<name>/<folder>."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after `hrpose`; those of the process by default.

    Returns:
        The exit status: 0; 1 for a fault of the configuration, or of data that `doctor` checks; 2 for an unknown verb; 3 if
        some images could not be used; 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [arguments[1], "--help", *arguments[2:]]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        with _readers_may_stop():
            print(HELP.format(verbs="\n".join(f"  {verb:9}{summary}" for verb, summary in VERBS.items())))
        return 0
    if "--version" in arguments:
        # slow to import
        from hrpose import __version__

        print(f"hrpose {__version__}")
        return 0
    if "-sc" in arguments or "--shell-completion" in arguments:
        return complete([text for text in arguments if "=" in text])
    if arguments[0] not in VERBS:
        print(f"hrpose: there is no verb '{arguments[0]}'. {advise_verb(arguments[0])}", file=sys.stderr)
        return 2
    if any(argument in HELP_FLAGS for argument in arguments):
        with _readers_may_stop():
            print_help(arguments[0], arguments[1:])
        return 0
    return _run(arguments[0], arguments[1:])


@contextmanager
def _readers_may_stop() -> Iterator[None]:
    """Accept that the reader of standard output closes it, as in `hrpose --help | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(verb: str, arguments: Sequence[str]) -> int:
    """Parse and run a command; a signal ends it with one line."""
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
    # imports Hydra
    from hrpose.config import ConfigError, claimed_folders, compose_sweep

    command, launcher = log.command, _BASIC_LAUNCHER
    try:
        configs = _check(command)
    except ConfigError as error:
        return refuse(error)
    with claimed_folders(configs, "sweep" if command.has(*SWEEP) else "run"):
        if command.has(*SWEEP) and not command.has(*_SHOWN_ONLY, "--hydra-help", *OTHER_CONFIG):
            # slow to import
            from hrpose.tasks.sweep import remove_records

            cfg = compose_sweep(command.verb, [*command.overrides, *_search_path(command)])
            log.sweep = Path(str(cfg.hydra.sweep.dir)).absolute()
            remove_records(log.sweep)
            launcher = cfg.hydra.launcher._target_
        job = make_job(log, list(sys.argv), stop)
        try:
            with raised_by_hydra() if launcher != _BASIC_LAUNCHER else nullcontext():
                hand_to_hydra(command, job)
        except SystemExit:  # of Hydra, which has printed the error
            if stop.number:
                raise
            log.finish()
            raise
        except Exception as error:  # of the launcher
            if stop.number or os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            log.finish()
            print(f"hrpose: {explain_launcher(error)}", file=sys.stderr)
            return 1
    status = log.finish()
    return stop.status if stop.number == signal.SIGTERM else status


def _check(command: Command) -> list["DictConfig"]:
    """Compose and validate all jobs before Hydra makes the first folder; a configuration that is only shown is not validated.

    Returns:
        The configurations of the jobs that need a folder.

    Raises:
        ConfigError: with the faults of all jobs, or if their folder cannot be made.
    """
    # imports Hydra
    from hrpose.config import ConfigError, advise_flag, check, compose, expand_jobs, open_run_folder

    if command.has("--hydra-help", *OTHER_CONFIG):
        return []
    faults = [f"{flag}: there is no such flag. {advise_flag(command.verb, flag, value)}" for flag, value in command.unknown_flags]
    faults += [f"'{text}' has spaces around its '='. Write {text}." for text in command.spaced]
    if _lacks_common_folder(command):
        faults.append(_NO_COMMON_FOLDER)
    if command.config_dir and not Path(command.config_dir).is_dir():
        raise ConfigError(*faults, f"--config-dir: there is no folder {command.config_dir}.")
    shown_only = command.has(*_SHOWN_ONLY)
    texts = (*command.overrides, *_search_path(command))
    jobs = expand_jobs(command.verb, texts) if command.has(*SWEEP) else [texts]
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
    """Return the override that adds the folder of `--config-dir`."""
    return [f"hydra.searchpath=[file://{Path(command.config_dir).absolute()}]"] if command.config_dir else []


def _check_parts(verb: str, jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return the faults that the parts of any job have."""
    # imports Hydra, and torch for fit and test
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
    """Check whether torchrun or srun started several processes without a common folder."""
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    several = by_torchrun or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    return several and not any(text.startswith(("paths.run=", "hydra.run.dir=")) for text in command.overrides)


def hand_to_hydra(command: Command, task: Callable[["DictConfig"], Any]) -> None:
    """Call Hydra's main with the flags after the overrides, as it requires."""
    # slow to import
    import hydra

    # imports Hydra
    from hrpose.config import conf_dir

    given = sys.argv
    program = "hrpose" if "install" in " ".join(command.overrides) else f"hrpose {command.verb}"
    sys.argv = [program, *command.overrides, *command.flags]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command.verb)(task)()
    finally:
        sys.argv = given


def complete(arguments: Sequence[str]) -> int:
    """Print the completions of a command line, or the completion script of a shell.

    Args:
        arguments: `query=<shell>`, with the command line in COMP_LINE, or `install=<shell>`.
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
    if verb in POSITIONAL:  # Hydra cannot read values without a key, except the one that is typed
        typing = [] if line.endswith(" ") else rest[-1:]
        rest = [text for text in rest[: len(rest) - len(typing)] if "=" in text] + typing
    os.environ["COMP_LINE"] = " ".join(["hrpose", *rest]) + (" " if line.endswith(" ") else "")
    hand_to_hydra(Command(verb, ("--shell-completion",), tuple(arguments)), lambda cfg: None)
    return 0
