"""Detectors in ONNX files of a few nodes."""

import sys
from pathlib import Path

import numpy as np
import pytest

import hrpose

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  only where onnx is there

IMAGE = np.zeros((30, 60, 3), np.uint8)  # scaled by 64 / 60 into a square of 64
IMAGE[...] = (10, 20, 30)
ZOOM = 64 / 60


def save(file: Path, nodes: list, outputs: dict[str, int], constants: dict[str, np.ndarray], inputs: list | None = None) -> Path:
    """Write a network with an input image of 64 x 64 pixels."""
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph(
        nodes,
        "detector",
        inputs or [picture],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, file)
    return file


def constant_yolox(file: Path, rows: np.ndarray) -> Path:
    """A YOLOX with constant outputs."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["rows", "zero"], ["output"]),
    ]
    constants = {"rows": rows[None].astype(np.float32), "nothing": np.array(0, np.float32)}
    return save(file, nodes, {"output": TensorProto.FLOAT}, constants)


def reading_yolox(file: Path, place: tuple[int, int, int]) -> Path:
    """A YOLOX with one box; its score is a value (channel, row, column) of the input / 255."""
    channel, row, column = place
    nodes = [
        helper.make_node("Slice", ["images", "start", "end", "axes"], ["value"]),
        helper.make_node("Reshape", ["value", "shape"], ["column"]),
        helper.make_node("Div", ["column", "most"], ["chance"]),
        helper.make_node("Concat", ["box", "chance"], ["output"], axis=2),
    ]
    constants = {
        "start": np.array([channel, row, column]),
        "end": np.array([channel + 1, row + 1, column + 1]),
        "axes": np.array([1, 2, 3]),
        "shape": np.array([1, 1, 1]),
        "most": np.array(255, np.float32),
        "box": np.array([[[32, 16, 20, 10, 1]]], np.float32),
    }
    return save(file, nodes, {"output": TensorProto.FLOAT}, constants)


def test_boxes_are_in_pixels_of_the_image(tmp_path: Path) -> None:
    rows = np.zeros((84, 7))
    rows[:, :4] = [40, 20, 1, 1]
    rows[::2, 0] = 4  # boxes in pixels are spread over the picture
    rows[3] = [32, 16, 32, 16, 0.9, 0.8, 0.1]
    rows[5] = [33, 16, 32, 16, 0.5, 0.9, 0.1]  # overlaps the other
    rows[7] = [10, 10, 8, 8, 0.9, 0.1, 1.0]  # of another class
    detector = hrpose.OnnxDetector(constant_yolox(tmp_path / "yolox.onnx", rows))
    assert (detector.form, detector.input_size) == ("yolox", (64, 64))
    boxes, scores = detector(IMAGE)
    np.testing.assert_allclose(boxes, [np.array([16, 8, 32, 16]) / ZOOM])
    assert scores == pytest.approx([0.72])
    both = hrpose.OnnxDetector(tmp_path / "yolox.onnx", nms_threshold=None)(IMAGE)
    assert both[1] == pytest.approx([0.72, 0.45])
    other = hrpose.OnnxDetector(tmp_path / "yolox.onnx", class_index=1)(IMAGE)
    np.testing.assert_allclose(other[0], [np.array([6, 6, 8, 8]) / ZOOM])
    with pytest.raises(ValueError, match="class 2 among C"):
        hrpose.OnnxDetector(tmp_path / "yolox.onnx", class_index=2)(IMAGE)


@pytest.mark.parametrize("decoded", [None, False])
def test_boxes_relative_to_the_grid_are_decoded(tmp_path: Path, decoded) -> None:
    rows = np.zeros((8 * 8 + 4 * 4 + 2 * 2, 6))
    rows[8 * 2 + 3] = [0.5, 0.25, np.log(2), np.log(3), 0.9, 1]  # grid of 8 pixels: row 2, column 3
    rows[64 + 4 * 1 + 2] = [0.5, 0.5, 0, 0, 0.8, 1]  # grid of 16 pixels: row 1, column 2
    rows[64 + 16 + 1] = [0.5, 0.5, np.log(0.5), 0, 0.7, 1]  # grid of 32 pixels: row 0, column 1
    boxes, scores = hrpose.OnnxDetector(constant_yolox(tmp_path / "raw.onnx", rows), decoded=decoded)(IMAGE)
    assert scores == pytest.approx([0.9, 0.8, 0.7])
    middles = np.array([[28, 18, 16, 24], [40, 24, 16, 16], [48, 16, 16, 32]])
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, middles[:, :2] / ZOOM, rtol=1e-5)
    np.testing.assert_allclose(boxes[:, 2:], middles[:, 2:] / ZOOM, rtol=1e-5)


def test_a_number_of_boxes_that_matches_no_grid_is_refused(tmp_path: Path) -> None:
    file = constant_yolox(tmp_path / "raw.onnx", np.zeros((83, 6)))
    with pytest.raises(ValueError, match=r"64 x 64.*83.*decoded=True"):
        hrpose.OnnxDetector(file)(IMAGE)


@pytest.mark.parametrize(("place", "value"), [((0, 0, 0), 30), ((1, 31, 63), 20), ((2, 10, 10), 10), ((0, 32, 0), 114)])
def test_yolox_receives_bgr_values_in_the_upper_left_corner(tmp_path: Path, place, value) -> None:
    detector = hrpose.OnnxDetector(reading_yolox(tmp_path / "r.onnx", place), decoded=True, score_threshold=0)
    assert detector(IMAGE)[1] == pytest.approx([value / 255])


def rtdetr(file: Path, *, raw: bool = False) -> Path:
    """An RT-DETR that finds a dog, and a person in the left half with the red value of the middle pixel as score."""
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])
    sizes = helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2])
    look = [
        helper.make_node("Slice", ["images", "start", "end", "axes"], ["value"]),
        helper.make_node("Reshape", ["value", "shape"], ["red"]),
        helper.make_node("Concat", ["red", "half"], ["both"], axis=1),
    ]
    constants = {
        "start": np.array([0, 32, 32]),
        "end": np.array([1, 33, 33]),
        "axes": np.array([1, 2, 3]),
        "shape": np.array([1, 1]),
        "half": np.array([[0.5]], np.float32),
    }
    if raw:
        nodes = [
            *look,
            helper.make_node("Unsqueeze", ["both", "last"], ["logits"]),
            helper.make_node("Identity", ["middles"], ["pred_boxes"]),
        ]
        boxes = np.array([[[0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1]]], np.float32)
        outputs = {"logits": TensorProto.FLOAT, "pred_boxes": TensorProto.FLOAT}
        return save(file, nodes, outputs, {**constants, "last": np.array([2]), "middles": boxes}, [picture])
    nodes = [
        *look,
        helper.make_node("Identity", ["both"], ["scores"]),
        helper.make_node("Cast", ["orig_target_sizes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["floats", "floats"], ["twice"], axis=1),
        helper.make_node("Mul", ["fractions", "twice"], ["boxes"]),
        helper.make_node("Identity", ["classes"], ["labels"]),
    ]
    constants["fractions"] = np.array([[[0, 0, 0.5, 1.0], [0.5, 0, 1, 1]]], np.float32)
    constants["classes"] = np.array([[0, 16]])
    outputs = {"labels": TensorProto.INT64, "boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT}
    return save(file, nodes, outputs, constants, [picture, sizes])


def test_rtdetr_returns_corners_in_pixels_of_the_image(tmp_path: Path) -> None:
    detector = hrpose.OnnxDetector(rtdetr(tmp_path / "r.onnx"), input_size=(64, 64), score_threshold=0)
    assert detector.form == "rtdetr"
    boxes, scores = detector(IMAGE)
    np.testing.assert_allclose(boxes, [[0, 0, 30, 30]])
    assert scores == pytest.approx([10 / 255])
    assert len(hrpose.OnnxDetector(tmp_path / "r.onnx", class_index=16)(IMAGE)[0]) == 1
    assert hrpose.OnnxDetector(tmp_path / "r.onnx").input_size == (640, 640)


def test_rtdetr_of_transformers_returns_relative_boxes(tmp_path: Path) -> None:
    detector = hrpose.OnnxDetector(rtdetr(tmp_path / "raw.onnx", raw=True), input_size=(64, 64), score_threshold=0)
    assert detector.form == "rtdetr_raw"
    boxes, scores = detector(IMAGE)
    np.testing.assert_allclose(boxes, [[27, 13.5, 6, 3], [0, 0, 30, 30]], atol=1e-5)
    assert scores == pytest.approx([1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-10 / 255))])


def test_an_estimator_uses_the_detector(tmp_path: Path) -> None:
    from fake_engine import CenterEngine  # in the folder of the estimator tests

    detector = hrpose.OnnxDetector(rtdetr(tmp_path / "r.onnx"), score_threshold=0)
    poses = hrpose.PoseEstimator(CenterEngine(), detector=detector)([IMAGE, IMAGE])
    assert [found.bbox.tolist() for found in poses] == [[[0, 0, 30, 30]]] * 2


def test_files_that_are_no_detector_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.onnx"):
        hrpose.OnnxDetector(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("neither")
    with pytest.raises(ValueError, match=r"text.onnx.*ONNX"):
        hrpose.OnnxDetector(tmp_path / "text.onnx")
    two = [helper.make_node("Identity", ["images"], [name]) for name in ("a", "b")]
    file = save(tmp_path / "two.onnx", two, {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT}, {})
    with pytest.raises(ValueError, match="its outputs are a, b"):
        hrpose.OnnxDetector(file)
    with pytest.raises(ValueError, match=r"`input_size` to be \(64, 64\)"):
        hrpose.OnnxDetector(constant_yolox(tmp_path / "y.onnx", np.zeros((84, 6))), input_size=(128, 64))
    with pytest.raises(ValueError, match="`providers`"):
        hrpose.OnnxDetector(tmp_path / "y.onnx", providers=["Abacus"])


def test_weights_outside_the_folder_of_the_file_are_not_read(tmp_path: Path) -> None:
    model = onnx.load(constant_yolox(tmp_path / "yolox.onnx", np.zeros((84, 6))))
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_bytes(bytes(84 * 6 * 4))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "inside" / "yolox.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"'rows'.*'../secret'"):
        hrpose.OnnxDetector(tmp_path / "inside" / "yolox.onnx")


def test_without_onnxruntime_the_error_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hrpose\[detect\]'"):
        hrpose.OnnxDetector(tmp_path / "any.onnx")
