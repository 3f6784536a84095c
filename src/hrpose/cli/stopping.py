"""How a command ends that is stopped from outside: by Ctrl-C (SIGINT) or by a scheduler (SIGTERM)."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class StopSignal:
    """The signal that has come; 0 for none."""

    number: int = 0

    @property
    def status(self) -> int:
        """The exit status that shells expect: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def report(self, place: str, advice: str) -> int:
        """Print one line, from the first process only, and return the exit status."""
        if os.environ.get("LOCAL_RANK", "0") == "0":
            how = "terminated" if self.number == signal.SIGTERM else "interrupted"
            print(f"hrpose: {how}{place}. {advice}", file=sys.stderr)
        return self.status


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM within the block, and note which one came.

    Lightning ends both in the same way then, processes that it has started included. It hides SIGTERM in a SystemExit without
    a status otherwise, and KeyboardInterrupt in one with the status 1.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        stop.number = stop.number or number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def advise_resume(words: Sequence[str], checkpoint: Path | str | None) -> str:
    """Give the command that goes on.

    Args:
        words: verb, flags and overrides of the job.
        checkpoint: what it goes on from: a file, or "last"; None where nothing is kept, and the job starts again.
    """
    if checkpoint is None:
        return f"To start again: {shlex.join(['hrpose', *words])}"
    kept = [word for word in words if not word.startswith("ckpt_path=")]
    return f"To go on: {shlex.join(['hrpose', *kept, f'ckpt_path={checkpoint}'])}"
