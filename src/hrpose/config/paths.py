"""The files and folders that a configuration names: those that must be there, and those that runs write to."""

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
from omegaconf.errors import OmegaConfBaseException

from hrpose.config.advice import did_you_mean
from hrpose.config.build import build
from hrpose.errors import ConfigError
from hrpose.files import archive_fault
from hrpose.media.folders import is_image_folder
from hrpose.media.source import Photos, find_media
from hrpose.weights.published import cached_file, find_published, is_address, say_by_hand, suggest

logger = logging.getLogger(__name__)
_SAY_CONVERT = "Labels of another tool are read by `hrpose convert {}`, which writes COCO files and prints the command."
_SAY_DIVIDE = (
    "Give data.val_annotations and data.val_images; this divides one file into two, and prints the command: "
    "hrpose convert {} split=0.1"
)


def find_file_faults(cfg: DictConfig) -> list[tuple[str, str]]:
    """Find the checkpoint, weights and data that a configuration names and that are not there.

    The files of a dataset are named together, with the layout that the configuration expects. Data that the task makes itself
    (`prepare`) need not be there yet.

    Returns:
        Keys, each with what is wrong with it.
    """
    faults = [
        *_checkpoint_faults(cfg),
        *_weights_faults(cfg),
        *_result_faults(cfg),
        *_source_faults(cfg),
        *_mixed_data(cfg),
    ]
    missing = list(_missing_data(cfg))
    if missing:
        lines = ["these files are missing:", *(f"  {key} = {path}{_hint(key, Path(path))}" for key, path in missing)]
        faults.append(("data", "\n".join([*lines, *_data_advice(cfg, dict(missing))])))
    return faults


def find_checkpoint(cfg: DictConfig) -> Path | None:
    """Find the checkpoint that `ckpt_path` names, and warn of damaged ones that are passed over.

    `last` is the newest last.ckpt of any run of this name. If it is damaged, the other checkpoints of its folder follow, the
    newest first, and then those of the run before.

    Args:
        cfg: with `ckpt_path`, `name` and `paths.runs`.

    Returns:
        A complete file; None for null.

    Raises:
        ConfigError: there is no such file, or it is damaged.
    """
    checkpoint, damaged = _choose_checkpoint(cfg)
    for file, fault in damaged.items():
        logger.warning("%s is damaged (%s): taking %s instead.", file, fault, checkpoint)
    return checkpoint


def _choose_checkpoint(cfg: DictConfig) -> tuple[Path | None, dict[Path, str]]:
    """Return the checkpoint, and the damaged files that would have come before it, each with its fault."""
    if cfg.ckpt_path is None:
        return None, {}
    if cfg.ckpt_path != "last":
        if not (file := Path(cfg.ckpt_path)).is_file():
            raise ConfigError(f"ckpt_path: there is no file {file}.{_alternatives(file)}")
        if _is_archive(file) and (fault := _damage(file)):
            raise ConfigError(
                f"ckpt_path: {file} is damaged ({fault}). Name another checkpoint; ckpt_path=last takes the newest complete one."
            )
        return file, {}
    folder = Path(str(cfg.paths.runs), str(cfg.name))
    found = sorted(folder.rglob("last.ckpt"), key=_modified, reverse=True)
    if not found:
        raise ConfigError(
            f"ckpt_path: expected a last.ckpt somewhere under {folder}, but there is none. "
            "Name a checkpoint file, or start anew with ckpt_path=null."
        )
    damaged: dict[Path, str] = {}
    for last in found:
        others = sorted(set(last.parent.glob("*.ckpt")) - {last}, key=_modified, reverse=True)
        for file in (last, *others):
            fault = _damage(file)
            if fault is None:
                return file, damaged
            damaged[file] = fault
    shown = "; ".join(f"{file} ({fault})" for file, fault in damaged.items())
    raise ConfigError(f"ckpt_path: expected a complete checkpoint under {folder}, but all are damaged: {shown}.")


def _modified(file: Path) -> int:
    return file.stat().st_mtime_ns


def _is_archive(file: Path) -> bool:
    """Check whether a file begins as those of `torch.save` do; older ones, and those of other tools, do not."""
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"


def _damage(file: Path) -> str | None:
    """Say what is wrong with a checkpoint; None for a complete one."""
    return _archive_damage(file, file.stat().st_size, _modified(file))


