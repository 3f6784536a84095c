"""The words of a command line: verbs, flags, and `key=value` for Hydra."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from hrpose.moved import replacement

VERBS = {
    "fit": "train a network and measure its AP",
    "test": "measure the AP of a checkpoint",
    "predict": "poses in photos, a video or from a camera: pictures and COCO results",
    "export": "write weights as one ONNX or OpenVINO file from uint8 crops to keypoints, and check it",
    "evaluate": "measure a COCO result file of any tool against its annotations",
    "compare": "two runs, reports or result files side by side: hrpose compare a b",
}
PLACES = {"compare": ("a", "b")}  # verbs that are followed by values without their keys
SWEEP = ("-m", "--multirun")
ELSEWHERE = ("--config-path", "-cp", "--config-name", "-cn", "--experimental-rerun")  # not a verb of ours

_WITH_VALUE = ("--config-dir", "-cd", *ELSEWHERE, "--package", "-p", "--cfg", "-c", "--info", "-i")
_FLAGS = (
    *_WITH_VALUE,
    *SWEEP,
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--shell-completion", "-sc"),
)
_CALLED_ELSEWHERE = {  # what other tools call our verbs
    **dict.fromkeys(("train", "training", "resume"), "fit"),
    **dict.fromkeys(("val", "validate", "eval"), "test"),
    **dict.fromkeys(("infer", "inference", "demo", "detect"), "predict"),
    **dict.fromkeys(("convert", "deploy"), "export"),
}


@dataclass(frozen=True)
class Command:
    """A command line taken apart.

    Attributes:
        verb: the first word.
        flags: those that begin with a dash, each followed by its value if it has one.
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

    def flag_faults(self) -> Iterator[str]:
        """Tell of flags that do not exist: other tools have `--key value` where here is `key=value`."""
        for position, flag in enumerate(self.flags):
            follower = "".join(self.flags[position + 1 : position + 2])
            name, _, value = flag.partition("=")
            if flag.startswith("-") and name not in _FLAGS:
                value = value or (follower if not follower.startswith("-") else "")
                key = name.lstrip("-").replace("-", "_")
                yield f"{name}: there is no such flag. Values are given without dashes: {key}={value or '...'}."


def parse(verb: str, words: Sequence[str]) -> Command:
    """Part flags from overrides, which may be mixed; `+experiment=x` becomes `experiment=x`."""
    # Hydra comes in here, a fifth of a second
    from hrpose.config.overrides import normalise_override

    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    places = list(PLACES.get(verb, ()))
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            is_bare = "=" not in word and not word.startswith("~")
            if is_bare and places:
                word = f"{places.pop(0)}={word}"
            overrides.append(normalise_override(word))
            continue
        flags.append(word)
        takes_value = word in _WITH_VALUE or (word not in _FLAGS and "=" not in word)
        if takes_value and rest and "=" not in rest[0] and not rest[0].startswith("-"):
            flags.append(rest.pop(0))
    return Command(verb, tuple(flags), tuple(overrides))


def advise_verb(word: str) -> str:
    """Say which verb was probably meant, or what replaces one that is gone."""
    if new := replacement(f"hrpose {word}"):
        return f"Use {new}."
    close = get_close_matches(word, VERBS, n=1)
    meant = _CALLED_ELSEWHERE.get(word) or (close[0] if close else None)
    return f"Did you mean {meant}?" if meant else f"There are {', '.join(VERBS)}; see hrpose --help."
