"""Run a detector in an ONNX file with onnxruntime: YOLOX (Ge et al., 2021) or RT-DETR as their exporters write them.

Needs the extra `hrpose[detect]`.

    YOLOX      image BGR from 0 to 255, scaled into the upper left corner of a grey square -> [N, 5 + C]: center, size, the
               probabilities of an object and of each class; centers and sizes in pixels, or relative to the grid
    RT-DETR    image RGB from 0 to 1, stretched, and its size -> labels, boxes (corners in pixels), scores; exported by
               transformers: image -> logits, pred_boxes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.errors import import_optional
from hrpose.estimator.boxes import Boxes, Floats
from hrpose.estimator.detectors.boxes import BoxFilter, Image, xywh_from_cxcywh, xywh_from_xyxy
from hrpose.export.onnx import open_session

Form: TypeAlias = Literal["yolox", "rtdetr", "rtdetr_raw"]
_FORMS: dict[frozenset[str], Form] = {
    frozenset({"labels", "boxes", "scores"}): "rtdetr",
    frozenset({"logits", "pred_boxes"}): "rtdetr_raw",
}
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_DEFAULT_SIZE = 640
_GREY = 114  # padding of YOLOX
_STRIDES = (8, 16, 32, 64)  # of YOLOX's grids, in pixels; only its largest networks have the last one


class OnnxDetector:
    """Find instances of one class with a detector in an ONNX file, whose form is recognised by its outputs.

    Args:
        file: the ONNX file.
        decoded: whether boxes of YOLOX are in pixels; None decides by the first image.
        input_size: (width, height) of the input, if it is dynamic in the file; None is 640 x 640.
        class_index: index of the class to detect, by default of persons.
        score_threshold: boxes with a lower score are dropped.
        nms_threshold: of two boxes with a larger IoU the one with the lower score is dropped; None keeps both.
        max_boxes: number of boxes to keep per image, those with the highest scores.
        providers: of onnxruntime in order of preference; None uses CUDA if available, and the CPU.

    Attributes:
        form: "yolox", "rtdetr" or "rtdetr_raw".
        input_size: (width, height) of the network's input.

    Raises:
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
        ValueError: if the file is missing, cannot be run, has weights outside its folder, or outputs of an unknown form.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        decoded: bool | None = None,
        input_size: tuple[int, int] | None = None,
        class_index: int = 0,
        score_threshold: float = 0.3,
        nms_threshold: float | None = 0.65,
        max_boxes: int = 100,
        providers: list[str] | None = None,
    ) -> None:
        self._select = BoxFilter(score_threshold, nms_threshold, max_boxes)
        self._class_index, self._decoded = class_index, decoded
        self._session = _open(Path(file), providers)
        self.file = str(file)
        self.form = _recognise_form([output.name for output in self._session.get_outputs()], self.file)
        picture = self._session.get_inputs()[0]
        if picture.type not in _TYPES:
            raise ValueError(f"Expected {file} to have an input of floats, but it has {picture.type}.")
        self._picture_name, self._type = picture.name, _TYPES[picture.type]
        self.input_size = _find_size(picture.shape, input_size, self.file)

    def __call__(self, image: Image) -> Boxes:
        """Find boxes (N, 4) x, y, width, height in pixels of an image (H, W, 3) uint8 RGB, and scores (N,), highest first.

        Raises:
            ValueError: if the outputs have another shape than expected.
        """
        return self._select(*(self._run_yolox(image) if self.form == "yolox" else self._run_rtdetr(image)))

    def _run_yolox(self, image: Image) -> tuple[Floats, NDArray[np.float32]]:
        zoom = min(self.input_size[0] / image.shape[1], self.input_size[1] / image.shape[0])
        size = (max(1, int(image.shape[1] * zoom)), max(1, int(image.shape[0] * zoom)))
        canvas = np.full((self.input_size[1], self.input_size[0], 3), _GREY, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        (output,) = self._run(canvas[..., ::-1])
        rows = output.reshape(-1, output.shape[-1]).astype(np.float64)
        if rows.shape[1] < 6 + self._class_index:
            raise ValueError(
                f"Expected {self.file} to return [N, 5 + C] with class {self._class_index} among C, but got {output.shape}."
            )
        if self._decoded is None:  # relative to the grid, centers are within a few cells of 0
            self._decoded = bool(np.ptp(rows[:, :2]) > 0.25 * max(self.input_size))
        centers = rows[:, :4] if self._decoded else _decode_grid(rows[:, :4], self.input_size, self.file)
        return xywh_from_cxcywh(centers) / zoom, (rows[:, 4] * rows[:, 5 + self._class_index]).astype(np.float32)

    def _run_rtdetr(self, image: Image) -> tuple[Floats, NDArray[np.float32]]:
        # antialiased if the image shrinks, as in training
        shrinks = self.input_size[0] < image.shape[1]
        stretched = cv2.resize(image, self.input_size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        width, height = image.shape[1::-1]
        found = self._run(stretched / 255, np.array([[width, height]], np.int64))
        named = dict(zip([output.name for output in self._session.get_outputs()], found, strict=True))
        if self.form == "rtdetr":
            persons = named["labels"].reshape(-1) == self._class_index
            return xywh_from_xyxy(named["boxes"].reshape(-1, 4)[persons]), named["scores"].reshape(-1)[persons]
        logits = named["logits"].reshape(-1, named["logits"].shape[-1])[:, self._class_index].astype(np.float64)
        centers = named["pred_boxes"].reshape(-1, 4).astype(np.float64) * [width, height, width, height]
        return xywh_from_cxcywh(centers), np.exp(-np.logaddexp(0, -logits)).astype(np.float32)

    def _run(self, picture: NDArray[Any], image_size: NDArray[np.int64] | None = None) -> list[NDArray[Any]]:
        """Run the network on an image (H, W, 3), with the size of the original image if it has such an input."""
        batch = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], self._type)
        further = [entry.name for entry in self._session.get_inputs()[1:]]
        given = {self._picture_name: batch, **dict.fromkeys(further, image_size)}
        outputs: list[NDArray[Any]] = self._session.run(None, given)
        return outputs