@lru_cache(maxsize=64)
def _archive_damage(file: Path, size: int, modified: int) -> str | None:
    """Compare all checksums of a zip archive, as fast as it can be read; size and time say whether the file is still the same.

    A file that is cut off lacks the directory at its end. One that was not flushed before a power failure can have it, and
    zeros in the middle, which torch reads without an error.
    """
    if fault := archive_fault(file):
        return fault
    try:
        with zipfile.ZipFile(file) as archive:
            wrong = archive.testzip()
    except Exception as error:  # of a damaged archive zipfile may raise anything
        return str(error) or type(error).__name__
    return f"wrong checksum of {wrong}" if wrong else None


def _checkpoint_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    checkpoint, weights = _text(cfg, "ckpt_path"), _text(cfg, "weights")
    if cfg.get("task") in ("test", "predict", "export") and checkpoint is None and weights is None:
        wanted = f"{cfg.task}{' with' if cfg.task == 'predict' else ''}"
        yield (
            "ckpt_path",
            f"there is nothing to {wanted}. Give ckpt_path=<file>, ckpt_path=last for "
            "the newest checkpoint of this name, or weights=<file or published name> for the weights of another tool.",
        )
    if checkpoint is not None:
        try:
            _choose_checkpoint(cfg)
        except ConfigError as error:
            yield "ckpt_path", str(error).removeprefix("ckpt_path: ")


def _weights_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Check that there are weights, or that they can be fetched: published ones by their name, others by their address."""
    weights = _text(cfg, "weights")
    if weights is None or Path(weights).is_file() or is_address(weights):
        return
    published = find_published(weights)
    if published is None:
        yield "weights", f"there is no file {weights}.{_alternatives(Path(weights))}{suggest(weights)}"
    elif published.url is None and not (file := cached_file(published.name)).is_file():
        yield "weights", f"there is no file {weights}. {say_by_hand(published, file)}"


def _result_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Look for what a verb reads beside data and weights: files; for `compare` also the folders of runs."""
    named = {
        "evaluate": ("annotations", "results"),
        "compare": ("annotations", "a", "b"),
        "predict": ("annotations", "boxes"),
    }
    if (
        isinstance(cfg.get("detector"), DictConfig)
        and (file := _text(cfg.detector, "file"))
        and not Path(file).is_file()
    ):
        yield "detector.file", f"there is no file {file}."
    for name in named.get(str(cfg.get("task")), ()):
        path = _text(cfg, name)
        if path is not None and not (Path(path).is_file() or (name in ("a", "b") and Path(path).is_dir())):
            is_labels = name == "annotations" and Path(path).is_dir()
            advice = f" It is a folder. {_SAY_CONVERT.format(path)}" if is_labels else ""
            yield name, f"there is no {'file or folder' if name in ('a', 'b') else 'file'} {path}.{advice}"


def _source_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Look for the photos or the video of `predict`, and for what does not go together."""
    if cfg.get("task") != "predict" or OmegaConf.is_missing(cfg, "source") or not isinstance(cfg.source, str | int):
        return
    try:
        media = find_media(cfg.source)
    except ValueError as error:
        yield "source", str(error)
        return
    if not isinstance(media, Photos):
        for name in ("annotations", "boxes"):
            if cfg.get(name) is not None:
                yield name, "it is for images, but source is a video, a camera or a stream. Leave it out."
        if cfg.get("devices") != 1:
            yield "devices", "people are followed through a video by one process. Leave it out, or give photos."
        if cfg.get("resume"):
            yield "resume", "people are followed through a video from its beginning. Leave it out."
    if cfg.get("boxes") is not None and cfg.get("detector") is not None:
        yield "detector", "the boxes are given already, by boxes. Leave one of the two out."


def _alternatives(file: Path) -> str:
    """List the checkpoints that lie where one was sought: beside it, or below it where it is a folder."""
    if file.is_dir():
        below = sorted(path.relative_to(file).as_posix() for path in file.rglob("*.ckpt"))
        return " It is a folder" + (f", with {', '.join(below[:8])}." if below else ".")
    beside = sorted(path.name for path in file.parent.glob("*") if path.suffix in (".ckpt", ".pth", ".safetensors"))
    if file.parent.is_dir() and beside:
        return f" {file.parent} has {', '.join(beside[:8])}."
    return "" if file.parent.is_dir() else f" There is no folder {file.parent} either."


def needs_drawing(cfg: DictConfig) -> bool:
    """Check whether the task uses data that `prepare` makes; data of the user's own needs nothing drawn."""
    if _node(cfg, "prepare") is None:
        return False
    folder = _drawn_folder(cfg)
    return folder is None or any(_is_below(path, folder) for path in _data_paths(cfg).values())


