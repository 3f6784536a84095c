"""Which format a source has, and what is refused."""

from __future__ import annotations

import pytest

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError, MissingDataError


def test_an_unknown_format_is_refused_with_the_list(tmp_path) -> None:
    (tmp_path / "labels.txt").write_text("1 2 3")
    assert recognise(tmp_path / "labels.txt") is None
    with pytest.raises(DataError, match=r"(?s)format=.*yolo.*hrpose\.write_coco"):
        convert_labels(tmp_path / "labels.txt")


def test_a_source_must_exist(tmp_path) -> None:
    with pytest.raises(MissingDataError, match="nowhere"):
        convert_labels(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.pth", "best.ckpt", "w32.safetensors"])
def test_weights_are_for_another_tool(name) -> None:
    with pytest.raises(DataError, match=r"scripts/convert_weights\.py"):
        convert_labels(name)
