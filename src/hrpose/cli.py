"""The command `hrpose`: a verb, then Hydra's words.

Hydra, and the rest of the library, are imported when a verb needs them, so that `hrpose --help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = {
    "fit": "train a network and measure its AP",
    "test": "measure the AP of a checkpoint",
    "predict": "poses in photos, a video or from a camera: pictures and COCO results",
    "export": "write weights as one ONNX, OpenVINO or TorchScript file from bytes to keypoints, and check it",
    "evaluate": "measure a COCO result file of any tool against its annotations",
    "compare": "two runs, reports or result files side by side: hrpose compare a b",
    "bench": "measure speed and codecs: hrpose bench data, inference, metric or codecs",
}
_SUBJECTS = {"bench": ("codecs", "data", "inference", "metric")}  # verbs that are followed by a word of their own
_PLACES = {"compare": ("a", "b")}  # verbs that are followed by values without their keys

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
  hrpose export format=onnx ckpt_path=last              one file from bytes to keypoints, checked against torch
  hrpose evaluate annotations=gt.json results=res.json  measure results of any tool
  hrpose compare runs/one/<time> runs/other/<time>      is the one better, or is it chance?

Flags
  <verb> --help        the groups of a verb and their options
  <verb> --cfg job     show the configuration instead of running it
  <verb> --info        show where it comes from
  <verb> -m            run once for each combination of comma-separated values
  <verb> --config-dir  a folder with configuration files of your own
  --version            the version
  eval "$(hrpose -sc install=bash)"   complete words with the tab key (also fish, zsh)

A word may stand anywhere behind the verb. Set HYDRA_FULL_ERROR=1 to see where an error came from."""

_WITH_VALUE = (
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"),
    *("--package", "-p", "--cfg", "-c", "--info", "-i", "--experimental-rerun"),
)
_SWEEP = ("-m", "--multirun")
_ELSEWHERE = ("--config-path", "-cp", "--config-name", "-cn", "--experimental-rerun")  # not a verb of ours
_NO_COMMON_FOLDER = (
    "paths.run: torchrun or srun has started several processes, and each would make a folder of its own. "
    "Give them one: paths.run=runs/<name>/<folder>."
)


@dataclass(frozen=True)
class Command:
    """A command line taken apart.

    Attributes:
        verb: the first word.
        flags: Hydra's flags, each followed by its value if it has one.
        overrides: the other words, normalised.
    """

    verb: str
    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    def has(self, *flags: str) -> bool:
        """Tell whether one of some flags is given."""
        return any(flag.partition("=")[0] in flags for flag in self.flags)

    @property
    def config_dir(self) -> str | None:
        """The user's own configuration folder."""
        for position, flag in enumerate(self.flags):
            name, _, value = flag.partition("=")
            if name in ("--config-dir", "-cd"):
                return value or "".join(self.flags[position + 1 : position + 2])
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words behind `hrpose`; those of the process by default.

    Returns:
        The exit status: 0; 1 for a fault of the configuration; 2 for an unknown verb; 3 if some photos could not be used.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {verb:9}{summary}" for verb, summary in VERBS.items())))
        return 0
    if "--version" in words:
        # help does without the version
        from hrpose import __version__

        print(f"hrpose {__version__}")
        return 0
    if "-sc" in words or "--shell-completion" in words:
        return _complete([word for word in words if "=" in word])
    if words[0] not in VERBS:
        close = get_close_matches(words[0], VERBS, n=1)
        advice = f"Did you mean {close[0]}?" if close else f"There are {', '.join(VERBS)}; see hrpose --help."
        print(f"hrpose: there is no verb '{words[0]}'. {advice}", file=sys.stderr)
        return 2
    return _run(words[0], words[1:])


def parse(verb: str, words: Sequence[str]) -> Command:
    """Part flags from overrides, which may be mixed; `+experiment=x` becomes `experiment=x`."""
    # Hydra comes in here, a fifth of a second
    from hrpose.config.overrides import normalise_override

    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    places = list(_PLACES.get(verb, ()))
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            is_bare = "=" not in word and not word.startswith("~")
            if is_bare and verb in _SUBJECTS:
                word = f"{verb}={word}"
            elif is_bare and places:
                word = f"{places.pop(0)}={word}"
            overrides.append(normalise_override(word))
            continue
        flags.append(word)
        if word in _WITH_VALUE and rest and "=" not in rest[0] and not rest[0].startswith("-"):
            flags.append(rest.pop(0))
    return Command(verb, tuple(flags), tuple(overrides))


