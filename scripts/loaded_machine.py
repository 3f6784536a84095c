"""Measure a training on an idle machine and beside busy processes, with a fixed number of threads and with threads=auto.

python scripts/loaded_machine.py                                         the default training, about an hour on two cores
python scripts/loaded_machine.py trainer.limit_train_batches=20          a short training, with overrides of `hrpose fit`
python scripts/loaded_machine.py --busy 0 1 3 --threads auto 1 2         other loads and numbers of threads
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import torch


def main() -> int:
    """Print one row per training, alternating between the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="overrides of `hrpose fit`")
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 3], help="numbers of busy processes beside the training")
    parser.add_argument("--threads", nargs="+", default=["auto", "2"], help="values of `threads`")
    parser.add_argument("--repeats", type=int, default=1, help="number of trainings per setting")
    options = parser.parse_args()
    idle: dict[str, float] = {}
    print("busy  threads  command, s  training, s  steps/s  times idle  AP     changes", flush=True)
    for _ in range(options.repeats):
        for busy in options.busy:
            for threads in options.threads:
                seconds, training, steps, ap, changes = train(busy, [f"threads={threads}", *options.overrides])
                if busy == 0:
                    idle[threads] = training
                ratio = f"{training / idle[threads]:10.2f}" if threads in idle else f"{'-':>10}"
                row = f"{busy:4}  {threads:>7}  {seconds:10.0f}  {training:11.0f}  {steps / training:7.2f}  {ratio}"
                print(f"{row}  {ap:.3f}  {changes}", flush=True)
    return 0


def train(busy: int, overrides: list[str]) -> tuple[float, float, int, float, int]:
    """Run `hrpose fit` beside busy processes.

    Returns:
        Seconds of the command; seconds of the training with its validations; steps; AP; changes of the number of threads.
    """
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hrpose", "fit", f"paths.run={folder}/run", *overrides]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
            return seconds, *read_run(Path(folder) / "run")
    finally:
        for loop in loops:
            loop.kill()


def read_run(run: Path) -> tuple[float, int, float, int]:
    """Read the seconds of training, its steps, AP, and the changes of the number of threads from the folder of a run."""
    log = (run / "hrpose.log").read_text()
    start, end = (
        datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S")
        for found in (re.search(rf"\[([\d: -]+).*{text}", log) for text in ("M parameters", "Trainer.fit. stopped"))
        if found
    )
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    ap = next(state["score"][1] for name, state in content["callbacks"].items() if name == "RunProgress")
    changes = len(re.findall(r"Using \d+ threads? instead", log))
    return (end - start).total_seconds(), content["global_step"], ap, changes


if __name__ == "__main__":
    sys.exit(main())
