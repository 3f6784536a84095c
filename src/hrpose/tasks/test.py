"""hrpose test: measure the AP of a checkpoint."""

from omegaconf import DictConfig

from hrpose.config import ConfigError
from hrpose.tasks.assemble import assemble, find_checkpoint
from hrpose.tasks.report import show_report


def test(cfg: DictConfig) -> float:
    """Evaluate a checkpoint, or weights, on the validation persons.

    Args:
        cfg: a composed configuration of the verb `test`.

    Returns:
        AP on the first kind of boxes.

    Raises:
        ConfigError: if neither a checkpoint nor weights are given.
    """
    checkpoint = find_checkpoint(cfg)
    if checkpoint is None and cfg.weights is None:
        raise ConfigError(
            "ckpt_path: expected a checkpoint to test, but got null. Give ckpt_path=<file>, ckpt_path=last, "
            "or weights=<file> for weights of other origin."
        )
    assembly = assemble(cfg)
    numbers = assembly.trainer.test(
        assembly.module, datamodule=assembly.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True
    )
    return show_report(cfg, assembly, numbers, stage="test", checkpoint=checkpoint or cfg.weights)