def _run(verb: str, words: Sequence[str]) -> int:
    """Check the configuration, of every job of a sweep, before Hydra makes the first folder; then let Hydra run it."""
    # Hydra comes in here
    from hrpose.config import ConfigError

    command = parse(verb, words)
    try:
        _check(command)
    except ConfigError as error:
        return _refuse(error)
    try:
        _hand_to_hydra(command, _job(command, list(sys.argv)))
    except KeyboardInterrupt:
        print("hrpose: interrupted", file=sys.stderr)
        return 130
    return 0


def _check(command: Command) -> None:
    """Compose and validate all jobs; what is only to be shown may have faults that its composition forgives.

    Raises:
        ConfigError: with the faults of all jobs.
    """
    # Hydra comes in here
    from hrpose.config import ConfigError, check, compose
    from hrpose.config.overrides import expand_sweep

    if command.has("--help", "-h", "--hydra-help", *_ELSEWHERE):
        return
    own = [f"hydra.searchpath=[file://{Path(command.config_dir).absolute()}]"] if command.config_dir else []
    faults: list[str] = [_NO_COMMON_FOLDER] if _lacks_common_folder(command) else []
    shown_only = command.has("--cfg", "-c", "--info", "-i")
    expanded = expand_sweep(command.overrides) if command.has(*_SWEEP) else [command.overrides]
    jobs = [[*job, *own] for job in expanded]
    for job in jobs:
        try:
            (compose if shown_only else check)(command.verb, job)
        except ConfigError as error:
            faults += error.faults
    if not faults and not shown_only and command.verb == "fit":
        faults = _rehearse(jobs)
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _rehearse(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Find the jobs of a sweep over networks, codecs or losses whose three do not belong together: not after others have run."""
    # Hydra comes in here
    from hrpose.config import ConfigError, compose

    configs = [compose("fit", job) for job in jobs]
    unlike = {str([cfg.get(part) for part in ("model", "codec", "loss")]): cfg for cfg in configs}
    if len(unlike) < 2:
        return []
    # torch comes in here; a single job looks for itself, when it is assembled
    from hrpose.tasks.rehearsal import rehearse_config

    faults: list[str] = []
    for cfg in unlike.values():
        try:
            rehearse_config(cfg)
        except ValueError as error:
            faults += error.faults if isinstance(error, ConfigError) else [str(error)]
    return faults


def _lacks_common_folder(command: Command) -> bool:
    """Tell whether another launcher than Lightning's has started several processes, and each would make a folder of its own."""
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    several = by_torchrun or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    return several and not any(word.startswith(("paths.run=", "hydra.run.dir=")) for word in command.overrides)


def _job(command: Command, argv: list[str]) -> Callable[["DictConfig"], Any]:
    """Make what Hydra calls for each job."""

    def job(cfg: "DictConfig") -> Any:
        # Hydra comes in here
        from hrpose.config import ConfigError
        from hrpose.tasks import run
        from hrpose.tasks.processes import relaunchable

        single = [argv[0], command.verb, *(flag for flag in command.flags if flag not in _SWEEP)]
        try:
            with relaunchable(cfg, argv, single):
                return run(command.verb, cfg)
        except (ValueError, OSError) as error:
            if not isinstance(error, ConfigError) and not _is_ours(error):
                raise
            sys.exit(_refuse(error))

    return job


def _hand_to_hydra(command: Command, task: Callable[["DictConfig"], Any]) -> None:
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


def _complete(words: Sequence[str]) -> int:
    """Answer the shell, or give it the script that asks."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    verb = typed[1] if len(typed) > 1 else ""
    if not any(word.startswith("query=") for word in words):
        verb = "fit"  # the script is the same for all verbs
    elif verb not in VERBS or (len(typed) == 2 and not line.endswith(" ")):
        print(" ".join(known for known in VERBS if known.startswith(verb)))
        return 0
    rest = [f"{verb}={word}" if word in _SUBJECTS.get(verb, ()) else word for word in typed[2:]]
    if verb in _PLACES:  # Hydra cannot read what has no key; the word that is being typed stays
        typing = [] if line.endswith(" ") else rest[-1:]
        rest = [word for word in rest[: len(rest) - len(typing)] if "=" in word] + typing
    os.environ["COMP_LINE"] = " ".join(["hrpose", *rest]) + (" " if line.endswith(" ") else "")
    _hand_to_hydra(Command(verb, ("--shell-completion",), tuple(words)), lambda cfg: None)
    return 0


def _is_ours(error: BaseException) -> bool:
    """Tell whether an error was raised by this library: its ValueErrors and OSErrors speak to the user, others need a trace."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)


def _refuse(error: BaseException) -> int:
    """Say what is wrong; with HYDRA_FULL_ERROR=1 also where."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"hrpose: {error}", file=sys.stderr)
    return int(getattr(error, "exit_status", 1))
