"""The arguments of a command line: a verb, flags, and overrides for Hydra."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

from hrpose.moved import replacement

VERBS = {
    "fit": "train a network and measure its AP",
    "test": "measure the AP of a checkpoint",
    "predict": "estimate poses in images, a video or a camera: pictures and COCO results",
    "export": "write weights as one ONNX or OpenVINO file from uint8 crops to keypoints, and check it",
    "evaluate": "measure a COCO result file of any tool against its annotations",
    "convert": "convert labels of annotation tools to COCO keypoint files: hrpose convert <source>",
    "doctor": "check annotations and images before training; without data, print versions for a bug report",
    "compare": "compare two runs, reports or result files: hrpose compare a b",
}
POSITIONAL = {"compare": ("a", "b"), "convert": ("source",)}  # keys that may be omitted, in this order
SWEEP = ("-m", "--multirun")
OTHER_CONFIG = ("--config-path", "-cp", "--config-name", "-cn", "--experimental-rerun")  # they replace the verb's configuration

_WITH_VALUE = ("--config-dir", "-cd", *OTHER_CONFIG, "--package", "-p", "--cfg", "-c", "--info", "-i")
_FLAGS = (
    *_WITH_VALUE,
    *SWEEP,
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--shell-completion", "-sc"),
)
_CFG_FLAG = ("--cfg", "-c"), ("job", "hydra", "all")  # Hydra's flag and its values; in other tools --cfg is a file
_OTHER_VERBS = {  # verbs of other tools
    **dict.fromkeys(("train", "training", "resume"), "fit"),
    **dict.fromkeys(("val", "validate", "eval"), "test"),
    **dict.fromkeys(("infer", "inference", "demo", "detect"), "predict"),
    "deploy": "export",
}


@dataclass(frozen=True)
class Command:
    """A parsed command line."""

    verb: str  # the first argument
    flags: tuple[str, ...]  # arguments that begin with a dash, each followed by its value if it has one
    overrides: tuple[str, ...]  # the other arguments, normalised
    spaced: tuple[str, ...] = ()  # overrides that were written with spaces around the `=`

    def has(self, *flags: str) -> bool:
        """Check whether one of the flags is given."""
        return any(flag.partition("=")[0] in flags for flag in self.flags)

    @property
    def config_dir(self) -> str | None:
        """The user's own configuration folder."""
        return next((value for flag, value in self._flag_values() if flag in ("--config-dir", "-cd")), None)

    @property
    def names_own_code(self) -> bool:
        """Check whether the command may name a custom class, which may be in the current folder."""
        return self.config_dir is not None or any("_target_" in text for text in self.overrides)

    @property
    def unknown_flags(self) -> list[tuple[str, str]]:
        """The flags that do not exist, each with its value or ""."""
        shown, values = _CFG_FLAG
        pairs = self._flag_values()
        return [(flag, value) for flag, value in pairs if flag not in _FLAGS or (flag in shown and value not in values)]

    def _flag_values(self) -> list[tuple[str, str]]:
        """Return the flags, each with its value or ""."""
        followed = [(*flag.partition("="), after) for flag, after in pairwise([*self.flags, "-"]) if flag.startswith("-")]
        return [(name, value if after.startswith("-") else after) for name, _, value, after in followed]


def parse(verb: str, arguments: Sequence[str]) -> Command:
    """Separate flags from overrides, which may be mixed; `+experiment=x` becomes `experiment=x`."""
    # imports Hydra, which takes 0.2 s
    from hrpose.config.overrides import normalise_overrides

    flags: list[str] = []
    overrides: list[str] = []
    rest, spaced = _join_spaced(arguments)
    keys = list(POSITIONAL.get(verb, ()))
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            is_bare = "=" not in argument and not argument.startswith("~")
            if is_bare and keys:
                argument = f"{keys.pop(0)}={argument}"
            overrides.append(argument)
            continue
        flags.append(argument)
        takes_value = argument in _WITH_VALUE or (argument not in _FLAGS and "=" not in argument)
        if takes_value and rest and "=" not in rest[0] and not rest[0].startswith("-"):
            flags.append(rest.pop(0))
    return Command(verb, tuple(flags), tuple(normalise_overrides(overrides)), tuple(spaced))


def _join_spaced(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Join `key = value`, `key= value` and `key =value`; return all arguments, and those that were joined."""
    joined: list[str] = []
    spaced: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ""
        is_open = before.endswith("=") and not before.startswith("-") and "=" not in argument
        if (argument.startswith("=") and "=" not in before and not before.startswith("-") and before) or (
            is_open and not argument.startswith(("-", "~"))
        ):
            joined[-1] += argument
            spaced = [*(text for text in spaced if text != before), joined[-1]]
        else:
            joined.append(argument)
    return joined, [text for text in spaced if not text.endswith("=")]


def advise_verb(argument: str) -> str:
    """Suggest a verb for an unknown one."""
    if new := replacement(f"hrpose {argument}"):
        return f"Use {new}."
    close = get_close_matches(argument, VERBS, n=1)
    meant = _OTHER_VERBS.get(argument) or (close[0] if close else None)
    return f"Did you mean {meant}?" if meant else f"There are {', '.join(VERBS)}; see hrpose --help."
