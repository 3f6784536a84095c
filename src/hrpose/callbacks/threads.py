"""The number of CPU threads of a run, chosen by the load of the machine.

The threads of a convolution wait for each other by spinning. While other processes use the processors, a training step with two
threads takes 10 to 30 times as long as with one. A few small convolutions show the same gap: `time_convolutions` measures them,
and `ThreadChoice` compares numbers of threads.
"""

import logging
import os
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.nn import functional as F

logger = logging.getLogger(__name__)

_MIN_SECONDS = 0.05  # of one measurement
_CLEARLY_FASTER = 1.25  # a smaller gain is no reason to change the number of threads
_SLOW_STEP = 5.0  # times the median; a slower step causes a new measurement
_MIN_STEPS, _MAX_STEPS = 5, 50  # steps for the median
_FIRST_PAUSE, _LAST_PAUSE = 5.0, 60.0  # seconds between measurements; the pause doubles while nothing changes
_MAX_SHARE = 0.03  # of the run's time that measurements may take


def time_convolutions(num_threads: int) -> float:
    """Return the median seconds per image of the forward and backward pass of a few convolutions, measured for 0.05 seconds.

    The batch is in proportion to the number of threads. Random number generators are not used. torch keeps the number of threads.
    """
    torch.set_num_threads(num_threads)
    with torch.inference_mode(False), torch.enable_grad():
        images = torch.ones(4 * num_threads, 32, 48, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
        weights = [torch.full((32, 32, 3, 3), 1 / 288, requires_grad=True) for _ in range(4)]
        passes: list[float] = []
        while sum(passes) < _MIN_SECONDS:
            start = time.perf_counter()
            outputs = images
            for weight in weights:
                outputs = F.conv2d(outputs, weight, padding=1).relu()
            torch.autograd.grad(outputs.sum(), [images, *weights])
            passes.append(time.perf_counter() - start)
    return statistics.median(passes) / len(images)


class ThreadChoice:
    """Decide how many threads to use: at the start, when steps become slow, and at growing intervals.

    A decision measures the largest number, its half, and so on down to one thread. It changes `number` only for a clear gain.

    Args:
        maximum: largest number of threads.
        measure: number of threads -> seconds per unit of work.
        clock: a function that returns seconds.
    """

    def __init__(self, maximum: int, measure: Callable[[int], float], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = self.number = maximum
        self._measure = measure
        self._clock = clock
        self._steps: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MAX_STEPS))
        self._pause = _FIRST_PAUSE
        self._not_before = clock()  # earliest time of a decision after a slow step
        self._next = clock() + self._pause

    def observe(self, kind: str, seconds: float) -> str | None:
        """Record a step, and decide again if it is slow for its kind ("train" or "test"), or if the next decision is due.

        Returns:
            A description of the change; None if nothing changes.
        """
        earlier = self._steps[kind]
        median = statistics.median(earlier) if len(earlier) >= _MIN_STEPS else float("inf")
        earlier.append(seconds)
        slow = self.number > 1 and seconds > _SLOW_STEP * median
        now = self._clock()
        if slow and now >= self._not_before:
            return self.decide(f" A step took {seconds / median:.0f} times the median.")
        return self.decide() if now >= self._next else None

    def decide(self, reason: str = "") -> str | None:
        """Measure, choose the number of threads, and return a description of the change, with the reason; None without one."""
        start, before = self._clock(), self.number
        candidates = {before, *(max(1, self.maximum >> halvings) for halvings in range(self.maximum.bit_length()))}
        seconds = {number: self._measure(number) for number in candidates}
        best = min(seconds, key=lambda number: seconds[number])
        gain = seconds[before] / seconds[best]
        if gain >= _CLEARLY_FASTER:
            self.number = best
        end = self._clock()
        self._pause = _FIRST_PAUSE if self.number != before or reason else min(2 * self._pause, _LAST_PAUSE)
        self._not_before = end + (end - start) / _MAX_SHARE
        self._next = max(self._not_before, end + self._pause)
        if self.number == before:
            return None
        threads = f"{self.number} thread{'s' if self.number > 1 else ''}"
        cause = " Other processes probably use the processors." if self.number < before else ""
        return f"Using {threads} instead of {before}: convolutions are {gain:.1f} times as fast.{reason}{cause}"


