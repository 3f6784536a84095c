"""The run of a checkpoint, compared with the run that uses it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from hrpose.config import ConfigError, compose
from hrpose.skeletons import COCO, Skeleton
from hrpose.tasks.provenance import _overrides_of, advised, read_provenance
from hrpose.weights import WeightsError

BOLTS = Skeleton.from_names(["bolt", "edge", "hook"], sigmas=[0.1] * 3)


def leave_checkpoint(run: Path, skeleton: Skeleton = COCO, words: list[str] | None = None, **codec: Any) -> Path:
    """Write a checkpoint with few weights to the folder of its run."""
    cfg = OmegaConf.to_container(compose("fit", [f"paths.run={run}"]), resolve=True)
    cfg["codec"] |= codec
    file = run / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    stored = {"config": cfg, "skeleton": skeleton.to_dict()}
    torch.save({"state_dict": {"net.a": torch.zeros(1)}, "hyper_parameters": stored}, file)
    if words is not None:
        (run / ".hydra").mkdir()
        OmegaConf.save(OmegaConf.create(words), run / ".hydra" / "overrides.yaml")
    return file


def test_drawn_people_are_refused_for_a_network_with_other_keypoints(tmp_path):
    words = ["name=bolts", "data.val_annotations=my bolts.json", "ckpt_path=last", "paths.run=here"]
    file = leave_checkpoint(tmp_path, BOLTS, words)
    with pytest.raises(ConfigError, match=r"3 keypoints.*data=synthetic") as caught:
        read_provenance(file).check(compose("test"))
    advice = f"With the overrides of its run: hrpose test name=bolts 'data.val_annotations=my bolts.json' ckpt_path={file}"
    assert str(caught.value).endswith(advice)
    read_provenance(file).check(compose("test", ["data=coco"]))


def test_a_checkpoint_without_its_folder_names_its_run(tmp_path):
    file = leave_checkpoint(tmp_path, BOLTS)
    with pytest.raises(ConfigError, match="'tiny'"):
        read_provenance(file).check(compose("test"))


def test_another_codec_is_a_warning(tmp_path, caplog):
    file = leave_checkpoint(tmp_path, sigma=1.25)
    with caplog.at_level(logging.WARNING):
        read_provenance(file).check(compose("test", ["codec.sigma=1.25"]))
        assert caplog.text == ""
        read_provenance(file).check(compose("test"))
    assert str(file) in caplog.text
    assert "codec.sigma: 1.25 | 0.9" in caplog.text


def test_other_mirror_pairs_are_a_warning(tmp_path, caplog):
    pairs = [("bolt", "edge")]
    trained = Skeleton.from_names(BOLTS.keypoint_names, sigmas=BOLTS.sigmas, flip_pairs=pairs)
    provenance = read_provenance(leave_checkpoint(tmp_path, trained))
    with caplog.at_level(logging.WARNING):
        provenance.check_flip_pairs(trained)
        provenance.check_flip_pairs(COCO)
        assert caplog.text == ""
        provenance.check_flip_pairs(BOLTS)
    assert "[[0, 1]]" in caplog.text


@pytest.mark.parametrize("name", ["weights.pth", "nowhere.ckpt", None])
def test_other_files_have_no_provenance(tmp_path, name):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    assert read_provenance(name and tmp_path / name) is None


def test_a_checkpoint_of_another_tool_has_no_provenance(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "a.ckpt")
    assert read_provenance(tmp_path / "a.ckpt") is None


def test_an_error_of_weights_has_the_advice(tmp_path):
    provenance = read_provenance(leave_checkpoint(tmp_path))
    with pytest.raises(WeightsError, match="'tiny'"), advised(compose("test"), provenance):
        raise WeightsError("too wide.")
    with pytest.raises(WeightsError, match=r"^too wide\.$"), advised(compose("test"), None):
        raise WeightsError("too wide.")


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("- name=${oc.env:HOME}\n- a=1\n- ckpt_path=x\n", ("name=${oc.env:HOME}", "a=1")),
        ("- !!python/object/apply:os.system ['touch ran']\n", None),
        ("a: 1\n", None),
        ("- [1]\n", None),
        ("[" * 5000, None),
    ],
)
def test_the_overrides_of_a_foreign_run_are_plain_text(tmp_path, monkeypatch, text, overrides):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text(text)
    assert _overrides_of(tmp_path / "run" / "checkpoints" / "best.ckpt") == overrides
    assert not (tmp_path / "ran").exists()
