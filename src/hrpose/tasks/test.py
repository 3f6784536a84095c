"""hrpose test: measure the AP of a checkpoint, of weights, or of an exported file."""

from omegaconf import DictConfig

from hrpose.config import find_checkpoint
from hrpose.export import ExportedNetwork, ExportedPoses, is_exported, open_exported
from hrpose.tasks.assemble import assemble, assemble_exported
from hrpose.tasks.provenance import advised, check_flip_pairs, check_provenance, read_provenance, trained_bit_depth
from hrpose.tasks.report import report_run
from hrpose.tasks.results import ScoreResult
from hrpose.weights import load_weights


def test(cfg: DictConfig) -> ScoreResult:
    """Evaluate a checkpoint, weights or an exported file on the validation instances.

    Args:
        cfg: a composed and validated configuration of the verb `test`: it names a checkpoint or weights.

    Returns:
        The numbers; the score is AP on the first kind of boxes, or mean PCKh in percent.
    """
    opened = open_exported(cfg.weights) if is_exported(cfg.weights) else None
    if isinstance(opened, ExportedPoses):
        return _test_exported(cfg, opened)
    return _test_network(cfg, opened)


def _test_network(cfg: DictConfig, net: ExportedNetwork | None) -> ScoreResult:
    checkpoint = find_checkpoint(cfg)
    provenance = read_provenance(checkpoint or cfg.weights)
    check_provenance(cfg, provenance)
    with advised(cfg, provenance):
        assembly = assemble(cfg, bit_depth=trained_bit_depth(provenance), net=net)
        module = assembly.pose_module
        if module.flip_test:
            check_flip_pairs(module.skeleton, provenance)
        if checkpoint is not None:
            load_weights(module.net, checkpoint, keypoint_names=module.skeleton.keypoint_names).check_complete()
    numbers = assembly.trainer.test(module, datamodule=assembly.datamodule, verbose=False)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=checkpoint or cfg.weights)


def _test_exported(cfg: DictConfig, exported: ExportedPoses) -> ScoreResult:
    """Test a file that takes uint8 crops: the loaders are used without the data module, which would normalise them."""
    assembly = assemble_exported(cfg, exported)
    loaders = assembly.datamodule.test_dataloader()
    numbers = assembly.trainer.test(assembly.module, dataloaders=loaders, verbose=False)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=cfg.weights)
