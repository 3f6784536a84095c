"""Opening exported files."""

from __future__ import annotations

import json

import onnx
import pytest
import torch
from test_onnx import write_network
from tiny_export import CODECS, make_record

from hrpose.export import ExportedFileError, is_exported, open_exported


@pytest.mark.parametrize(("file", "answer"), [("a.onnx", True), ("a.xml", True), ("a.torchscript", False), ("a.ckpt", False)])
def test_exported_files_are_recognised_by_their_suffix(file, answer):
    assert is_exported(file) is answer


def test_a_record_that_belongs_to_another_file_is_refused(tmp_path):
    file = write_network(tmp_path / "a.onnx")
    model = onnx.load(str(file))
    model.metadata_props.add(key="hrpose", value=make_record(CODECS["dark"]).to_json())
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match=r"record.*inputs"):
        open_exported(file)
    del model.metadata_props[:]
    model.metadata_props.add(key="hrpose", value=json.dumps({"version": 1}))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match="record of hrpose"):
        open_exported(file)


def test_an_empty_batch_keeps_its_shape(tmp_path):
    network = open_exported(write_network(tmp_path / "a.onnx", batch="batch"))
    assert network(torch.zeros(0, 3, 8, 6)).shape == (0, 3, 8, 6)
