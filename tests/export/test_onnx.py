"""ONNX files: the location of their weights, and the form of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hrpose.export import ExportedFileError, ExportedNetwork, open_exported
from hrpose.export.onnx import open_onnx


def write_network(
    file: Path, *, batch: int | str = 1, shape=(3, 8, 6), scale: np.ndarray | None = None, external: dict | None = None
) -> Path:
    """Write a network that multiplies its input by a factor for each channel, optionally with external weights."""
    factors = np.arange(1, 4, dtype=np.float32).reshape(1, 3, 1, 1) if scale is None else scale
    tensor = numpy_helper.from_array(factors, "factors")
    if external is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in external.items():
            tensor.external_data.add(key=key, value=str(value))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape]) for name in ("images", "heatmaps")]
    graph = helper.make_graph([helper.make_node("Mul", ["images", "factors"], ["heatmaps"])], "g", ports[:1], ports[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_a_network_runs_in_batches_of_the_fixed_size_of_its_file(tmp_path, batch):
    network = open_exported(write_network(tmp_path / "a.onnx", batch=batch))
    assert isinstance(network, ExportedNetwork)
    images = torch.randn(5, 3, 8, 6)
    expected = images * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    assert torch.equal(network(images), expected)
    network.check_channels(3, (6, 8))
    with pytest.raises(ExportedFileError, match=r"17 heatmaps.*3"):
        network.check_channels(17, (6, 8))
    with pytest.raises(ValueError, match="codec's input_size"):
        network(torch.zeros(1, 3, 16, 6))


def test_weights_in_the_folder_of_the_file_are_read(tmp_path):
    (tmp_path / "w.bin").write_bytes(np.array([4, 5, 6], np.float32).tobytes())
    network = open_exported(write_network(tmp_path / "a.onnx", external={"location": "w.bin", "offset": 0, "length": 12}))
    assert torch.equal(network(torch.ones(1, 3, 8, 6))[0, :, 0, 0], torch.tensor([4.0, 5.0, 6.0]))


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "..\\secret.bin", "", "C:/secret.bin"]
)
def test_weights_outside_the_folder_are_not_read(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (tmp_path / "models").mkdir()
    file = write_network(tmp_path / "models" / "a.onnx", external={"location": location, "offset": 0, "length": 12})
    with pytest.raises(ExportedFileError, match="'factors'"):
        open_onnx(file)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.bin").symlink_to(tmp_path / "secret.bin")
    file = write_network(tmp_path / "models" / "a.onnx", external={"location": "w.bin", "offset": 0, "length": 12})
    with pytest.raises(ExportedFileError, match=r"weights.*folder"):
        open_onnx(file)


@pytest.mark.parametrize(
    ("external", "message"),
    [
        ({"location": "v.bin"}, r"'v.bin'"),
        ({"location": "w.bin", "offset": 8, "length": 12}, r"8.*12"),
        ({"location": "w.bin", "offset": -4, "length": 12}, "from byte -4"),
    ],
)
def test_truncated_weights_are_refused(tmp_path, external, message):
    (tmp_path / "w.bin").write_bytes(bytes(12))
    with pytest.raises(ExportedFileError, match=message):
        open_onnx(write_network(tmp_path / "a.onnx", external=external))


def test_weights_in_a_subgraph_are_checked_too(tmp_path):
    file = write_network(tmp_path / "a.onnx")
    model = onnx.load(str(file))
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    hidden.external_data.add(key="location", value="../secret.bin")
    inner = helper.make_graph([helper.make_node("Constant", [], ["inner"], value=hidden)], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match=r"'hidden' is at '\.\./secret\.bin'"):
        open_onnx(file)


def test_implausible_sizes_are_refused(tmp_path):
    file = write_network(tmp_path / "a.onnx")
    model = onnx.load(str(file))
    model.graph.initializer[0].dims[:] = [2**40, 3]
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match="'factors'"):
        open_onnx(file)
    with pytest.raises(ExportedFileError, match="8192"):
        open_onnx(write_network(tmp_path / "b.onnx", shape=(3, 100_000, 6)))


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "bytes"), (b"<html>not found</html>", "ONNX"), (b"\x08\x09", "it holds no graph")]
)
def test_a_file_that_is_not_onnx_is_refused(tmp_path, content, message):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ExportedFileError, match=message):
        open_exported(tmp_path / "a.onnx")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ExportedFileError, match="but there is none"):
        open_exported(tmp_path / "a.onnx")
    with pytest.raises(ExportedFileError, match=r"a\.tflite"):
        open_exported(tmp_path / "a.tflite")


def test_a_graph_that_is_not_a_network_is_refused(tmp_path):
    file = write_network(tmp_path / "a.onnx", shape=(5, 8, 6), scale=np.ones((1, 5, 1, 1), np.float32))
    with pytest.raises(ExportedFileError, match=r"\(B, 3, H, W\).*float32.*\(1, 5, 8, 6\)"):
        open_exported(file)
