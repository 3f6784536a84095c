"""OpenVINO files: two of them, and both have to be sound."""

from __future__ import annotations

import pytest
from tiny_export import CODECS, make_net, make_record

from hrpose.backends import ExportedFileError, open_exported
from hrpose.export import write_export


def test_a_model_without_its_weights_is_refused(tmp_path):
    file = write_export(make_net(CODECS["heatmap"]), make_record(CODECS["heatmap"]), tmp_path / "a.xml", "openvino")
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ExportedFileError, match=r"at .*a\.bin, but there is none"):
        open_exported(file)


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<html/>")
    (tmp_path / "a.bin").write_bytes(b"abc")
    with pytest.raises(ExportedFileError, match="OpenVINO to open"):
        open_exported(tmp_path / "a.xml")
