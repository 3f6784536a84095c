"""The files and folders of a configuration: inputs that must exist, and the folders of runs."""

import logging
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from hrpose.config.advice import did_you_mean
from hrpose.config.build import build
from hrpose.config.loading import value_at
from hrpose.errors import ConfigError
from hrpose.files import archive_fault
from hrpose.weights.published import PUBLISHED, cached_file, find_published, is_address, say_by_hand, suggest

logger = logging.getLogger(__name__)
_CONVERT_ADVICE = "`hrpose convert {}` converts labels of other tools to COCO files and prints the command."
_SET_ADVICE = "Set data.val_annotations and data.val_images"
# keys of input files, besides weights and data sets
_INPUTS = {"evaluate": "annotations results", "compare": "annotations a b", "predict": "detector.file annotations boxes"}
_SPLIT_ADVICE = f"{_SET_ADVICE}, or split the file and get the command: hrpose convert {{}} split=0.1"


def find_file_faults(cfg: DictConfig) -> list[tuple[str, str]]:
    """Return the keys of missing checkpoints, weights and data, with messages.

    Missing files of a data set are one fault, with the expected layout. Data that the task creates (`prepare`) may be missing.
    """
    searches = (_checkpoint_faults, _weights_faults, _result_faults, _source_faults, _mixed_data)
    faults = [fault for search in searches for fault in search(cfg)]
    missing = list(_missing_data(cfg))
    if missing:
        lines = ["these files are missing:", *(f"  {key} = {path}{_hint(key, Path(path))}" for key, path in missing)]
        faults.append(("data", "\n".join([*lines, *_data_advice(cfg, dict(missing))])))
    return faults


def find_checkpoint(cfg: DictConfig) -> Path | None:
    """Return the checkpoint of `ckpt_path`, None for null, and warn of damaged ones that are skipped.

    `last` is the newest last.ckpt of the runs of this name. If it is damaged, the other checkpoints in its folder are tried,
    newest first, then those of earlier runs.

    Raises:
        ConfigError: if there is no such file, or it is damaged.
    """
    checkpoint, damaged = _choose_checkpoint(cfg)
    for file, fault in damaged.items():
        logger.warning("%s is damaged (%s): using %s instead.", file, fault, checkpoint)
    return checkpoint


def _choose_checkpoint(cfg: DictConfig) -> tuple[Path | None, dict[Path, str]]:
    """Return the checkpoint, and the damaged files that precede it with their faults."""
    if cfg.ckpt_path is None:
        return None, {}
    if cfg.ckpt_path != "last":
        if not (file := Path(cfg.ckpt_path)).is_file():
            raise ConfigError(f"ckpt_path: there is no file {file}.{_alternatives(file)}")
        if _is_archive(file) and (fault := _damage(file)):
            raise ConfigError(
                f"ckpt_path: {file} is damaged ({fault}). Set another checkpoint, or ckpt_path=last for the newest complete one."
            )
        return file, {}
    folder = Path(str(cfg.paths.runs), str(cfg.name))
    found = sorted(folder.rglob("last.ckpt"), key=_modified, reverse=True)
    if not found:
        raise ConfigError(
            f"ckpt_path: expected a last.ckpt in {folder} or below, but there is none. Set a checkpoint file, or start a new "
            "training with ckpt_path=null."
        )
    others = {last: sorted(set(last.parent.glob("*.ckpt")) - {last}, key=_modified, reverse=True) for last in found}
    damaged: dict[Path, str] = {}
    for file in (file for last in found for file in (last, *others[last])):
        fault = _damage(file)
        if fault is None:
            return file, damaged
        damaged[file] = fault
    listing = "; ".join(f"{file} ({fault})" for file, fault in damaged.items())
    raise ConfigError(f"ckpt_path: expected a complete checkpoint under {folder}, but all are damaged: {listing}.")


def _modified(file: Path) -> int:
    return file.stat().st_mtime_ns


def _is_archive(file: Path) -> bool:
    """Check whether a file is a zip archive, as written by `torch.save`; old files and those of other tools are not."""
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"


def _damage(file: Path) -> str | None:
    """Return what is wrong with a checkpoint; None for a complete one."""
    return _archive_damage(file, file.stat().st_size, _modified(file))


