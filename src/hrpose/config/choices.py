"""Report what the options of the command line imply: the codec and size that a network selects, unpublished combinations."""

from collections.abc import Mapping, Sequence

from hydra.types import RunMode
from omegaconf import DictConfig

from hrpose.config.compose import config_loader
from hrpose.config.overrides import COMPOSE_ERRORS

_PARTS = ("codec", "size")  # what `model/` files may select


def brought_along(verb: str, overrides: Sequence[str]) -> list[str]:
    """Report the codec and size that a network on the command line has selected, where they differ from those without it.

    Args:
        verb: the primary configuration.
        overrides: those of one job, which compose.

    Returns:
        One sentence; none if codec and size are unchanged, or are overrides themselves.
    """
    chosen = [word for word in overrides if word.startswith("model=")]
    given = {part for part in _PARTS for word in overrides if word.startswith(f"{part}=")}
    if not chosen or given == set(_PARTS) or any(".input_size=" in word for word in overrides):
        return []
    without = [
        word for word in overrides if word not in chosen and not word.startswith(("model.", "+model.", "++model."))
    ]
    try:
        now, before = (_choices(verb, words) for words in (overrides, without))
    except COMPOSE_ERRORS:
        return []  # another override belongs to what the network has selected, so the user knows of it
    changed = [part for part in _PARTS if part not in given and now.get(part) != before.get(part)]
    if not changed:
        return []
    selected, alone = (" ".join(f"{part}={names.get(part)}" for part in changed) for names in (now, before))
    return [
        f"{chosen[-1]} selects {selected}; experiment={now.get('experiment')} alone has {alone}. "
        f"Override it with {' and '.join(f'{part}=...' for part in changed)}."
    ]


def unpublished(cfg: DictConfig, choices: Mapping[str, str | None]) -> list[str]:
    """Report a combination of codec and size that no publication or configuration is known to have.

    Args:
        cfg: a composed configuration.
        choices: the option of each group, as Hydra records them.

    Returns:
        One sentence; none if the combination is published, the size is not that of the group `size`, or its file, a user's
        own, does not list `published` codecs.
    """
    codec, size = choices.get("codec"), cfg.get("size")
    if not codec or not size or cfg.codec.input_size != size.input_size:
        return []
    if codec in size.get("published", (codec,)):
        return []
    return [
        f"codec={codec} size={choices.get('size')}: no publication is known to have this combination. "
        "Its settings are those of hrpose."
    ]


def _choices(verb: str, overrides: Sequence[str]) -> Mapping[str, str | None]:
    """Compose, and return the option of each group."""
    with config_loader() as loader:
        cfg = loader.load_configuration(verb, list(overrides), RunMode.RUN, from_shell=False)
    choices: Mapping[str, str | None] = cfg.hydra.runtime.choices
    return choices
