"""What is wrong with somebody's data, said once and with the way to mend it."""


class DataError(ValueError):
    """Data that cannot be used. The message names the file, the place in it, what was expected and how to mend it."""


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder that is not where it should be."""


class DataWarning(UserWarning):
    """Data that can be used in part: the message counts what is left out or assumed."""
