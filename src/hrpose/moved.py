"""Names of earlier versions and their replacements, and names that a package imports on first use.

`MOVED` and `GONE` are the table for imports, messages and docs/migration.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED: Mapping[str, str] = {
    "hrpose.annotations.image_checks": "hrpose.annotations.images",
    "hrpose.backends": "hrpose.export",
    "hrpose.cli.messages": "hrpose.cli.jobs",
    "hrpose.cli.speech": "hrpose.cli.jobs",
    "hrpose.codecs.accuracy": "hrpose.codecs.base",
    "hrpose.codecs.gaussians": "hrpose.codecs.cells",
    "hrpose.codecs.udp_offset": "hrpose.codecs.udp",
    "hrpose.config.errors": "hrpose.errors",
    "hrpose.data.coco": "hrpose.annotations.coco",
    "hrpose.data.detections": "hrpose.annotations.detections",
    "hrpose.data.download": "hrpose.download.coco",
    "hrpose.data.errors": "hrpose.errors",
    "hrpose.data.fetch": "hrpose.download.http",
    "hrpose.data.images": "hrpose.media.images",
    "hrpose.data.load": "hrpose.media.load",
    "hrpose.data.mpii": "hrpose.annotations.mpii",
    "hrpose.data.mpii_truth": "hrpose.annotations.mpii",
    "hrpose.data.normalization": "hrpose.data.crops",
    "hrpose.data.person_files": "hrpose.annotations.reader",
    "hrpose.data.photo_boxes": "hrpose.annotations.detections",
    "hrpose.data.photo_boxes.read_photo_boxes": "hrpose.annotations.detections.read_image_boxes",
    "hrpose.data.samplers": "hrpose.data.dataset",
    "hrpose.data.synthetic": "hrpose.synthetic",
    "hrpose.data.video": "hrpose.media.video",
    "hrpose.data.weights": "hrpose.weights.fetch",
    "hrpose.estimator.checkpoints": "hrpose.estimator.from_weights",
    "hrpose.estimator.detectors.box_file": "hrpose.estimator.detectors.boxes",
    "hrpose.estimator.detectors.function": "hrpose.estimator.detectors.boxes",
    "hrpose.estimator.exported": "hrpose.estimator.exported_engine",
    "hrpose.export.ties": "hrpose.export.check",
    "hrpose.losses.likelihood": "hrpose.losses.coordinates",
    "hrpose.losses.simcc": "hrpose.losses.coordinates",
    "hrpose.media.archive_index": "hrpose.media.archives",
    "hrpose.media.exif": "hrpose.media.headers",
    "hrpose.media.file_names": "hrpose.media.folders",
    "hrpose.metrics.functional.extent": "hrpose.metrics.functional.oks",
    "hrpose.metrics.functional.pairs": "hrpose.metrics.functional.matching",
    "hrpose.metrics.pose_metric": "hrpose.metrics.base",
    "hrpose.metrics.similarity": "hrpose.metrics.average_precision",
    "hrpose.metrics.tables": "hrpose.metrics.base",
    "hrpose.models.backbone": "hrpose.models.checks",
    "hrpose.models.load_weights": "hrpose.weights.load_weights",
    "hrpose.models.parts": "hrpose.models.checks",
    "hrpose.models.profile": "hrpose.models.checks",
    "hrpose.models.recognise": "hrpose.weights.formats",
    "hrpose.models.save_weights": "hrpose.weights.save_weights",
    "hrpose.models.weight_files": "hrpose.weights.files",
    "hrpose.models.weight_writing": "hrpose.weights.convert",
    "hrpose.models.weights": "hrpose.weights.load",
    "hrpose.published": "hrpose.weights.published",
    "hrpose.report.document": "hrpose.report.page",
    "hrpose.report.pckh": "hrpose.report",
    "hrpose.skeletons.bodies": "hrpose.skeletons.known",
    "hrpose.skeletons.whole_bodies": "hrpose.skeletons.known",
    "hrpose.tasks.reading": "hrpose.tasks.evaluate",
    "hrpose.tasks.trainer": "hrpose.tasks.assemble",
    "hrpose.tracking.assignment": "hrpose.tracking.tracker",
    "hrpose.visualize.heatmaps": "hrpose.visualize.sheets",
    "hrpose.visualize.painter": "hrpose.visualize.poses",
}
"""Dotted names of Python modules and functions, old to new; names below a module move with it."""

_SIZES = {  # of the codec files <codec>_<height>x<width>
    **dict.fromkeys(("dark", "heatmap", "integral"), ("128x96", "160x96", "256x192", "256x256", "384x288")),
    **dict.fromkeys(("regression", "simcc"), ("128x96", "160x96", "256x192", "384x288")),
    "udp": ("128x96", "256x192", "256x256", "384x288"),
    "udp_offset": ("128x96", "256x192", "384x288"),
}
_SMALL = "size=128x96 data.batch_size=64 trainer.accumulate_grad_batches=2"  # two GPUs with 64 instances each
_WITH_CODEC = {  # experiments with another codec at the end of their name
    "dark": "mpii_w32_256x256 w32_256x192",
    "udp": "mpii_w32_256x256 res50_256x192 res50_384x288 res152_256x192 res152_384x288 w32_256x192 w32_384x288 w48_256x192 "
    "w48_384x288",
}
_EXPERIMENTS = {  # removed ones, with an experiment and overrides
    **{f"{name}_{codec}": f"{name} codec={codec}" for codec, names in _WITH_CODEC.items() for name in names.split()},
    **{f"{net}_128x96": f"{net}_256x192 {_SMALL}" for net in ("res50", "res101", "res152", "w32", "w48")},
    **{f"{net}_128x96_dark": f"{net}_256x192 codec=dark {_SMALL}" for net in ("res50", "res101", "res152", "w32")},
    **{
        f"{net}_256x192_branch_{2 * branch}x": f"{net}_256x192 +model.heatmap_branch={branch} codec.heatmap_size=[{size}]"
        for net in ("w32", "w48")
        for branch, size in ((1, "24,32"), (2, "12,16"))
    },
    "deeppose_res101_256x192": "deeppose_res50_256x192 model=deeppose_101",
    "deeppose_res152_256x192": "deeppose_res50_256x192 model=deeppose_152",
    "halpe26_w32_256x192": "halpe_w32_256x192 skeleton=halpe26 data.keypoint_fields={keypoints:26}",
    "hourglass_4_128x96": "hourglass_8_256x192 model=hourglass_4 size=128x96",
    "hourglass_4_128x96_dark": "hourglass_8_256x192 model=hourglass_4 codec=dark size=128x96 codec.blur_kernel=11",
    "hourglass_4_256x192": "hourglass_8_256x192 model=hourglass_4",
    "hourglass_8_128x96": "hourglass_8_256x192 size=128x96 codec.sigma=2.0",
    "hourglass_8_128x96_dark": "hourglass_8_256x192 codec=dark size=128x96 codec.sigma=2.0 codec.blur_kernel=11",
    "hourglass_8_256x256": "hourglass_8_256x192 size=256x256",
    "mpii_res101_256x256": "mpii_res50_256x256 model=simple_baseline_101",
    "mpii_res152_256x256": "mpii_res50_256x256 model=simple_baseline_152",
    "mpii_w48_256x256": "mpii_w32_256x256 model=hrnet_w48",
    "mpii_w48_256x256_dark": "mpii_w32_256x256 model=hrnet_w48 codec=dark",
    "rle_res101_256x192": "rle_res50_256x192 model=rle_101",
    "rle_res152_256x192": "rle_res50_256x192 model=rle_152",
    "rle_res152_384x288": "rle_res50_256x192 model=rle_152 size=384x288",
    "rle_w32_256x192": "rle_res50_256x192 model=rle_w32",
    "simcc_res50_384x288": "simcc_res50_256x192 size=384x288 schedule.milestones=[90,120] trainer.max_epochs=140",
    "simcc_w32_256x192": "simcc_res50_256x192 model=simcc_w32 codec.sigma=4.0",
    "tiny_deeppose": "tiny model=deeppose_tiny loss.beta=0",
    "tiny_integral": "tiny codec=integral",
    "tiny_rle": "tiny model=rle_tiny optim.lr=5e-4",
    "tiny_simcc": "tiny model=simcc_tiny",
    "w32_256x192_across_stages": "w32_256x192 +model.exchanges=across_stages",
    "w32_256x192_final_exchange": "w32_256x192 +model.exchanges=final",
    "w32_256x192_pixels": "w32_256x192 pixels=color_dropout",
    "w32_256x192_scratch": "w32_256x192",
    "w32_256x192_udp_offset": "w32_256x192 codec=udp_offset loss=offset",
    "w32_384x288_dark": "w32_384x288 codec=dark data.batch_size=28",
    "w48_128x96_dark": f"w48_256x192 codec=dark codec.blur_kernel=11 {_SMALL}",
    "w48_256x192_dark": "w48_256x192 codec=dark data.batch_size=30",
    "w48_384x288_dark": "w48_384x288 codec=dark data.batch_size=18",
}

GONE: Mapping[str, str] = {
    "backend=bf16": "precision=bf16",
    "backend=channels_last": "backend=torch",
    "backend=compiled": "backend=torch or backend=openvino",
    "backend=frozen": "backend=torch or backend=openvino",
    "backend=openvino_bf16": "backend=openvino precision=bf16",
    "callbacks.pictures.num_photos": "callbacks.pictures.num_images=<number>",
    "format=torch": "format=onnx or format=openvino",
    "format=torchscript": "format=onnx or format=openvino",
    "input": "hrpose export without input=, which writes a file that takes crops",
    "hrpose bench": "make bench or python scripts/benchmarks/{data,metric,inference,codecs,train}.py",
    **{f"codec={codec}_{size}": f"codec={codec} size={size}" for codec, sizes in _SIZES.items() for size in sizes},
    **{f"experiment={old}": f"experiment={new}" for old, new in sorted(_EXPERIMENTS.items())},
}
"""Removed verbs, experiments, options and keys, each with its replacement.