@lru_cache(maxsize=64)
def _archive_damage(file: Path, size: int, modified: int) -> str | None:
    """Check all checksums of a zip archive, cached by size and time of the file.

    A truncated file lacks the directory at its end. A file that was not flushed before a power failure can have zeros in the
    middle, which torch reads without error.
    """
    if fault := archive_fault(file):
        return fault
    try:
        with zipfile.ZipFile(file) as archive:
            wrong = archive.testzip()
    except Exception as error:  # zipfile may raise any error for a damaged archive
        return str(error) or type(error).__name__
    return f"wrong checksum of {wrong}" if wrong else None


def _checkpoint_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    checkpoint, weights = _text(cfg, "ckpt_path"), _text(cfg, "weights")
    if cfg.get("task") in ("test", "predict", "export") and checkpoint is None and weights is None:
        wanted = f"{cfg.task}{' with' if cfg.task == 'predict' else ''}"
        yield (
            "ckpt_path",
            f"expected a network to {wanted}. Set ckpt_path=<file>, ckpt_path=last for the newest checkpoint of this name, or "
            "weights=<file or published name> for weights of another tool.",
        )
    if checkpoint is not None:
        try:
            _choose_checkpoint(cfg)
        except ConfigError as error:
            yield "ckpt_path", str(error).removeprefix("ckpt_path: ")


def _weights_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Check that `weights` is an existing file, the name of a published file, or a URL."""
    weights = _text(cfg, "weights")
    if weights is None or Path(weights).is_file() or is_address(weights):
        return
    published = find_published(weights)
    if published is None:
        yield "weights", f"there is no file {weights}.{_alternatives(Path(weights))}{suggest(weights)}"
    elif PUBLISHED[published] is None and not (file := cached_file(published)).is_file():
        yield "weights", f"there is no file {weights}. {say_by_hand(published, file)}"


def _result_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Check the other input files of a verb, and for `compare` the folders of runs."""
    for key in _INPUTS.get(str(cfg.get("task")), "").split():
        path, may_be_folder = _text(cfg, key), key in ("a", "b")
        if path is None or (key == "detector.file" and not path) or Path(path).is_file():
            continue
        if not Path(path).is_dir():
            yield key, f"there is no {'file or folder' if may_be_folder else 'file'} {path}."
        elif not may_be_folder:
            advice = f" It is a folder. {_CONVERT_ADVICE.format(path)}" if key == "annotations" else ""
            yield key, f"there is no file {path}.{advice}"


