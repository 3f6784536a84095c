"""What a user is told about a faulty configuration."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches


class ConfigError(ValueError):
    """A configuration that cannot work, with all its faults.

    Args:
        faults: one text for each fault, opening with the full key it is about.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__(*faults)

    def __str__(self) -> str:
        """List the faults, one below the other."""
        indented = [fault.replace("\n", "\n    ") for fault in self.faults]
        if len(indented) == 1:
            return self.faults[0]
        return "\n".join([f"{len(indented)} faults in the configuration:", *(f"  - {fault}" for fault in indented)])


class OverrideError(ConfigError):
    """Words of a command line that do not fit; `sound` are the others."""

    sound: tuple[str, ...] = ()


def did_you_mean(name: str, choices: Iterable[str], *, prefix: str = "", cutoff: float = 0.6) -> str:
    """Return " Did you mean a, or b?" for the choices closest to a name, or nothing where none is close.

    Args:
        name: what the user wrote. Of a dotted name the last word is compared with its siblings first, then the whole with all
            choices, then the last word with all last words.
        choices: what exists.
        prefix: goes before every choice in the text.
        cutoff: how alike they must be, from 0 to 1.
    """
    known = list(dict.fromkeys(choices))
    parent, _, last = name.rpartition(".")
    siblings = {choice.rpartition(".")[2]: choice for choice in known if choice.rpartition(".")[0] == parent}
    close = [siblings[word] for word in _closest(last, list(siblings), cutoff)]
    close = close or _closest(name, known, max(cutoff, 0.75))
    if not close:
        words = _closest(last, sorted({choice.rpartition(".")[2] for choice in known}), max(cutoff, 0.75))
        close = [choice for choice in known if choice.rpartition(".")[2] in words][:3]
    if not close and len(name) > 1:
        close = [choice for choice in known if name in choice][:3]
    return f" Did you mean {', or '.join(prefix + choice for choice in close)}?" if close else ""


def _closest(name: str, choices: Sequence[str], cutoff: float) -> list[str]:
    """Give at most two choices: the most alike, and one that is nearly as much so."""
    close = get_close_matches(name, choices, n=2, cutoff=cutoff)
    alike = [SequenceMatcher(None, choice, name).ratio() for choice in close]
    return [
        choice for choice, ratio in zip(close, alike, strict=True) if alike[0] < 1 and ratio > alike[0] - 0.1
    ] or close[:1]
