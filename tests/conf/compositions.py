"""The files of conf/ and what is composed of them, each composition once a process."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrpose.config import compose, conf_dir

CONF = conf_dir()
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))


def options(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def composed(*words: str) -> DictConfig:
    """The configuration of `fit`; `compose` keeps those of the same words."""
    return compose("fit", words)


def as_written(*words: str) -> Any:
    """That of `fit` without the time of day, which two compositions may see differently in the names of their folders."""
    return OmegaConf.to_container(composed(*words), resolve=False)


def at_home(cfg: DictConfig, folder: Path) -> DictConfig:
    """Give a configuration the data that it expects: empty files in a folder, as `paths.data=<folder>` would."""
    cfg.paths.data = str(folder)
    if "coco" in cfg.paths:  # data sets that are trained on COCO
        cfg.paths.coco = str(folder)
    for key, path in cfg.data.items():
        if str(path).startswith(f"{folder}/"):
            file = Path(path)
            (file if key.endswith("_images") else file.parent).mkdir(parents=True, exist_ok=True)
            if not key.endswith("_images"):
                file.touch()
    return cfg