class TorchThreads(Callback):
    """Set the number of threads of torch for training, validation and test on a CPU.

    Checkpoints store the number in use, because two runs are equal to the bit only with the same number. A resumed run starts
    with it.

    Args:
        number: threads; "auto" chooses by the load of the machine. It has no effect if OMP_NUM_THREADS is set, on other devices
            than a CPU, with several processes, among which Lightning divides the processors, and for a compiled network, which
            torch compiles again for each other number.

    Raises:
        ValueError: if the number is below 1, or OMP_NUM_THREADS has another value.
    """

    def __init__(self, number: int | Literal["auto"] = "auto") -> None:
        variable = os.environ.get("OMP_NUM_THREADS")
        launched = "LOCAL_RANK" in os.environ  # Lightning sets the variable in such a process
        if number != "auto" and number < 1:
            raise ValueError(f"Expected `threads` to be auto or at least 1, found {number}.")
        if number != "auto" and variable is not None and variable != str(number) and not launched:
            raise ValueError(
                f"Expected one number of threads, found threads={number} and OMP_NUM_THREADS={variable}. "
                "Leave `threads` out, or unset the environment variable."
            )
        self.number = number
        self._choice: ThreadChoice | None = None
        self._before: int | None = None  # threads before the run
        self._stored: int | None = None
        self._step_start = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Store the number of threads in use."""
        return {"num_threads": torch.get_num_threads()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the number with which the resumed run starts."""
        self._stored = state_dict["num_threads"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the number of threads for training or test."""
        self._start(trainer)

    on_test_start = on_fit_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the number of threads for a validation outside of training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._start(trainer)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Restore the number of threads."""
        if self._before is not None:
            torch.set_num_threads(self._before)
            self._before = None

    on_exception = teardown

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._step_start = time.monotonic()

    on_validation_batch_start = on_test_batch_start = on_train_batch_start

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Record a step of training, validation or test."""
        if self._choice is not None:
            _report(self._choice.observe(str(trainer.state.stage), time.monotonic() - self._step_start))
            if torch.get_num_threads() != self._choice.number:  # a measurement leaves another one
                torch.set_num_threads(self._choice.number)

    on_validation_batch_end = on_test_batch_end = on_train_batch_end

    def _start(self, trainer: Trainer) -> None:
        self._before = torch.get_num_threads()
        if self.number != "auto":
            torch.set_num_threads(self.number)
        elif (
            "OMP_NUM_THREADS" not in os.environ and trainer.world_size == 1 and _is_on_cpu(trainer) and not _is_compiled(trainer)
        ):
            self._start_choice()
        number = torch.get_num_threads()
        if self._stored not in (None, number) and trainer.state.fn == TrainerFn.FITTING and _is_on_cpu(trainer):
            logger.info("Threads: %d, but %d in the checkpoint: weights may differ in the last bits.", number, self._stored)

    def _start_choice(self) -> None:
        """Choose by a measurement, unless a checkpoint or a previous training has determined the number."""
        if self._choice is None:
            maximum = torch.get_num_threads()
            self._choice = ThreadChoice(maximum, time_convolutions)
            if self._stored is None:
                _report(self._choice.decide())
            else:
                self._choice.number = min(self._stored, maximum)
        torch.set_num_threads(self._choice.number)


def _is_on_cpu(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type == "cpu"


def _is_compiled(trainer: Trainer) -> bool:
    return getattr(trainer.lightning_module, "compiled", False)


def _report(change: str | None) -> None:
    if change is not None:
        logger.info(change)
