"""List the experiments in docs/experiments.md, from the headers of their files: the numbers stand in those alone.

python scripts/list_experiments.py           rewrite the tables of the page
python scripts/list_experiments.py --check   say whether they are as the files have them
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "conf" / "experiment"
PAGE = ROOT / "docs" / "experiments.md"
BEGIN, END = "<!-- tables: scripts/list_experiments.py -->", "<!-- end of tables -->"
FAMILIES = {"w": "HRNet on COCO", "res": "SimpleBaseline on COCO", "hourglass": "Stacked Hourglass on COCO"}
FAMILIES["mpii"] = "HRNet and SimpleBaseline on MPII"
FAMILIES |= dict.fromkeys(("deeppose", "rle", "integral", "simcc"), "Coordinates and bins on COCO")
OTHERS = "Other data and heads"
MEASURES = ("AP", "AP50", "AP75", "APM", "APL", "AR")
MPII_MEASURES = ("PCKh", "Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean@0.11")


def main() -> int:
    """Write or check the page; the status is 1 where a check finds it outdated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    text = PAGE.read_text()
    fresh = with_tables(text, sorted(EXPERIMENTS.glob("*.yaml"), key=_in_order))
    if check:
        print(f"{PAGE} is {'as the experiments have it' if text == fresh else 'outdated: run this without --check'}")
        return int(text != fresh)
    PAGE.write_text(fresh)
    return 0


def with_tables(page: str, files: list[Path]) -> str:
    """Put the tables of some experiment files in the place of those of a page."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    sections = {title: [file for file in files if _family(file) == title] for title in (*FAMILIES.values(), OTHERS)}
    tables = [f"## {title}\n\n{table(members)}" for title, members in sections.items() if members]
    return f"{head}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{tail}"


def table(files: list[Path]) -> str:
    """Make the table of some experiment files: published numbers in percent, what is expected, what came out."""
    measures = MPII_MEASURES if _family(files[0]) == FAMILIES["mpii"] else MEASURES
    head = ["experiment", "what it is", *measures, f"expected {measures[0]}", "obtained"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row(file, measures))} |" for file in files)])


def row(file: Path, measures: tuple[str, ...]) -> list[str]:
    """Read the cells of an experiment off the header of its file."""
    lines = file.read_text().splitlines()[1:]
    title, *facts = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    said = {word: text.strip() for word, _, text in (fact.partition(" ") for fact in facts)}
    stated = said.get("paper", "")  # a remark, such as "none; another tool lists AP .753", begins with another word
    number = r"\.(\d\d)(\d)" if measures == MEASURES else r"(\d+)\.(\d)"  # AP is written as a share, PCKh in percent
    found = re.findall(rf"(\S+) {number}\b", stated) if stated.startswith(f"{measures[0]} ") else []
    percent = {name: f"{int(whole)}.{tenth}" for name, whole, tenth in found}
    numbers = [percent.get(name, "") for name in measures]
    return [f"`{file.stem}`", title.rstrip("."), *numbers, said["expected"], said["obtained"]]


def _family(file: Path) -> str:
    kind = re.match(r"[a-z]+", file.stem)
    return FAMILIES.get(kind.group() if kind else "", OTHERS)


def _in_order(file: Path) -> tuple[object, ...]:
    """Sort by family, then network, then size of the input, as numbers are sorted."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.stem))


if __name__ == "__main__":
    sys.exit(main())
