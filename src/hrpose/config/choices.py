"""What a chosen network brings along: some `model/` files override the codec, whatever an experiment's name promises."""

from collections.abc import Sequence

from hydra.types import RunMode
from omegaconf import DictConfig

from hrpose.config.compose import config_loader
from hrpose.config.overrides import COMPOSE_ERRORS


def brought_along(verb: str, overrides: Sequence[str]) -> list[str]:
    """Say which codec a network on the command line has put in the place of the one that stood there without it.

    Args:
        verb: the primary configuration.
        overrides: the words of one job, which compose.

    Returns:
        One sentence; none if the codec is as it was, or was chosen by a word of its own.
    """
    chosen = [word for word in overrides if word.startswith("model=")]
    if not chosen or any(word.startswith(("codec=", "codec.input_size=")) for word in overrides):
        return []
    without = [
        word for word in overrides if word not in chosen and not word.startswith(("model.", "+model.", "++model."))
    ]
    try:
        now, before = _compose(verb, overrides), _compose(verb, without)
    except COMPOSE_ERRORS:
        return []  # a word belongs to what the network has brought, so its user knows
    names = [str(cfg.hydra.runtime.choices.get("codec")) for cfg in (now, before)]
    if names[0] == names[1]:
        return []
    sizes = ["x".join(map(str, cfg.codec.input_size)) for cfg in (now, before)]
    return [
        f"{chosen[-1]} comes with codec={names[0]}, crops of {sizes[0]}; "
        f"experiment={now.hydra.runtime.choices.get('experiment')} alone has codec={names[1]}, crops of {sizes[1]}. "
        "A codec=... on the command line has the last word."
    ]


def _compose(verb: str, overrides: Sequence[str]) -> DictConfig:
    """Compose, Hydra's own node included, which knows the names of the options."""
    with config_loader() as loader:
        return loader.load_configuration(verb, list(overrides), RunMode.RUN, from_shell=False)
