"""Errors and warnings about the user's data."""


class DataError(ValueError):
    """Data that cannot be used. The message names the file, the place in it, what was expected and how to fix it."""

    def __str__(self) -> str:
        """Return the message alone, also where torch has put it behind the trace of a loader's process."""
        text = super().__str__()
        trace, name, message = text.rpartition(f"{type(self).__module__}.{type(self).__qualname__}: ")
        return message.strip() if name and trace.startswith("Caught ") else text


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder that does not exist."""


class DataWarning(UserWarning):
    """Data that can be used in part: the message counts what is left out or assumed."""
