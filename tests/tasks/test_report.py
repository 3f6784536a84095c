"""The report of a run, with the worst predictions if `report_images` is set."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from html_checks import check
from moved_poses import evaluated
from omegaconf import OmegaConf
from small_case import PROTOCOL
from tiny_coco import datamodule, write_dataset

from hrpose.callbacks import ResultFiles
from hrpose.config import compose, plain
from hrpose.skeletons import COCO
from hrpose.tasks.report import report_run


@pytest.fixture
def report(tmp_path: Path):
    data = datamodule(write_dataset(tmp_path))
    data.setup("test")
    files = ResultFiles(str(tmp_path / "results"))
    files.evaluated = {"gt": evaluated(data)}
    trainer = SimpleNamespace(is_global_zero=True, callbacks=[files], limit_test_batches=1.0)
    module = SimpleNamespace(skeleton=COCO, pose_metrics={"gt": SimpleNamespace(leading="AP")})
    assembly = SimpleNamespace(datamodule=data, module=module, trainer=trainer, protocols={"gt": PROTOCOL})

    def draw(**settings) -> str:
        cfg = OmegaConf.create(
            {"name": "tiny", "protocol": plain(compose("test").protocol), "paths": {"run": str(tmp_path)}, **settings}
        )
        result = report_run(cfg, assembly, [{}], stage="test", checkpoint="best.ckpt")
        return result.reports[0].read_text()

    return draw


def test_report_images_adds_the_worst_predictions(report, capsys) -> None:
    page = report(report_images=True)
    check(page)
    shown = [float(value) for value in re.findall(r"<b>OKS ([\d.]+)</b>", page)]
    assert len(shown) == 11
    assert shown == sorted(shown)
    assert page.count("data:image/jpeg") == 11


@pytest.mark.parametrize("settings", [{}, {"report_images": False}])
def test_a_report_without_images_reads_no_image(report, settings, monkeypatch) -> None:
    monkeypatch.setattr("hrpose.tasks.report.worst_crops", None)
    assert "<figure>" not in report(**settings)
