"""The protocol of a bottom-up network, and hrpose test on all images without boxes."""

from types import SimpleNamespace

import pytest
import torch

from hrpose.codecs import AssociativeEmbedding
from hrpose.config import build, compose
from hrpose.tasks import run
from hrpose.tasks.protocols import _name_boxes

EXPERIMENT = ["+experiment=tiny_bottom_up", "prepare.num_train=2", "prepare.num_val=4", "prepare.image_size=[160,120]"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "none (bottom-up: short side 512, scales 1, refine)"),
        ({"scales": (0.5, 1, 2), "refine": False}, "none (bottom-up: short side 512, scales 0.5, 1, 2, no refine)"),
    ],
)
def test_the_protocol_states_how_whole_images_are_estimated(options, expected):
    datamodule = SimpleNamespace(codec=AssociativeEmbedding((512, 512), **options))
    assert _name_boxes(datamodule, "none", None) == expected


@pytest.mark.slow
def test_all_images_are_measured_and_other_protocols_are_not_compared(tmp_path):
    torch.manual_seed(0)
    cfg = compose("fit", EXPERIMENT)
    net = build(cfg.model, num_keypoints=17).eval()
    with torch.no_grad():
        for place, head in enumerate(net.final_layers):
            torch.nn.init.normal_(head.weight)
            head.weight /= 5 * net(torch.randn(1, 3, 192, 192))[place].std()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    given = [*EXPERIMENT, f"weights='{tmp_path}/weights.pth'", f"paths.data={tmp_path}/data", "trainer.precision=32-true"]
    for name, *overrides in (("one", "codec.refine=true"), ("two", "codec.refine=false"), ("three", "codec.scales=[0.5,1]")):
        run("test", compose("test", [*given, *overrides, f"paths.run={tmp_path}/{name}"]))
        assert "bottom-up" in (tmp_path / name / "results" / "report_none.json").read_text()
    for other in ("two", "three"):
        with pytest.raises(ValueError, match="scales"):
            run("compare", compose("compare", [f"a='{tmp_path}/one'", f"b='{tmp_path}/{other}'", f"paths.run={tmp_path}"]))
