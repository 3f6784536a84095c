"""The plain settings at the top of each verb's configuration, and what each may be."""

from collections.abc import Mapping

from hrpose.skeletons import KNOWN_SKELETONS

# Those of the verbs that need a network and data.
SETTINGS: Mapping[str, str] = {
    "name": "str",
    "seed": "int",
    "ckpt_path": "str | None",
    "weights": "str | None",
    "flip_test": "bool",
    "keypoint_score_threshold": "float",
    "rules": "Literal['official', 'mmpose']",
    "channels_last": "bool",
    "compile": "bool",
    "threads": "int | Literal['auto']",
    "schedule_interval": "Literal['epoch', 'step']",
    "monitor": "str",
    "monitor_min_delta": "float",
}
# Those of the verbs that read result files.
_RESULTS = {
    "name": "str",
    "seed": "int",
    "sigmas": f"Literal[{', '.join(map(repr, KNOWN_SKELETONS))}] | list[float] | None",
    "category": "str | None",
    "keypoint_fields": "dict[str, int] | None",
    "area_from_bbox": "float",
    "max_detections": "int",
    "num_samples": "int",
}
SETTINGS_OF: Mapping[str, Mapping[str, str]] = {
    "evaluate": {**_RESULTS, "annotations": "str", "results": "str"},
    "compare": {
        **_RESULTS,
        "annotations": "str | None",
        "a": "str",
        "b": "str",
        "boxes": "str | None",
        "force": "bool",
    },
    "export": {
        **{name: SETTINGS[name] for name in ("name", "seed", "ckpt_path", "weights", "keypoint_score_threshold")},
        **{name: SETTINGS[name] for name in ("rules", "monitor", "monitor_min_delta")},  # of the groups
        "format": "Literal['onnx', 'openvino']",
        "precision": "Literal['fp32', 'fp16', 'bf16', 'int8']",
        "flip_test": "bool | None",
        "heatmaps": "bool",
        "output": "str | None",
        "photos": "str | None",
        "num_calibration": "int",
        "num_crops": "int",
        "measure_ap": "bool",
        "max_ap_loss": "float | None",
        "schedule_interval": "Literal['epoch', 'step']",
    },
    "predict": {
        "name": "str",
        "source": "str | int",
        "weights": "str | None",
        "ckpt_path": "str | None",
        "rules": "Literal['official', 'mmpose']",
        "device": "str",
        "devices": "int",
        "precision": "Literal['32', 'bf16', '16', 32, 16] | None",
        "flip_test": "bool | None",
        "batch_size": "int",
        "backend": "Literal['auto', 'openvino', 'onnxruntime', 'torch'] | None",
        "chunk_size": "int",
        "num_threads": "int | None",
        "upright": "bool | None",
        "bit_depth": "int | None",
        "annotations": "str | None",
        "boxes": "str | None",
        "min_bbox_score": "float",
        "oks_nms_threshold": "float | None",
        "csv": "bool",
        "max_frames": "int | None",
        "detect_every": "int",
        "min_score": "float",
    },
}

# What to write for a value of the wrong type, where the type alone does not say it.
HINTS: Mapping[str, str] = {
    "area_from_bbox": "It is a share: 1.0 takes the whole area of the box, 0.53 about half of it."
}