def _open(file: Path, providers: list[str] | None) -> Any:
    onnxruntime = import_optional("onnxruntime", "An ONNX detector", "hrpose[detect]")
    wanted = providers or ["CUDAExecutionProvider", "CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    chosen = [name for name in wanted if name in available]
    if not chosen:
        raise ValueError(f"Expected `providers` to be among {', '.join(available)}, but got {', '.join(wanted)}.")
    return open_session(file, chosen)


def _recognise_form(outputs: list[str], file: str) -> Form:
    if frozenset(outputs) in _FORMS:
        return _FORMS[frozenset(outputs)]
    if len(outputs) == 1:
        return "yolox"
    raise ValueError(
        f"Expected {file} to return one array [N, 5 + C] (YOLOX), labels, boxes and scores (RT-DETR), or logits and pred_boxes "
        f"(RT-DETR by transformers), but its outputs are {', '.join(outputs)}."
    )


def _find_size(shape: list[Any], given: tuple[int, int] | None, file: str) -> tuple[int, int]:
    """Return (width, height) of the input, which is (1, 3, H, W) in the file and may be dynamic."""
    if len(shape) != 4:
        raise ValueError(f"Expected {file} to have an input (1, 3, H, W), but it has {shape}.")
    fixed = tuple(side if isinstance(side, int) else None for side in (shape[3], shape[2]))
    wanted = given or (fixed[0] or _DEFAULT_SIZE, fixed[1] or _DEFAULT_SIZE)
    if any(side is not None and side != asked for side, asked in zip(fixed, wanted, strict=True)):
        raise ValueError(f"Expected `input_size` to be {fixed}, the fixed size of {file}, but got {wanted}.")
    return int(wanted[0]), int(wanted[1])


def _decode_grid(relative: Floats, input_size: tuple[int, int], file: str) -> Floats:
    """Convert boxes (N, 4) relative to YOLOX's grids, finest first, to centers and sizes in pixels of the input.

    x = (x' + column) s, width = exp(w') s, for the stride s of each grid (Ge et al., section 2, as in its release).
    """
    for count in (3, 4):
        cells = [_cells(input_size, stride) for stride in _STRIDES[:count]]
        if sum(map(len, cells)) == len(relative):
            grid = np.concatenate(cells)
            strides = np.repeat(_STRIDES[:count], [len(part) for part in cells])[:, None]
            return np.concatenate([(relative[:, :2] + grid) * strides, np.exp(relative[:, 2:]) * strides], axis=1)
    raise ValueError(
        f"Expected {file} to return a box for each cell of the grids of {input_size[0]} x {input_size[1]} pixels, but got "
        f"{len(relative)}. If its boxes are in pixels, set decoded=True."
    )


def _cells(input_size: tuple[int, int], stride: int) -> Floats:
    columns, rows = np.meshgrid(np.arange(input_size[0] // stride), np.arange(input_size[1] // stride))
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