def find_checked_splits(cfg: DictConfig) -> list[Literal["train", "val"]]:
    """Return the sets that `doctor` checks: those with annotations that are not drawn by code.

    A missing file of the data set's own layout is left out where the other set has a file elsewhere, a user's own.
    """
    drawn, home = _drawn_folder(cfg), _text(cfg.paths, "data")
    files: dict[Literal["train", "val"], str] = {}
    for name in ("train", "val"):
        file = _text(cfg.data, f"{name}_annotations")
        if file is not None and not (drawn is not None and _is_below(file, drawn)):
            files[name] = file
    own = [name for name, file in files.items() if home is None or not _is_below(file, home)]
    return [name for name, file in files.items() if not own or name in own or Path(file).is_file()]


def _drawn_folder(cfg: DictConfig) -> str | None:
    return _text(cfg.prepare, "folder") if isinstance(_node(cfg, "prepare"), DictConfig) else None


def _is_below(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def _data_paths(cfg: DictConfig) -> dict[str, str]:
    """Return the keys of `data` whose files and folders the task uses, with their paths."""
    boxes = OmegaConf.select(cfg, "data.val_boxes") or []
    for_training = ["train_annotations", "train_images"]
    for_validation = ["val_annotations", "val_images", "val_ground_truth"]
    for_validation += ["val_detections"] if "det" in boxes else []
    wanted = for_training + for_validation if cfg.get("task") == "fit" else for_validation
    if cfg.get("task") == "doctor":
        wanted = [f"{name}_{kind}" for name in find_checked_splits(cfg) for kind in ("annotations", "images")]
    paths = {name: _text(cfg.data, name) for name in wanted}
    return {name: path for name, path in paths.items() if path is not None}


def _missing_data(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Give key and path of the data that the task needs and does not find."""
    if not isinstance(cfg.get("data"), DictConfig) or cfg.get("task") == "export":
        return
    folder = _drawn_folder(cfg)
    if _node(cfg, "prepare") is not None and folder is None:
        return
    for name, path in _data_paths(cfg).items():
        if folder is not None and _is_below(path, folder):
            continue
        if not (is_image_folder(path) if name.endswith("_images") else Path(path).is_file()):
            yield f"data.{name}", path


def _mixed_data(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find paths that still lead to drawn data beside annotations that do not."""
    folder = _drawn_folder(cfg)
    if folder is None or not isinstance(cfg.get("data"), DictConfig):
        return
    paths = _data_paths(cfg)
    train, val = (paths.get(f"{name}_annotations") for name in ("train", "val"))
    if train is not None and val is not None and _is_below(val, folder) and not _is_below(train, folder):
        yield (
            "data.val_annotations",
            f"{val} belongs to people drawn by code, but data.train_annotations={train} does not. {_SAY_DIVIDE.format(train)}",
        )
    for name, path in paths.items():
        annotations = f"{name.partition('_')[0]}_annotations"
        if name == annotations or annotations not in paths:
            continue
        if _is_below(path, folder) and not _is_below(paths[annotations], folder):
            advice = " or set data.val_boxes=[gt]" if name == "val_detections" else ""
            yield (
                f"data.{name}",
                f"{path} belongs to people drawn by code, but data.{annotations}={paths[annotations]} does not. Give "
                f"data.{name}=...{advice}.",
            )


def _hint(key: str, path: Path) -> str:
    """Say what stands where data was sought, or what lies beside it under a like name."""
    wants_folder = key.endswith("_images")
    if path.is_dir() or path.is_file():
        return (
            " (a file; a folder, or uncompressed .zip or .tar, is expected)"
            if wants_folder
            else " (a folder; a file is expected)"
        )
    beside = path.parent.glob("*") if path.parent.is_dir() else ()
    meant = did_you_mean(path.name, sorted(one.name for one in beside if one.is_dir() == wants_folder))
    return f" ({meant.strip()})" if meant else ""


def _data_advice(cfg: DictConfig, missing: Mapping[str, str]) -> Iterator[str]:
    """Show the layout that the data set has, but not to somebody who has files of their own."""
    home = _text(cfg.paths, "data")
    own = [key for key, path in missing.items() if home is not None and Path(path).is_relative_to(home)]
    annotations = _text(cfg.data, "val_annotations")
    uses_layout = home is not None and annotations is not None and Path(annotations).is_relative_to(home)
    train = _text(cfg.data, "train_annotations")
    labels = [path for name, path in _data_paths(cfg).items() if name.endswith("_annotations") and _is_foreign(path)]
    yield from (_SAY_CONVERT.format(path) for path in dict.fromkeys(labels))
    is_own = train is not None and home is not None and not Path(train).is_relative_to(home)
    if cfg.get("task") == "fit" and "data.val_annotations" in own and is_own and not labels:
        yield _SAY_DIVIDE.format(train)
    elif own and uses_layout and cfg.get("layout") is not None:
        yield str(build(cfg.layout))
    elif "data.val_detections" in missing:
        yield "Give the boxes of your detector, or take the annotated ones: data.val_boxes=[gt]."


def _is_foreign(path: str) -> bool:
    """Check for a folder or file that may be labels of another tool, which are no COCO file."""
    return Path(path).is_dir() or (Path(path).is_file() and Path(path).suffix != ".json")


def _node(cfg: DictConfig, name: str) -> object:
    return None if OmegaConf.is_missing(cfg, name) else cfg.get(name)


def _text(cfg: DictConfig, name: str) -> str | None:
    """Give a path as it stands in the configuration; None where there is none, or it cannot be resolved."""
    try:
        value = None if OmegaConf.is_missing(cfg, name) else cfg.get(name)
    except OmegaConfBaseException:
        return None
    return value if isinstance(value, str) else None


_claimed: str | None = None  # what `${run_time:}` is while a command runs


def _run_time() -> str:
    """Return the start of the run in seconds; `${run_time:}` in the configuration."""
    return _claimed or time.strftime("%Y-%m-%d_%H-%M-%S")


OmegaConf.register_new_resolver("run_time", _run_time, use_cache=True, replace=True)


def open_run_folder(cfg: DictConfig) -> None:
    """Make the folder above the run's own, so that one that cannot be made is reported before Hydra tries.

    Args:
        cfg: with `paths.run`.

    Raises:
        ConfigError: the folder cannot be made, or nothing may be written there.
    """
    run = Path(str(cfg.paths.run))
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        reason = "is a file" if run.is_file() else ""
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
    if not reason and not os.access(run if run.is_dir() else run.parent, os.W_OK | os.X_OK):
        reason = "may not be written to"
    if reason:
        raise ConfigError(
            f"paths.run: expected a folder for what the run leaves, but {run} {reason}. Choose another: paths.runs=<folder> for "
            "all runs, paths.run=<folder> for this one."
        )


def remove_unused_folder(folder: Path) -> None:
    """Remove the folder of a refused run if nothing but its log and its overrides is there."""
    if folder.is_dir() and all(path.name == ".hydra" or path.suffix == ".log" for path in folder.iterdir()):
        shutil.rmtree(folder)


@contextmanager
def claimed_folders(configs: Sequence[DictConfig], key: Literal["run", "sweep"]) -> Iterator[None]:
    """Make the folders of a command, and let `${run_time:}` name them within the block.

    Of two commands that start in the same second the later one gets the time with `_2` behind it. A folder that does not
    depend on the time was chosen by the user, and may be there.

    Args:
        configs: those of all jobs.
        key: which entry of `paths` names the folder: `run`, or `sweep` for the common one of several jobs.
    """
    global _claimed
    first, second = (_folders(configs, key, stamp) for stamp in ("a", "b"))
    timed = [cfg for cfg, one, other in zip(configs, first, second, strict=True) if one != other]
    start = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in count(1):
        stamp = start if number == 1 else f"{start}_{number}"
        if _make_all(sorted(set(_folders(timed, key, stamp)))):
            break
    _claimed = stamp
    try:
        yield
    finally:
        _claimed = None


def _folders(configs: Sequence[DictConfig], key: str, stamp: str) -> list[Path]:
    """Return the folder of each configuration for a value of `${run_time:}`."""
    global _claimed
    before, _claimed = _claimed, stamp
    try:
        for cfg in configs:
            OmegaConf.clear_cache(cfg)
        return [Path(str(cfg.paths[key])) for cfg in configs]
    finally:
        _claimed = before


def _make_all(folders: Sequence[Path]) -> bool:
    """Make all of some folders, or none if one is there already."""
    for position, folder in enumerate(folders):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            for made in folders[:position]:
                made.rmdir()
            return False
    return True
