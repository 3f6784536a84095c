"""The public names of `import hrpose`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hrpose

HEAVY = ("torch", "lightning", "hydra", "omegaconf", "torchmetrics", "cv2", "albumentations", "pycocotools", "matplotlib")


def loaded_by(code: str) -> set[str]:
    """Run code in a new interpreter and return the heavy packages that it imported."""
    report = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_all_is_sorted_and_unique():
    assert list(hrpose.__all__) == sorted(set(hrpose.__all__))


@pytest.mark.parametrize("name", hrpose.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    public = getattr(hrpose, name)
    assert (getattr(public, "__doc__", None) or "").strip()


def test_dir_lists_the_public_names():
    assert set(hrpose.__all__) <= set(dir(hrpose))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'hrpose' has no attribute 'HRNett'"):
        hrpose.HRNett  # noqa: B018


def test_importing_hrpose_loads_nothing_heavy():
    assert loaded_by("import hrpose") == set()


def test_composing_a_configuration_loads_no_torch():
    assert "torch" not in loaded_by("import hrpose; hrpose.compose('fit', ['+experiment=tiny'])")


def test_arithmetic_imports_no_frameworks():
    frameworks = {"lightning", "hydra", "torchmetrics", "cv2", "albumentations", "matplotlib"}
    assert loaded_by("import hrpose.models, hrpose.codecs, hrpose.losses, hrpose.inference") & frameworks == set()


def test_the_metric_imports_no_hydra_and_opencv():
    assert loaded_by("from hrpose.metrics import KeypointAveragePrecision") & {"hydra", "cv2", "albumentations"} == set()


def test_a_network_is_built_from_plain_arguments():
    net = hrpose.HRNet(width=32, num_keypoints=17)
    assert sum(parameter.numel() for parameter in net.parameters()) == 28_536_113


def test_a_configuration_is_composed_in_one_call():
    cfg = hrpose.compose("fit", ["+experiment=tiny"])
    assert cfg.trainer.max_epochs > 0
    assert hrpose.conf_dir().joinpath("fit.yaml").is_file()
