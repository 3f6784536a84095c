"""What a run prints: a line for each message, and for mistakes of the user a message instead of a trace."""

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
# Of the machine, not of the program: what and where is enough.
_OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


class LineFormatter(logging.Formatter):
    """The message alone; warnings and errors say that they are such. The configuration of Hydra names it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for the screen."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}"


def log_to_screen() -> None:
    """Print warnings of the log until Hydra configures it.

    Lightning, which checks import before Hydra runs, prints its own messages if the root logger has no handler at this time.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler])


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Send warnings to the log, without the line of code that they come from."""

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
    """Check whether the message of an error is for the user; others need a trace.

    It is for exceptions of the classes of this library and of Lightning's for misuse, for the ValueErrors and OSErrors that
    this library raises, and for what the machine refuses: files that may not be written, a full disk.
    """
    if type(error).__module__.partition(".")[0] == "hrpose":
        return True
    if type(error).__name__ == "MisconfigurationException":
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
    """Print what is wrong, and with HYDRA_FULL_ERROR=1 raise it. Return the exit status."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"hrpose: {_text_of(error)}", file=sys.stderr)
    return int(getattr(error, "exit_status", 1))


def _text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
