"""Names of a package that are imported when they are first used, so that its light parts stay light."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from hrpose.errors import MissingLibraryError


def import_optional(name: str, use: str, requirement: str) -> Any:
    """Import a library that only some uses need.

    Args:
        name: of the module.
        use: what needs it, for the message.
        requirement: what to install.

    Raises:
        MissingLibraryError: in one line, with the command that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # the library is there, and lacks another
        raise MissingLibraryError(
            f"{use}: it needs {name.partition('.')[0]}, not installed here: pip install '{requirement}'."
        ) from error


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package (PEP 562) whose names are defined in its submodules.

    Args:
        package: the package's `__name__`.
        homes: the submodule of each name, relative to the package; a submodule that is itself a public name is its own home.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = import_module(f"{package}.{homes[name]}")
        return module if homes[name] == name else getattr(module, name)

    def list_names() -> list[str]:
        return sorted({*vars(import_module(package)), *homes})

    return get, list_names
