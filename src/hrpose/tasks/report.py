"""Print the ten COCO numbers of a run, with the protocol that they were measured by."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from hrpose.tasks.assemble import Assembly

COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def show_report(
    cfg: DictConfig,
    assembly: Assembly,
    numbers: Sequence[Mapping[str, float]],
    *,
    stage: str,
    checkpoint: Path | str,
) -> float:
    """Print one row for each kind of boxes, from the first process only.

    Args:
        cfg: the configuration of the run.
        assembly: its parts.
        numbers: what `Trainer.validate` or `Trainer.test` returned.
        stage: "val" or "test", the prefix of the logged names.
        checkpoint: what was measured.

    Returns:
        AP of the first kind of boxes; nan where there is none.
    """
    logged = {name: value for row in numbers for name, value in row.items()}
    kinds = list(assembly.datamodule.val_boxes)
    if assembly.trainer.is_global_zero:
        table = Table(title="Keypoint AP", box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
        table.add_column("boxes")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for kind in kinds:
            table.add_row(kind, *(f"{logged.get(f'{stage}/{c}_{kind}', math.nan):.3f}" for c in COLUMNS))
        console = Console()
        console.print(table)
        for kind in kinds:
            console.print(f"{kind}: {describe_protocol(cfg, assembly, kind)}", soft_wrap=True, highlight=False)
        console.print(f"Measured: {checkpoint}", soft_wrap=True, highlight=False)
        console.print(f"Everything this run leaves is in {cfg.paths.run}", soft_wrap=True, highlight=False)
    return float(logged.get(f"{stage}/AP_{kinds[0]}", math.nan))


def describe_protocol(cfg: DictConfig, assembly: Assembly, kind: str) -> str:
    """Say in one line how an AP was measured: without that, two numbers cannot be compared."""
    data = assembly.datamodule
    boxes = "ground-truth boxes"
    if kind == "det":
        content = Path(data.val_detections or "").read_bytes()
        boxes = f"boxes of {Path(data.val_detections or '').name} (sha256 {hashlib.sha256(content).hexdigest()[:8]})"
    return ", ".join(
        [
            boxes,
            f"{len(data.ground_truth.image_ids)} photos of {Path(data.val_annotations).name}",
            f"flip test {'on' if cfg.flip_test else 'off'}",
            f"{type(assembly.module.codec).__name__} {'x'.join(map(str, assembly.module.codec.input_size))}",
            f"OKS-NMS {cfg.metric.oks_nms_threshold}",
        ]
    )
