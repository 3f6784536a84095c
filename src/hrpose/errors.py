"""The exceptions for mistakes of a user in data, configuration and arguments, and checks that raise them."""

import math
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any


class DataError(ValueError):
    """Data that cannot be used. The message names the file, the position in it, what was expected and how to fix it."""

    def __str__(self) -> str:
        """Return the message, without the traceback that torch adds to errors of a loader's process."""
        text = super().__str__()
        trace, name, message = text.rpartition(f"{type(self).__module__}.{type(self).__qualname__}: ")
        return message.strip() if name and trace.startswith("Caught ") else text


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder that does not exist."""


class MissingLibraryError(ModuleNotFoundError):
    """An optional library that is not installed. The message has the command that installs it."""


class DataWarning(UserWarning):
    """Data that can be used in part. The message counts what is dropped or assumed."""


class ConfigError(ValueError):
    """An invalid configuration, with all its faults.

    Args:
        faults: one message per fault, beginning with its full key.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__(*faults)

    def __str__(self) -> str:
        """List the faults, one per line."""
        indented = [fault.replace("\n", "\n    ") for fault in self.faults]
        if len(indented) == 1:
            return self.faults[0]
        return "\n".join([f"{len(indented)} faults in the configuration:", *(f"  - {fault}" for fault in indented)])


class OverrideError(ConfigError):
    """Invalid overrides; `sound` are the valid ones."""

    sound: tuple[str, ...] = ()


def check_counts(**counts: Any) -> None:
    """Raise ValueError unless every argument is a positive whole number."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected argument `{name}` to be a whole number of at least 1, but got {value!r}.")


def check_positive(name: str, value: Any, unit: str) -> None:
    """Raise ValueError unless the value is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"Expected argument `{name}` to be a positive number of {unit}, but got {value!r}.")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"Expected argument `{name}` to be one of {', '.join(map(str, choices))}, but got {value!r}.")


def list_names(names: Sequence[str], most: int = 5) -> str:
    """Return the first names for a message, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Check whether an error of Python, torch or OpenCV means that a process or a GPU has no memory left."""
    messages = ("out of memory", "can't allocate memory", "Insufficient memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in messages)


def import_optional(name: str, use: str, requirement: str) -> Any:
    """Import an optional library.

    Args:
        name: of the module.
        use: of the library, for the message.
        requirement: argument of `pip install`.

    Raises:
        MissingLibraryError: if it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # the library lacks another one
        library = name.partition(".")[0]
        raise MissingLibraryError(f"{use}: needs {library}, which is not installed: pip install '{requirement}'.") from error
