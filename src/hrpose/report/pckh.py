"""PCKh of MPII: its protocol, and its table on the screen and as JSON."""

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
    "keypoints with an error of at most 0.5 head sizes are correct, a head size is 0.6 of the diagonal of the head box; Mean is "
    'over all labelled keypoints except pelvis and thorax; Mean@0.11 is "Mean@0.1" of the authors\' code'
)


@dataclass(frozen=True)
class PckhProtocol:
    """All conditions of a PCKh besides the network. None means not stated, as for result files of other tools.

    Attributes:
        annotations: file with centers and scales of the crops.
        ground_truth: file with keypoints and head boxes.
        num_images: number of images.
        num_instances: number of instances.
        bbox_padding: factor by which boxes were enlarged.
        input_size: width and height of the crops in pixels.
        codec: that decoded the outputs.
        flip_test: whether outputs were averaged with those of mirrored crops.
    """

    annotations: FileStamp
    ground_truth: FileStamp
    num_images: int | None
    num_instances: int
    bbox_padding: float | None = None
    input_size: tuple[int, int] | None = None
    codec: str | None = None
    flip_test: bool | None = None

    def __str__(self) -> str:
        """Return the protocol in one line."""
        images = "" if self.num_images is None else f"{self.num_images} images and "
        if self.input_size is None:
            return f"{images}{self.num_instances} persons of {self.ground_truth}; {NOT_STATED}: crops, codec, flip test; {_RULES}"
        width, height = self.input_size
        return (
            f"centers and scales of {self.annotations}, {images}{self.num_instances} persons of "
            f"{self.ground_truth}, box padding {self.bbox_padding}, flip test {'on' if self.flip_test else 'off'}, "
            f"{self.codec} {width}x{height}; {_RULES}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, with "not stated" for None."""
        stated = {name: NOT_STATED if value is None else value for name, value in asdict(self).items()}
        size = NOT_STATED if self.input_size is None else list(self.input_size)
        return {"name": "mpii", **stated, "input_size": size, "rules": _RULES}


def show_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, console: Console) -> None:
    """Print the numbers of `PCKH_COLUMNS` in percent, empty without labels, and the protocol."""
    table = make_table("PCKh of MPII, in percent", PCKH_COLUMNS)
    table.add_row(*("" if math.isnan(numbers[name]) else f"{numbers[name]:.1f}" for name in PCKH_COLUMNS))
    console.print(table)
    say(console, f"Protocol: {protocol}")


def write_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, file: Path) -> None:
    """Write the numbers with their protocol as JSON; undefined ones are null."""
    write_json(file, {"protocol": protocol.to_dict(), "numbers": dict(numbers)}, undefined_as_null=True)
