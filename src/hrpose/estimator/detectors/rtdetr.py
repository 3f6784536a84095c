"""Run RT-DETR (Zhao et al., CVPR 2024) with the transformers library, from a local folder or the Hugging Face hub.

Needs the extra `hrpose[detect]`. Only networks of the library are built and only safetensors are read, so no code of a model is
run. Images are preprocessed here, so torchvision is not needed.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from hrpose.errors import import_optional
from hrpose.estimator.boxes import Boxes
from hrpose.estimator.detectors.boxes import BoxFilter, Image, xywh_from_cxcywh
from hrpose.estimator.engine import choose_device

logger = logging.getLogger(__name__)

_FAMILY = ("rt_detr", "rt_detr_v2", "d_fine")  # with the same inputs and outputs
_DEFAULT_SIZE = {"height": 640, "width": 640}


class RTDetrDetector:
    """Find instances of one class with RT-DETR, RT-DETRv2 or D-FINE.

    Args:
        model: a local folder (config.json, model.safetensors, and preprocessor_config.json for another size than 640 x 640),
            or the name of a model on the hub, such as "PekingU/rtdetr_r50vd" (Apache-2.0).
        download: download a model of the hub that is not on this machine, with a warning.
        device: "auto" selects the first available of CUDA, MPS and the CPU.
        class_index: of the class; None uses the class named "person".
        score_threshold: boxes with a lower score are dropped.
        nms_threshold: of two boxes with a larger IoU the one with the lower score is dropped; None keeps both, as in the paper.
        max_boxes: number of boxes to keep per image, those with the highest scores.

    Raises:
        ModuleNotFoundError: if transformers is not installed.
        ValueError: if the model cannot be loaded, is of another family, or does not have the class.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        download: bool = True,
        device: str | torch.device = "auto",
        class_index: int | None = None,
        score_threshold: float = 0.3,
        nms_threshold: float | None = None,
        max_boxes: int = 100,
    ) -> None:
        self._select = BoxFilter(score_threshold, nms_threshold, max_boxes)
        self.device = choose_device(device)
        self._net, preparation = _load(str(model), download=download)
        self._net = self._net.to(self.device).eval()
        self._class_index = _find_class(self._net.config, class_index, str(model))
        size = preparation.get("size") or _DEFAULT_SIZE
        self._size = (int(size["height"]), int(size["width"]))
        normalised = preparation.get("do_normalize", False)
        mean, std = (preparation["image_mean"], preparation["image_std"]) if normalised else ([0.0] * 3, [1.0] * 3)
        self._mean, self._std = torch.tensor([mean, std], device=self.device).view(2, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, image: Image) -> Boxes:
        """Find boxes (N, 4) x, y, width, height in pixels of an image (H, W, 3) uint8 RGB, and scores (N,), highest first."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float()
        resized = F.interpolate(pixels, self._size, mode="bilinear", antialias=True, align_corners=False)  # as the library
        found = self._net(pixel_values=(resized.round().clamp(0, 255) / 255 - self._mean) / self._std)
        scores = found.logits[0, :, self._class_index].sigmoid().float().cpu().numpy()
        centers = found.pred_boxes[0].double().cpu().numpy() * np.array(image.shape[1::-1] * 2)
        return self._select(xywh_from_cxcywh(centers), scores)


def _load(model: str, *, download: bool) -> tuple[Any, dict[str, Any]]:
    """Return the network and the preprocessor configuration in its folder."""
    transformers = import_optional("transformers", "RT-DETR", "hrpose[detect]")  # slow to import
    is_local = Path(model).is_dir() or _is_cached(model)
    if not is_local and not download:
        raise ValueError(
            f"Expected {model} on this machine, found none. detector=rtdetr downloads it from the Hugging Face hub once; "
            "detector=onnx detector.file=<file> takes a YOLOX or RT-DETR as ONNX, and boxes=<file> the boxes of any detector."
        )
    if not is_local:
        logger.warning("Downloading %s from the Hugging Face hub, once for this machine.", model)
    safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": is_local}
    try:
        config = transformers.AutoConfig.from_pretrained(model, **safe)
        if config.model_type not in _FAMILY:
            raise ValueError(f"it is of the type {config.model_type!r}, not one of {', '.join(_FAMILY)}")
        net = transformers.AutoModelForObjectDetection.from_pretrained(model, config=config, use_safetensors=True, **safe)
        return net, _read_preparation(model, local=is_local)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"Expected an RT-DETR at {model}, a local folder or a name on the Hugging Face hub, but it cannot be loaded: "
            f"{reason.rstrip('.')}."
        ) from error


def _is_cached(model: str) -> bool:
    """Check whether the weights of a model of the hub are on this machine, without downloading."""
    from transformers.utils import cached_file  # see _load

    try:
        return all(cached_file(model, name, local_files_only=True) for name in ("config.json", "model.safetensors"))
    except (OSError, ValueError):
        return False


def _read_preparation(model: str, *, local: bool) -> dict[str, Any]:
    from transformers.utils import cached_file  # see _load

    file = cached_file(model, "preprocessor_config.json", local_files_only=local, _raise_exceptions_for_missing_entries=False)
    content = json.loads(Path(file).read_text()) if file is not None else {}
    return content if isinstance(content, dict) else {}


def _find_class(config: Any, class_index: int | None, model: str) -> int:
    names: dict[int, str] = config.id2label
    if class_index is None:
        persons = [index for index, name in names.items() if str(name).lower() == "person"]
        if not persons:
            raise ValueError(
                f"Expected {model} to have a class named person, but its {len(names)} classes are "
                f"{', '.join(map(str, list(names.values())[:5]))}, ... Choose one with `class_index`."
            )
        return int(persons[0])
    if class_index not in names:
        raise ValueError(f"Expected `class_index` to be one of the {len(names)} classes of {model}, but got {class_index}.")
    return class_index
