"""Train a tiny network on four drawn people at several learning rates, and print the final loss and error of each seed.

python scripts/sweep_rates.py                          RLE, 40 steps: 30 seconds
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python scripts/sweep_rates.py       with the rounding of another processor
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from test_learning import WAYS, blind_error, learn  # the training is shared with the tests


def main() -> int:
    """Print one row of a Markdown table per learning rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=WAYS, default="rle", help="kind of network output")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 5e-3], help="learning rates of Adam")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| learning rate | instructions | loss after the last step, per seed | remaining error in %, per seed |")
    print("|---|---|---|---|")
    for rate in arguments.rates:
        ends = [learn(arguments.way, rate, seed, arguments.steps) for seed in range(arguments.seeds)]
        losses = ", ".join(f"{end.losses[-1]:.3g}" for end in ends)
        errors = ", ".join(f"{100 * end.error / blind_error():.0f}" for end in ends)
        print(f"| {rate:.0e} | {torch.backends.cpu.get_cpu_capability()} | {losses} | {errors} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
