"""Kill training runs by SIGKILL, resume them, and compare their weights bit by bit with uninterrupted runs.

    python scripts/kill_and_resume.py /tmp/kills --kills 20 --output kills.json

At least a quarter of the kills happen during validations, and a quarter while checkpoints are written. The times of the others
are uniform over the whole run. Schedule, accumulation, workers and EMA are drawn at random.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))


def main(argv: Sequence[str] | None = None) -> int:
    """Kill the runs, print a table, and return 1 if a file is incomplete or a run ends with other weights."""
    parser = argparse.ArgumentParser(prog=Path(__file__).name, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of data and runs; it must not exist")
    parser.add_argument("--kills", type=int, default=20, help="number of runs to kill")
    parser.add_argument("--seed", type=int, default=0, help="seed of settings and times")
    parser.add_argument("--output", type=Path, help="write the kills to this JSON file")
    arguments = parser.parse_args(argv)
    # imported here, so that --help does not load torch
    from kills import Aim, Kill, KillRuns
    from rich.console import Console
    from rich.table import Table

    if arguments.folder.exists():
        parser.error(f"Expected a new folder, but {arguments.folder} exists.")
    quarter = -(-arguments.kills // 4)
    aims: list[Aim] = [*["validation"] * quarter, *["checkpoint"] * quarter, *["any"] * arguments.kills][: arguments.kills]
    settings = ("schedule", "accumulate", "workers", "ema")
    table = Table("killed during", "after s", *settings, "resumed at step", "partial", "identical")
    kills: list[Kill] = []
    for kill in KillRuns(arguments.folder, seed=arguments.seed).run(aims):
        kills.append(kill)
        chosen = (getattr(kill.setting, name) for name in settings)
        values = (kill.phase, kill.seconds, *chosen, kill.step, len(kill.torn))
        table.add_row(*map(str, values), "no" if kill.different else "yes")
        print(f"{len(kills)} of {len(aims)}: {kill}", file=sys.stderr)
        if arguments.output is not None:
            arguments.output.write_text(json.dumps([kill.to_dict() for kill in kills], indent=2))
    console = Console()
    console.print(table)
    same = sum(not kill.different for kill in kills)
    torn = sum(len(kill.torn) for kill in kills)
    phases = ", ".join(f"{count} during {phase}" for phase, count in Counter(kill.phase for kill in kills).most_common())
    console.print(f"{len(kills)} kills ({phases}): {torn} partial files, {same} of {len(kills)} runs end with identical weights.")
    return int(torn > 0 or same < len(kills))


if __name__ == "__main__":
    sys.exit(main())