The key is an override (`format=torchscript`), the key of an override with any value (`input`), a group and its option
(`codec=dark_256x192`, `experiment=w48_256x192_dark`), or a verb (`hrpose bench`). The value is the replacement: overrides or a
command, alternatives joined by " or ". An option of this name in the user's configuration folder takes precedence.
"""

GONE_DEFAULTS: dict[str, object] = {}
"""Removed top-level keys with their default: a stored configuration with this value is accepted."""


def new_name(target: str) -> str | None:
    """Return the present name of a moved module, class or function, such as a `_target_`; None if it has not moved."""
    for old, new in sorted(MOVED.items(), reverse=True):
        if target == old or target.startswith(f"{old}."):
            return new + target.removeprefix(old)
    return None


def replacement(override: str) -> str | None:
    """Return the replacement in `GONE` of an override `[+]key=value` or a verb `hrpose <verb>`; None if there is none."""
    bare = override.lstrip("+~")
    return GONE.get(bare) or GONE.get(bare.partition("=")[0])


def gone_message(override: str) -> str | None:
    """Return the message for a removed override, with its replacement; None if it is not in `GONE`."""
    new = replacement(override)
    if new is None:
        return None
    value = override.partition("=")[2]
    return f"{repr(value) if override.lstrip('+~') in GONE and value else 'it'} is no longer available. Use {new}."


class MovedModules:
    """A finder and loader that imports a moved module by its old name; the last finder on `sys.meta_path`.

    Warns:
        DeprecationWarning: with the new name.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a moved module; None for other names."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]  # a loader by its methods

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module under its new name."""
        warnings.warn(f"{spec.name} is now {MOVED[spec.name]}.", DeprecationWarning, stacklevel=2)
        return _Alias(spec.name, import_module(MOVED[spec.name]))

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has been executed under its new name."""


class _Alias(ModuleType):
    """A module under its old name; its attributes are those of the new module, where they may have new names."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name, module.__doc__)
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> object:
        new = MOVED.get(f"{self.__name__}.{name}", name)
        return getattr(self.__dict__["_module"], new.rpartition(".")[2])


def install() -> None:
    """Make the old names importable."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())


def lazy_names(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` (PEP 562) of a package that imports names from its submodules on first use.

    Args:
        package: the package's `__name__`.
        names: the names in each submodule, separated by spaces; the name of the submodule itself is the submodule.
    """
    homes = {name: submodule for submodule, defined in names.items() for name in defined.split()}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = import_module(f"{package}.{homes[name]}")
        return module if homes[name] == name else getattr(module, name)

    def list_names() -> list[str]:
        return sorted({*vars(import_module(package)), *homes})

    return get, list_names
