"""Optional libraries: which parts of a configuration need one, and how to install it."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_Libraries: TypeAlias = tuple[tuple[str, ...], str]  # packages, and what to install for them

_TARGETS: dict[str, _Libraries] = {
    "lightning.pytorch.loggers.TensorBoardLogger": (("tensorboard",), "hrpose[tensorboard]"),
    "lightning.pytorch.loggers.WandbLogger": (("wandb",), "wandb"),
    "lightning.pytorch.loggers.MLFlowLogger": (("mlflow",), "mlflow"),
    "lightning.pytorch.loggers.CometLogger": (("comet_ml",), "comet-ml"),
    "lightning.pytorch.loggers.NeptuneLogger": (("neptune",), "neptune"),
    "hrpose.estimator.OnnxDetector": (("onnxruntime",), "hrpose[detect]"),
    "hrpose.estimator.RTDetrDetector": (("transformers",), "hrpose[detect]"),
}
# For values of the settings of a verb, and for the suffixes of files.
_VALUES: dict[tuple[str, str, str], _Libraries] = {
    ("export", "format", "onnx"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("export", "format", "openvino"): (("openvino",), "hrpose[openvino]"),
    ("export", "precision", "int8"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("predict", "backend", "onnxruntime"): (("onnx", "onnxruntime", "onnxscript"), "hrpose[onnx]"),
    ("predict", "backend", "openvino"): (("openvino",), "hrpose[openvino]"),
}
_SUFFIXES: dict[tuple[str, str], _Libraries] = {
    ("weights", ".onnx"): (("onnxruntime",), "hrpose[onnx]"),
    ("weights", ".xml"): (("openvino",), "hrpose[openvino]"),
}


def find_library_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find the parts of a configuration whose library is not installed; nothing is imported.

    Yields:
        Keys, each with what is missing and the command that installs it.
    """
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
            yield key, f"it needs {' and '.join(missing)}, not installed here: pip install '{requirement}'."


def _targets(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give the keys of all nodes with their `_target_`."""
    for name, value in ((str(name), value) for name, value in node.items_ex(resolve=False)):
        if name == "_target_" and isinstance(value, str):
            yield prefix.rstrip("."), value
        elif isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _targets(value, f"{prefix}{name}.")


def _select(cfg: DictConfig, key: str) -> object:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module that was replaced in sys.modules
        return False
