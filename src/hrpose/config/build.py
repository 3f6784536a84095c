"""Build objects from configuration nodes: `_target_` names the class itself, there is no registry."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hrpose.errors import ConfigError

# Keys of nodes that the tasks read themselves, and their types; the targets do not receive them.
OF_TASKS: Mapping[str, Mapping[str, Any]] = {"optim": {"backbone_factor": float}}


def build(node: DictConfig | None, /, **given: Any) -> Any:
    """Build what a node describes.

    Lists and mappings reach the constructor as plain Python containers. A node with `_partial_: true` becomes a callable that
    waits for the rest of its arguments. The given objects are passed as they are; Hydra would turn dataclasses among them into
    configuration.

    Args:
        node: a node with a `_target_`, or None for a part that is switched off.
        given: arguments beside those of the node; they win over the node's own.

    Returns:
        The object; None for None.

    Raises:
        ConfigError: the target refused its arguments; the text has the full key and the target's own message.
    """
    if node is None:
        return None
    key = node._get_full_key(None)
    try:
        factory = instantiate(node, _partial_=True, _convert_="all")
        if key in OF_TASKS:
            arguments = {name: value for name, value in factory.keywords.items() if name not in OF_TASKS[key]}
            factory = partial(factory.func, *factory.args, **arguments)
        if node.get("_partial_", False):
            return partial(factory, **given) if given else factory
        return factory(**given)
    except InstantiationException as error:
        where = re.search(r"full_key: (\S+)", str(error))
        raise ConfigError(_refusal(where.group(1) if where else key, error.__cause__ or error)) from error
    except ConfigError:
        raise
    except (TypeError, ValueError, OSError) as error:
        raise ConfigError(_refusal(key, error)) from error


def plain(node: Any) -> Any:
    """Convert a node to plain containers with every reference resolved; any other value is returned as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _refusal(key: str, error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    text = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    return f"{key}: {text}" if key else text