def _source_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Check the source of `predict`, and settings that contradict it."""
    if cfg.get("task") != "predict" or OmegaConf.is_missing(cfg, "source") or not isinstance(cfg.source, str | int):
        return
    # Imported here: numpy is slow to load, and composing needs none of it.
    from hrpose.media.source import ImageFiles, find_media

    try:
        media = find_media(cfg.source)
    except ValueError as error:
        yield "source", str(error)
        return
    if not isinstance(media, ImageFiles):
        for name in ("annotations", "boxes"):
            if cfg.get(name) is not None:
                yield name, "it is for images, but source is a video, a camera or a stream. Leave it out."
        if cfg.get("devices") != 1:
            yield "devices", "tracking in a video needs one process. Leave it out, or set a source of images."
        if cfg.get("resume"):
            yield "resume", "tracking in a video cannot be resumed. Leave it out."
    if cfg.get("boxes") is not None and cfg.get("detector") is not None:
        yield "detector", "boxes are already given by `boxes`. Leave one of the two out."


def _alternatives(file: Path) -> str:
    """List the checkpoints in the folder of a missing file, or below a folder."""
    if file.is_dir():
        below = sorted(path.relative_to(file).as_posix() for path in file.rglob("*.ckpt"))
        return " It is a folder" + (f", with {', '.join(below[:8])}." if below else ".")
    beside = sorted(path.name for path in file.parent.glob("*") if path.suffix in (".ckpt", ".pth", ".safetensors"))
    if file.parent.is_dir() and beside:
        return f" {file.parent} has {', '.join(beside[:8])}."
    return "" if file.parent.is_dir() else f" The folder {file.parent} does not exist."


def needs_drawing(cfg: DictConfig) -> bool:
    """Check whether the task uses data that `prepare` creates."""
    if value_at(cfg, "prepare") is None:
        return False
    folder = _text(cfg, "prepare.folder")
    return folder is None or any(_is_below(path, folder) for path in _data_paths(cfg).values())


def find_checked_splits(cfg: DictConfig) -> list[Literal["train", "val"]]:
    """Return the sets that `doctor` checks: those with annotations that are not synthetic.

    A missing file of the default layout is left out if the file of the other set is outside this layout.
    """
    drawn, home = _text(cfg, "prepare.folder"), _text(cfg, "paths.data")
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    given = {name: _text(cfg, f"data.{name}_annotations") for name in splits}
    files = {name: file for name, file in given.items() if file is not None and not _is_below(file, drawn)}
    own = [name for name, file in files.items() if not _is_below(file, home)]
    return [name for name, file in files.items() if not own or name in own or Path(file).is_file()]


def _is_below(path: str, folder: str | None) -> bool:
    return folder is not None and Path(path).resolve().is_relative_to(Path(folder).resolve())


def _data_paths(cfg: DictConfig) -> dict[str, str]:
    """Return the paths that the task uses, by key of `data`."""
    splits: Mapping[object, Sequence[str]] = {"doctor": find_checked_splits(cfg), "fit": ("train", "val")}
    wanted = [f"{split}_{kind}" for split in splits.get(cfg.get("task"), ("val",)) for kind in ("annotations", "images")]
    if cfg.get("task") != "doctor":
        wanted += ["val_ground_truth", *(["val_detections"] if "det" in (value_at(cfg, "data.val_boxes") or []) else [])]
    return {name: path for name in wanted if (path := _text(cfg, f"data.{name}")) is not None}


def _missing_data(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Yield key and path of missing data."""
    if not isinstance(cfg.get("data"), DictConfig) or cfg.get("task") == "export":
        return
    folder = _text(cfg, "prepare.folder")
    if value_at(cfg, "prepare") is not None and folder is None:
        return
    # Imported here: numpy is slow to load, and composing needs none of it.
    from hrpose.media.folders import is_image_folder

    for name, path in _data_paths(cfg).items():
        exists = is_image_folder if name.endswith("_images") else os.path.isfile
        if not _is_below(path, folder) and not exists(path):
            yield f"data.{name}", path


