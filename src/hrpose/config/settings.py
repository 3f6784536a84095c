"""Valid values of a configuration: types of top-level settings, ranges of numbers, and required libraries."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from hrpose.config.loading import value_at
from hrpose.skeletons import KNOWN_SKELETONS

_SKELETONS: Any = Literal[tuple(KNOWN_SKELETONS)]
_RULES, _FORMAT = Literal["official", "mmpose"], Literal["onnx", "openvino"]
_INTERVAL = Literal["epoch", "step"]


def _types(names: Mapping[Any, str]) -> dict[str, Any]:
    """Return the type of each setting, or the range of each key, from the names of each, separated by spaces."""
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
# keys by smallest and largest value, except for values that a class checks itself
_RANGES: Mapping[str, tuple[float, float]] = _types(
    {
        (0, 2**32 - 1): "seed data.seed",
        (0, _MANY): "data.area_from_bbox data.bbox_from_keypoints trainer.gradient_clip_val trainer.log_every_n_steps "
        "callbacks.early_stopping.patience callbacks.progress.refresh_rate optim.lr schedule.max_lr keypoint_score_threshold "
        "area_from_bbox bbox_from_keypoints num_samples bbox_margin optim.backbone_factor data.bbox_padding",
        (-1, _MANY): "trainer.num_sanity_val_steps",
        (0, 1): "metric.oks_nms_threshold oks_nms_threshold max_ap_loss",
        (0, 0.9): "split",
        (8, 16): "bit_depth",
        (13, 30): "opset",
        (1, _MANY): "callbacks.freeze.epochs threads num_threads devices batch_size chunk_size detect_every max_frames "
        "num_calibration num_crops max_detections metric.max_detections "
        "trainer.accumulate_grad_batches trainer.check_val_every_n_epoch",
    }
)
_POSITIVE = ("optim.backbone_factor", "data.bbox_padding")  # not 0 either


def find_range_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find numbers that are out of range; yield pairs of key and message."""
    for key, (least, most) in _RANGES.items():
        value = value_at(cfg, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not least <= value <= most or (value == 0 and key in _POSITIVE):
            bound = f"at least {least}" if most == _MANY else f"a number from {least} to {most}"
            yield key, f"expected {'a number above 0' if key in _POSITIVE else bound}, but got {value}."


_EXPORT, _OPENVINO = (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"), (("openvino",), "hrpose[openvino]")
# packages and the requirement that installs them, by target, by (verb, setting, value), and by (setting, suffix of the file)
_LIBRARIES: Mapping[str | tuple[str, ...], tuple[tuple[str, ...], str]] = {
    "lightning.pytorch.loggers.TensorBoardLogger": (("tensorboard",), "hrpose[tensorboard]"),
    "lightning.pytorch.loggers.WandbLogger": (("wandb",), "wandb"),
    "lightning.pytorch.loggers.MLFlowLogger": (("mlflow",), "mlflow"),
    "lightning.pytorch.loggers.CometLogger": (("comet_ml",), "comet-ml"),
    "lightning.pytorch.loggers.NeptuneLogger": (("neptune",), "neptune"),
    "hrpose.estimator.OnnxDetector": (("onnx", "onnxruntime"), "hrpose[detect]"),
    "hrpose.estimator.RTDetrDetector": (("transformers",), "hrpose[detect]"),
    ("export", "format", "onnx"): _EXPORT,
    ("export", "format", "openvino"): _OPENVINO,
    ("export", "precision", "int8"): _EXPORT,
    ("predict", "backend", "onnxruntime"): _EXPORT,
    ("predict", "backend", "openvino"): _OPENVINO,
    ("weights", ".onnx"): (("onnx", "onnxruntime"), "hrpose[onnx]"),
    ("weights", ".xml"): _OPENVINO,
}


def find_library_faults(cfg: DictConfig, targets: Sequence[tuple[str, DictConfig]]) -> Iterator[tuple[str, str]]:
    """Find libraries that are not installed and that a configuration needs, for its `targets` too; yield key and message."""
    suffix = Path(str(value_at(cfg, "weights"))).suffix
    uses = [(key, value_at(node, "_target_")) for key, node in targets]
    uses += [(key, (cfg.get("task"), key, value_at(cfg, key))) for key in ("format", "precision", "backend")]
    for key, use in [*uses, ("weights", ("weights", suffix))]:
        packages, requirement = _LIBRARIES.get(use, ((), ""))
        if missing := [package for package in packages if not _is_installed(package)]:
            yield key, f"it needs {' and '.join(missing)}, which is not installed: pip install '{requirement}'."


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module that was replaced in sys.modules
        return False
