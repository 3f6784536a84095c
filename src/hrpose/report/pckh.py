"""PCKh of MPII: its protocol, and its table on the screen and as a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hrpose.files import write_json
from hrpose.metrics.functional import PCKH_COLUMNS
from hrpose.report.protocol import NOT_STATED, FileStamp
from hrpose.report.table import make_table, say

_RULES = (
    "errors up to and including 0.5 head sizes are correct, a head size is 0.6 of the diagonal of the head box; Mean counts "
    'each labelled keypoint but pelvis and thorax; Mean@0.11 is what the authors\' code calls "Mean@0.1"'
)


@dataclass(frozen=True)
class PckhProtocol:
    """Everything that a PCKh depends on besides the network. None is not stated, as in a result file of another tool.

    Attributes:
        annotations: centers and scales of the crops.
        ground_truth: keypoints and head boxes.
        num_images: images.
        num_persons: persons.
        bbox_padding: factor by which boxes were enlarged.
        input_size: width and height of the crops in pixels.
        codec: codec that decoded the heatmaps.
        flip_test: whether the mirrored crop was averaged in.
    """

    annotations: FileStamp
    ground_truth: FileStamp
    num_images: int | None
    num_persons: int
    bbox_padding: float | None = None
    input_size: tuple[int, int] | None = None
    codec: str | None = None
    flip_test: bool | None = None

    def __str__(self) -> str:
        """Return the protocol in one line."""
        photos = "" if self.num_images is None else f"{self.num_images} photos and "
        if self.input_size is None:
            return f"{photos}{self.num_persons} persons of {self.ground_truth}; {NOT_STATED}: crops, codec, flip test; {_RULES}"
        width, height = self.input_size
        return (
            f"centers and scales of {self.annotations}, {photos}{self.num_persons} persons of "
            f"{self.ground_truth}, box padding {self.bbox_padding}, flip test {'on' if self.flip_test else 'off'}, "
            f"{self.codec} {width}x{height}; {_RULES}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers; what is not stated says so."""
        stated = {name: NOT_STATED if value is None else value for name, value in asdict(self).items()}
        size = NOT_STATED if self.input_size is None else list(self.input_size)
        return {"name": "mpii", **stated, "input_size": size, "rules": _RULES}


def show_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, console: Console) -> None:
    """Print the numbers of `PCKH_COLUMNS`, in percent, and below them the protocol; keypoints without labels stay empty."""
    table = make_table("PCKh of MPII, in percent", PCKH_COLUMNS)
    table.add_row(*("" if math.isnan(numbers[name]) else f"{numbers[name]:.1f}" for name in PCKH_COLUMNS))
    console.print(table)
    say(console, f"Measured with {protocol}")


def write_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, file: Path) -> None:
    """Write the numbers with their protocol as JSON; undefined ones are null."""
    write_json(file, {"protocol": protocol.to_dict(), "numbers": dict(numbers)}, undefined_as_null=True)
