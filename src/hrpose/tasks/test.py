"""hrpose test: measure the AP of a checkpoint, of weights, or of an exported file."""

from omegaconf import DictConfig

from hrpose.config import find_checkpoint
from hrpose.export import ExportedMaps, ExportedNetwork, ExportedPoses, is_exported, open_exported
from hrpose.tasks.assemble import assemble, assemble_exported
from hrpose.tasks.provenance import advised, read_provenance
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
    exported = cfg.weights is not None and is_exported(cfg.weights)
    opened = open_exported(cfg.weights) if exported else None
    if isinstance(opened, ExportedPoses | ExportedMaps):
        return _test_exported(cfg, opened)
    return _test_network(cfg, opened)


def _test_network(cfg: DictConfig, net: ExportedNetwork | None) -> ScoreResult:
    checkpoint = find_checkpoint(cfg)
    provenance = read_provenance(checkpoint or cfg.weights)
    if provenance is not None:
        provenance.check(cfg)
    with advised(cfg, provenance):
        assembly = assemble(cfg, bit_depth=None if provenance is None else provenance.bit_depth, net=net)
        module = assembly.pose_module
        if module.flip_test and provenance is not None:
            provenance.check_flip_pairs(module.skeleton)
        if checkpoint is not None:
            load_weights(module.net, checkpoint, keypoint_names=module.skeleton.keypoint_names).check_complete()
    numbers = assembly.trainer.test(module, datamodule=assembly.datamodule, verbose=False)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=checkpoint or cfg.weights)


def _test_exported(cfg: DictConfig, exported: ExportedPoses | ExportedMaps) -> ScoreResult:
    """Test a file that takes uint8 images: the loaders are used without the data module, which would normalise them."""
    assembly = assemble_exported(cfg, exported)
    loaders = assembly.datamodule.test_dataloader()
    numbers = assembly.trainer.test(assembly.module, dataloaders=loaders, verbose=False)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=cfg.weights)