def _mixed_data(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find paths of synthetic data together with annotations of other data."""
    folder = _text(cfg, "prepare.folder")
    if folder is None or not isinstance(cfg.get("data"), DictConfig):
        return
    paths = _data_paths(cfg)
    train, val = (paths.get(f"{name}_annotations") for name in ("train", "val"))
    if train is not None and val is not None and _is_below(val, folder) and not _is_below(train, folder):
        yield (
            "data.val_annotations",
            f"{val} is synthetic data, but data.train_annotations={train} is not. {_SPLIT_ADVICE.format(train)}",
        )
    for name, path in paths.items():
        annotations = f"{name.partition('_')[0]}_annotations"
        if name == annotations or annotations not in paths:
            continue
        if _is_below(path, folder) and not _is_below(paths[annotations], folder):
            advice = " or set data.val_boxes=[gt]" if name == "val_detections" else ""
            yield (
                f"data.{name}",
                f"{path} is synthetic data, but data.{annotations}={paths[annotations]} is not. Set data.{name}=...{advice}.",
            )


def _hint(key: str, path: Path) -> str:
    """Return a hint for a missing path: it is a folder instead of a file, or there is a similar name."""
    wants_folder = key.endswith("_images")
    if path.is_dir() or path.is_file():
        folder = " (a file; a folder, or uncompressed .zip or .tar, is expected)"
        return folder if wants_folder else " (a folder; a file is expected)"
    beside = path.parent.glob("*") if path.parent.is_dir() else ()
    meant = did_you_mean(path.name, sorted(one.name for one in beside if one.is_dir() == wants_folder))
    return f" ({meant.strip()})" if meant else ""


def _data_advice(cfg: DictConfig, missing: Mapping[str, str]) -> Iterator[str]:
    """Yield advice on missing data: conversion, splitting, the expected layout, or annotated boxes."""
    home, train, val = (_text(cfg, key) for key in ("paths.data", "data.train_annotations", "data.val_annotations"))
    own = [key for key, path in missing.items() if home is not None and Path(path).is_relative_to(home)]
    uses_layout = home is not None and val is not None and Path(val).is_relative_to(home)
    labels = [path for name, path in _data_paths(cfg).items() if name.endswith("_annotations") and _is_foreign(path)]
    yield from (_CONVERT_ADVICE.format(path) for path in dict.fromkeys(labels))
    is_own = train is not None and home is not None and not Path(train).is_relative_to(home)
    if cfg.get("task") == "fit" and "data.val_annotations" in own and is_own and not labels:
        yield f"{_SET_ADVICE}." if "data.train_annotations" in missing else _SPLIT_ADVICE.format(train)
    elif own and uses_layout and cfg.get("layout") is not None:
        yield str(build(cfg.layout))
    elif "data.val_detections" in missing:
        yield "Set the detection file of your detector, or use annotated boxes: data.val_boxes=[gt]."


def _is_foreign(path: str) -> bool:
    """Check for a folder, or a file that is not JSON, which may be labels of another tool."""
    return Path(path).is_dir() or (Path(path).is_file() and Path(path).suffix != ".json")


def _text(cfg: DictConfig, key: str) -> str | None:
    """Return a string value of the configuration; None if it is missing or cannot be resolved."""
    value = value_at(cfg, key)
    return value if isinstance(value, str) else None


_claimed: str | None = None  # value of `${run_time:}` while a command runs


def _run_time() -> str:
    """Return the start time of the run; `${run_time:}` in the configuration."""
    return _claimed or time.strftime("%Y-%m-%d_%H-%M-%S")


OmegaConf.register_new_resolver("run_time", _run_time, use_cache=True, replace=True)


@contextmanager
def _run_time_as(stamp: str) -> Iterator[None]:
    """Fix `${run_time:}` in the `with` block."""
    global _claimed
    before, _claimed = _claimed, stamp
    try:
        yield
    finally:
        _claimed = before


def open_run_folder(cfg: DictConfig) -> None:
    """Create the parent of `paths.run`, so that an error is reported before Hydra creates the folder.

    Raises:
        ConfigError: if the folder cannot be created or is not writable.
    """
    run = Path(str(cfg.paths.run))
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        reason = "is a file" if run.is_file() else ""
    except OSError as error:
        reason = f"cannot be created ({error.strerror})"
    if not reason and not os.access(run if run.is_dir() else run.parent, os.W_OK | os.X_OK):
        reason = "is not writable"
    if reason:
        raise ConfigError(
            f"paths.run: expected a writable folder, but {run} {reason}. Set paths.runs=<folder> for all runs, or "
            "paths.run=<folder> for this one."
        )


def remove_unused_folder(folder: Path) -> None:
    """Remove the folder of a rejected run if it has only the log and `.hydra`."""
    if folder.is_dir() and all(path.name == ".hydra" or path.suffix == ".log" for path in folder.iterdir()):
        shutil.rmtree(folder)


@contextmanager
def claimed_folders(configs: Sequence[DictConfig], key: Literal["run", "sweep"]) -> Iterator[None]:
    """Create the folders `paths.<key>` of all jobs of a command, and fix `${run_time:}` in the `with` block.

    If a folder with this time exists, because two commands started in the same second, `_2` is appended to the time. Folders
    that do not depend on the time are chosen by the user and may exist.
    """
    first, second = (_folders(configs, key, stamp) for stamp in ("a", "b"))
    timed = [cfg for cfg, one, other in zip(configs, first, second, strict=True) if one != other]
    start = time.strftime("%Y-%m-%d_%H-%M-%S")
    stamps = (start if number == 1 else f"{start}_{number}" for number in count(1))
    with _run_time_as(next(stamp for stamp in stamps if _make_all(sorted(set(_folders(timed, key, stamp)))))):
        yield


def _folders(configs: Sequence[DictConfig], key: str, stamp: str) -> list[Path]:
    """Return the folder of each configuration for a value of `${run_time:}`."""
    for cfg in configs:
        OmegaConf.clear_cache(cfg)
    with _run_time_as(stamp):
        return [Path(str(cfg.paths[key])) for cfg in configs]


def _make_all(folders: Sequence[Path]) -> bool:
    """Create all folders; if one exists, create none and return False."""
    for position, folder in enumerate(folders):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            for made in folders[:position]:
                made.rmdir()
            return False
    return True
