"""Valid values of a configuration: types of top-level settings, ranges of numbers, and required libraries."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrpose.skeletons import KNOWN_SKELETONS

_SKELETONS: Any = Literal[tuple(KNOWN_SKELETONS)]
_RULES, _FORMAT = Literal["official", "mmpose"], Literal["onnx", "openvino"]
_INTERVAL = Literal["epoch", "step"]


def _types(names: Mapping[Any, str]) -> dict[str, Any]:
    """Return the type of each setting from the settings of each type, separated by spaces."""
    return {name: kind for kind, listed in names.items() for name in listed.split()}


# settings of the verbs that need a network and data
SETTINGS: Mapping[str, Any] = _types(
    {
        str: "name monitor",
        int: "seed",
        str | None: "ckpt_path weights",
        bool: "flip_test channels_last compile report_images",
        float: "keypoint_score_threshold monitor_min_delta",
        _RULES: "rules",
        int | Literal["auto"]: "threads",
        _INTERVAL: "schedule_interval",
    }
)
# settings of the verbs that read result files
_RESULTS = _types(
    {
        str: "name",
        int: "seed max_detections num_samples",
        _SKELETONS | list[float] | None: "sigmas",
        str | list[str] | None: "category",
        dict[str, int] | None: "keypoint_fields",
        float: "area_from_bbox",
        dict[int, int] | None: "visibility_map",
        float | None: "bbox_from_keypoints",
    }
)
SETTINGS_OF: Mapping[str, Mapping[str, Any]] = {
    "evaluate": {**_RESULTS, **_types({str: "annotations results"})},
    "doctor": {**SETTINGS, **_types({bool: "images", Literal["text", "json"]: "format"})},
    "compare": {**_RESULTS, **_types({str: "a", str | None: "annotations b boxes", bool: "force"})},
    "convert": _types(
        {
            str: "name source",
            int: "seed",
            str | None: "out format images category",
            float: "archive_size split keypoint_score_threshold",
            float | None: "bbox_margin",
            list[str] | None: "names",
            list[list[int | str]] | None: "flip_pairs",
            Literal["tar", "zip"] | None: "archive",
            Literal["folder", "video", "image"] | None: "split_by",
            Literal["yolo", "labelme"] | None: "to",
        }
    ),
    "export": _types(
        {
            str: "name monitor",
            int: "seed num_calibration num_crops",
            str | None: "ckpt_path weights output photos",
            float: "keypoint_score_threshold monitor_min_delta",
            float | None: "max_ap_loss",
            int | None: "opset",
            bool: "heatmaps measure_ap",
            bool | None: "flip_test",
            _RULES: "rules",  # this, the monitor and the interval are used by the groups
            _INTERVAL: "schedule_interval",
            _FORMAT: "format",
            Literal["fp32", "fp16", "bf16", "int8"]: "precision",
        }
    ),
    "predict": _types(
        {
            str: "name device",
            str | int: "source",
            str | None: "weights ckpt_path annotations boxes",
            int: "devices batch_size chunk_size detect_every",
            int | None: "num_threads bit_depth max_frames",
            float: "min_bbox_score min_score",
            float | None: "oks_nms_threshold",
            bool: "csv resume",
            bool | None: "flip_test upright",
            _RULES: "rules",
            Literal["32", "bf16", "16", 32, 16] | None: "precision",
            Literal["auto", "openvino", "onnxruntime", "torch"] | None: "backend",
        }
    ),
}

# hints for values of the wrong type
HINTS: Mapping[str, str] = {
    "device": "A GPU is cuda, cuda:0, cuda:1, ...",
    "area_from_bbox": "It is a share of the area of the box, such as 1.0 or 0.53.",
}

_MANY = float("inf")
# smallest and largest value by key, except for values that a class checks itself
_RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "data.seed": (0, 2**32 - 1),
    "data.area_from_bbox": (0, _MANY),
    "data.bbox_from_keypoints": (0, _MANY),
    "trainer.gradient_clip_val": (0, _MANY),
    "trainer.log_every_n_steps": (0, _MANY),
    "trainer.num_sanity_val_steps": (-1, _MANY),
    "callbacks.early_stopping.patience": (0, _MANY),
    "callbacks.freeze.epochs": (1, _MANY),
    "callbacks.progress.refresh_rate": (0, _MANY),
    "optim.lr": (0, _MANY),
    "schedule.max_lr": (0, _MANY),
    "metric.oks_nms_threshold": (0, 1),
    "oks_nms_threshold": (0, 1),
    "keypoint_score_threshold": (0, _MANY),
    "area_from_bbox": (0, _MANY),
    "bbox_from_keypoints": (0, _MANY),
    "num_samples": (0, _MANY),
    "bit_depth": (8, 16),
    "opset": (13, 30),
    "max_ap_loss": (0, 1),
    "bbox_margin": (0, _MANY),
    "split": (0, 0.9),
    **dict.fromkeys(
        (
            *("threads", "num_threads", "devices", "batch_size", "chunk_size", "detect_every", "max_frames"),
            *("num_calibration", "num_crops", "max_detections", "metric.max_detections"),
            *("trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch"),
        ),
        (1, _MANY),
    ),
}
_POSITIVE = ("optim.backbone_factor", "data.bbox_padding")


def find_range_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find numbers that are out of range; yield pairs of key and message."""
    for key in (*_RANGES, *_POSITIVE):
        value = _select(cfg, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = _RANGES.get(key, (0, _MANY))
        if key in _POSITIVE and not value > 0:
            yield key, f"expected a number above 0, but got {value}."
        elif not least <= value <= most:
            bound = f"at least {least}" if most == _MANY else f"a number from {least} to {most}"
            yield key, f"expected {bound}, but got {value}."


_Libraries: TypeAlias = tuple[tuple[str, ...], str]  # packages, and the requirement that installs them

_TARGETS: dict[str, _Libraries] = {
    "lightning.pytorch.loggers.TensorBoardLogger": (("tensorboard",), "hrpose[tensorboard]"),
    "lightning.pytorch.loggers.WandbLogger": (("wandb",), "wandb"),
    "lightning.pytorch.loggers.MLFlowLogger": (("mlflow",), "mlflow"),
    "lightning.pytorch.loggers.CometLogger": (("comet_ml",), "comet-ml"),
    "lightning.pytorch.loggers.NeptuneLogger": (("neptune",), "neptune"),
    "hrpose.estimator.OnnxDetector": (("onnx", "onnxruntime"), "hrpose[detect]"),
    "hrpose.estimator.RTDetrDetector": (("transformers",), "hrpose[detect]"),
}
# libraries by (verb, setting, value), and by (setting, suffix of the file)
_VALUES: dict[tuple[str, str, str], _Libraries] = {
    ("export", "format", "onnx"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("export", "format", "openvino"): (("openvino",), "hrpose[openvino]"),
    ("export", "precision", "int8"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("predict", "backend", "onnxruntime"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("predict", "backend", "openvino"): (("openvino",), "hrpose[openvino]"),
}
_SUFFIXES: dict[tuple[str, str], _Libraries] = {
    ("weights", ".onnx"): (("onnx", "onnxruntime"), "hrpose[onnx]"),
    ("weights", ".xml"): (("openvino",), "hrpose[openvino]"),
}


def find_library_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find libraries that a configuration needs and that are not installed; yield pairs of key and message."""
    needed = [(key, *_TARGETS[target]) for key, target in _targets(cfg) if target in _TARGETS]
    for (task, key, value), libraries in _VALUES.items():
        if cfg.get("task") == task and _select(cfg, key) == value:
            needed.append((key, *libraries))
    for (key, suffix), libraries in _SUFFIXES.items():
        path = _select(cfg, key)
        if isinstance(path, str) and Path(path).suffix == suffix:
            needed.append((key, *libraries))
    for key, packages, requirement in needed:
        missing = [package for package in packages if not _is_installed(package)]
        if missing:
            yield key, f"it needs {' and '.join(missing)}, which is not installed: pip install '{requirement}'."


def _targets(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield key and `_target_` of all nodes."""
    for name, value in ((str(name), value) for name, value in node.items_ex(resolve=False)):
        if name == "_target_" and isinstance(value, str):
            yield prefix.rstrip("."), value
        elif isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _targets(value, f"{prefix}{name}.")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module that was replaced in sys.modules
        return False


def _select(cfg: DictConfig, key: str) -> object:
    """Return the value of a key; None if it is missing or cannot be resolved."""
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None
