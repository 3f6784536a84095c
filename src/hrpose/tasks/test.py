"""hrpose test: measure the AP of a checkpoint, weights or an exported file."""

from omegaconf import DictConfig

from hrpose.config import find_checkpoint
from hrpose.export import ExportedMaps, ExportedPoses, is_exported, open_exported
from hrpose.tasks.assemble import assemble, assemble_exported
from hrpose.tasks.evaluate import ScoreResult
from hrpose.tasks.provenance import advised, read_provenance
from hrpose.tasks.report import report_run
from hrpose.weights import load_weights


def test(cfg: DictConfig) -> ScoreResult:
    """Evaluate a checkpoint, weights or an exported file on the validation instances."""
    exported = open_exported(cfg.weights) if cfg.weights is not None and is_exported(cfg.weights) else None
    if isinstance(exported, ExportedPoses | ExportedMaps):
        assembly = assemble_exported(cfg, exported)
        loaders = assembly.datamodule.test_dataloader()  # uint8 crops; the data module would normalise them
        numbers = assembly.trainer.test(assembly.module, dataloaders=loaders, verbose=False)
        return report_run(cfg, assembly, numbers, stage="test", checkpoint=cfg.weights)
    checkpoint = find_checkpoint(cfg)
    provenance = read_provenance(checkpoint or cfg.weights)
    if provenance is not None:
        provenance.check(cfg)
    with advised(cfg, provenance):
        assembly = assemble(cfg, bit_depth=None if provenance is None else provenance.bit_depth, net=exported)
        module = assembly.pose_module
        if module.flip_test and provenance is not None:
            provenance.check_flip_pairs(module.skeleton)
        if checkpoint is not None:
            load_weights(module.net, checkpoint, keypoint_names=module.skeleton.keypoint_names).check_complete()
    numbers = assembly.trainer.test(module, datamodule=assembly.datamodule, verbose=False)
    return report_run(cfg, assembly, numbers, stage="test", checkpoint=checkpoint or cfg.weights)
