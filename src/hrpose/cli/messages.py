"""What a run says on the screen: a line for each message, and for the user's mistakes a sentence instead of a trace."""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_PACKAGE = Path(__file__).parents[1]
# Of the machine, not of the program: it is enough to say what and where.
_OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


class LineFormatter(logging.Formatter):
    """The message alone; warnings and errors say that they are such. The configuration of Hydra names it."""

    def format(self, record: logging.LogRecord) -> str:
        """Give what stands on the screen."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Let warnings go the way of the log, to the screen and into the run's file, without the line of code they came from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        logging.getLogger("py.warnings").warning("%s", message)

    shown_before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before


def explains_itself(error: BaseException) -> bool:
    """Tell whether an error speaks to the user; others need a trace.

    Exceptions of our own classes and of Lightning's for misuse do, and so do the ValueErrors and OSErrors that this library
    raises, and what the machine refuses: files that may not be written, a full disk.
    """
    if type(error).__module__.partition(".")[0] == "hrpose":
        return True
    if type(error).__name__ == "MisconfigurationException":  # Lightning speaks to its user
        return True
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return True
    if not isinstance(error, ValueError | OSError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)


def refuse(error: BaseException) -> int:
    """Say what is wrong; with HYDRA_FULL_ERROR=1 also where. Return the exit status."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"hrpose: {_words_of(error)}", file=sys.stderr)
    return int(getattr(error, "exit_status", 1))


def _words_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
