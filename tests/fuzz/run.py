"""Call entry points with many mutated inputs and count what is no clear error.

    python tests/fuzz/run.py 10000                 # of every entry point
    python tests/fuzz/run.py 500 weights images    # of some
    python tests/fuzz/run.py 1 boxes --first 7241  # one input again

The input number n of an entry point is that of the seed n, on every machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hrpose.media.images import quiet_decoders

sys.path[:0] = [str(Path(__file__).parent)]

from entry_points import ENTRY_POINTS, call  # noqa: E402 - beside this file

SHOWN = 20  # faults of each entry point
SLOW = 10.0  # seconds of processor time for one input


def main() -> int:
    """Run the command line; the status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("entry_points", nargs="*", metavar="entry_point", help=", ".join(ENTRY_POINTS))
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    total = Counter[str]()
    for name in arguments.entry_points or ENTRY_POINTS:
        start, wrong = time.perf_counter(), 0
        for seed in range(arguments.first, arguments.first + arguments.count):
            folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
            before = time.process_time()
            with quiet_decoders():
                fault = call(name, seed, folder)
            if fault is None and time.process_time() - before > SLOW:
                fault = f"took {time.process_time() - before:.0f} s"
            shutil.rmtree(folder)
            if fault is not None:
                wrong += 1
                if wrong <= SHOWN:
                    print(f"  {name} --first {seed}: {fault}", flush=True)
        total.update(inputs=arguments.count, wrong=wrong)
        print(f"{name}: {arguments.count} inputs, {wrong} wrong, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{total['inputs']} inputs, {total['wrong']} that gave anything but a result or a clear error")
    return int(total["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
