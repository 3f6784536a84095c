"""hrpose test: measure the AP of a checkpoint."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig

from hrpose.config import find_checkpoint
from hrpose.tasks.assemble import Assembly, assemble
from hrpose.tasks.provenance import advised, check_flip_pairs, check_origin, read_origin, trained_bit_depth
from hrpose.tasks.report import report_run
from hrpose.weights import load_weights


def test(cfg: DictConfig) -> float:
    """Evaluate a checkpoint, or weights, on the validation persons.

    Args:
        cfg: a composed and validated configuration of the verb `test`: it names a checkpoint or weights.

    Returns:
        AP on the first kind of boxes, or mean PCKh in percent.
    """
    checkpoint = find_checkpoint(cfg)
    origin = read_origin(checkpoint or cfg.weights)
    check_origin(cfg, origin)
    with advised(cfg, origin):
        assembly = assemble(cfg, bit_depth=trained_bit_depth(origin))
        if assembly.module.flip_test:
            check_flip_pairs(assembly.module.skeleton, origin)
        if checkpoint is not None:
            load_weights(assembly.module.net, checkpoint, keypoint_names=assembly.module.skeleton.keypoint_names)
    numbers = _run(assembly)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=checkpoint or cfg.weights)


def _run(assembly: Assembly) -> Sequence[Mapping[str, float]]:
    """Run the trainer's test; an engine gets the crops as the loaders give them, past the data module that normalises."""
    if assembly.module.engine is None:
        return assembly.trainer.test(assembly.module, datamodule=assembly.datamodule, verbose=False)
    assembly.datamodule.setup("test")
    return assembly.trainer.test(assembly.module, dataloaders=assembly.datamodule.test_dataloader(), verbose=False)
