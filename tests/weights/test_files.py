import argparse
import os
import pickle
import struct
import sys
import zipfile
from datetime import datetime
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hrpose.models import HRNet
from hrpose.weights import WeightsError
from hrpose.weights.files import read_weight_file


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(0)
    return {f"layer{index}.weight": torch.randn(64, 64, generator=generator) for index in range(8)}


def _saved(folder, content, name="weights.pth"):
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "weights.safetensors"])
def test_every_file_format_is_read(name, state, tmp_path):
    if name == "weights.safetensors":
        save_file(state, tmp_path / name)
    else:
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=name == "new.pth")
    tensors = read_weight_file(tmp_path / name).tensors
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["weights.pth", "WEIGHTS.SAFETENSORS"])
def test_the_format_is_recognised_by_the_content(name, state, tmp_path):
    save_file(state, tmp_path / name)
    assert read_weight_file(tmp_path / name).tensors.keys() == state.keys()


@pytest.mark.parametrize("wrapping", ["module.", "_orig_mod.", "module._orig_mod.", "model.module.", "_forward_module."])
def test_prefixes_of_wrappers_are_removed(wrapping, state, tmp_path):
    wrapped = {f"{wrapping}{key}": value for key, value in state.items()}
    file = _saved(tmp_path, {"state_dict": wrapped, "epoch": 3})
    assert list(read_weight_file(file).tensors) == list(state)


@pytest.mark.parametrize("wrapping", ["net.", "net.module.", "model.net._orig_mod.module."])
def test_prefixes_are_removed_before_and_after_the_one_of_hrpose(wrapping, state, tmp_path):
    wrapped = {f"{wrapping}{key}": value for key, value in state.items()}
    assert list(read_weight_file(_saved(tmp_path, wrapped)).tensors) == [f"net.{key}" for key in state]


@pytest.mark.parametrize("outer", ["pose_net.", "student.hrnet.", "backbone.", "model.backbone."])
def test_the_prefix_of_a_custom_module_is_removed(outer, state, tmp_path):
    names = ["conv1.weight", *state]
    named = {f"{outer}{key}": torch.zeros(1) for key in names}
    assert list(read_weight_file(_saved(tmp_path, named)).tensors) == names
    kept = read_weight_file(_saved(tmp_path, {**named, "loss.scale": torch.zeros(1)}))
    assert len(kept.tensors) == len(names) + 1
    assert "loss.scale" in kept.tensors


def test_the_prefixes_of_mmpose_are_kept(state, tmp_path):
    named = {f"pose.backbone.{key}": value for key, value in {"conv1.weight": torch.zeros(1), **state}.items()}
    file = _saved(tmp_path, {**named, "pose.head.final_layer.weight": torch.zeros(1)})
    assert list(read_weight_file(file).tensors)[::9] == ["backbone.conv1.weight", "head.final_layer.weight"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_newer_pickle_protocol_is_refused_with_advice(protocol, state, tmp_path):
    torch.save(state, tmp_path / "new.pth", pickle_protocol=protocol)
    if protocol < 4:
        assert read_weight_file(tmp_path / "new.pth").tensors.keys() == state.keys()
    else:
        with pytest.raises(WeightsError, match="`pickle_protocol`"):
            read_weight_file(tmp_path / "new.pth")


def test_tensors_without_values_are_refused(state, tmp_path):
    torch.save({**state, "extra": torch.empty(2, device="meta")}, tmp_path / "hollow.pth")
    with pytest.raises(WeightsError, match=f"1 of its {len(state) + 1} tensors, such as extra"):
        read_weight_file(tmp_path / "hollow.pth")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "weights", "ema_state_dict"])
def test_the_state_is_found_under_any_key(key, state, tmp_path):
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}
    content = read_weight_file(_saved(tmp_path, {"epoch": torch.tensor(3), "optimizer": optimizer, key: state}))
    assert (list(content.tensors), content.averaged) == (list(state), False)


@pytest.mark.parametrize(("trained", "averaged"), [("state_dict", "state_dict_ema"), ("model", "model_ema")])
def test_averaged_weights_are_used_if_there_are_two_copies(trained, averaged, state, tmp_path):
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    content = read_weight_file(_saved(tmp_path, {trained: other, averaged: state}))
    assert content.averaged
    assert all(torch.equal(content.tensors[key], state[key]) for key in state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(share, zipped, state, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(WeightsError, match=r"weights.pth"):
        read_weight_file(file)


def test_a_file_of_the_old_format_truncated_anywhere_is_refused(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for size in range(len(content)):
        file.write_bytes(content[:size])
        with pytest.raises(WeightsError):
            read_weight_file(file)


def test_a_truncated_safetensors_file_is_refused(state, tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(state, file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"weights.safetensors"):
        read_weight_file(file)


@pytest.mark.parametrize(
    ("content", "message"), [(b"<!DOCTYPE html>", "DOCTYPE"), (b"version https://git-lfs", "Git LFS pointer")]
)
def test_a_file_that_is_not_a_checkpoint_is_refused(content, message, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weight_file(file)


@pytest.mark.parametrize(
    ("content", "message"), [([1, 2], "state_dict"), ({}, r"weights\.pth"), ({"epoch": 3, "state_dict": {}}, "state_dict")]
)
def test_a_file_without_tensors_is_refused(content, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        read_weight_file(_saved(tmp_path, content))


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("write", [torch.save, lambda content, file: file.write_bytes(pickle.dumps(content, protocol=2))])
def test_code_in_a_file_is_not_run(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write({"state_dict": {}, "extra": _Attack()}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"\(\w+.mkdir\)"):
        read_weight_file(tmp_path / "weights.pth")
    assert not (tmp_path / "attacked").exists()


def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_weight_file(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "note",
    [
        *(np.float64(0.7), np.str_("best"), np.arange(3), np.array(["a", "b"]), np.array([1, None], dtype=object)),
        *(np.datetime64("2020-01-01"), np.complex64(1), np.zeros(2, dtype=[("x", "f4")])),
        *(argparse.Namespace(lr=0.1), datetime(2020, 1, 1)),
    ],
    ids=lambda note: f"{type(note).__name__} {getattr(note, 'dtype', '')}",
)
def test_other_objects_in_a_checkpoint_are_ignored(note, state, tmp_path):
    assert list(read_weight_file(_saved(tmp_path, {"state_dict": state, "meta": {"note": note}})).tensors) == list(state)


def test_code_in_ignored_objects_is_not_run(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = np.array([_Attack()], dtype=object)
    with pytest.raises(WeightsError, match=r"\(\w+.mkdir\)"):
        read_weight_file(_saved(tmp_path, {"state_dict": state, "note": note}))
    assert not (tmp_path / "attacked").exists()


def _smallest(self):
    raise NotImplementedError


def test_the_logs_in_a_checkpoint_of_mmpose_are_ignored(state, tmp_path, monkeypatch):
    home = ModuleType("mmengine.logging.history_buffer")
    naming = {"__module__": home.__name__, "__qualname__": "HistoryBuffer"}
    home.HistoryBuffer = type("HistoryBuffer", (), {**naming, "min": _smallest})
    monkeypatch.setattr(_smallest, "__module__", home.__name__)
    monkeypatch.setattr(_smallest, "__qualname__", "HistoryBuffer.min")
    buffer = home.HistoryBuffer()
    buffer.log, buffer.statistics_methods = np.ones(3), {"min": home.HistoryBuffer.min}  # as mmengine pickles it
    for name in ("mmengine", "mmengine.logging", home.__name__):
        monkeypatch.setitem(sys.modules, name, home)
    file = _saved(tmp_path, {"state_dict": state, "message_hub": {"log_scalars": {"train/loss": buffer}}})
    monkeypatch.undo()
    assert list(read_weight_file(file).tensors) == list(state)


@pytest.mark.parametrize(
    ("notes", "names"),
    [
        ({"hyper_parameters": {"config": None, "skeleton": {"keypoint_names": ["a", "b"]}}}, ("a", "b")),
        ({"meta": {"dataset_meta": {"keypoint_id2name": {1: "b", 0: "a"}, "sigmas": np.ones(2, np.float32)}}}, ("a", "b")),
        ({"meta": {"keypoint_names": ["a", "b"]}}, ("a", "b")),
        ({"meta": {"dataset_meta": {"keypoint_id2name": {1: "b", 2: "a"}}}}, None),
        ({"hyper_parameters": None, "meta": "2020"}, None),
        ({}, None),
    ],
)
def test_keypoint_names_are_found_in_all_formats(notes, names, state, tmp_path):
    assert read_weight_file(_saved(tmp_path, {"state_dict": state, **notes})).keypoint_names == names


@pytest.mark.parametrize(("text", "names"), [('["a", "b"]', ("a", "b")), ("a, b", None)])
def test_safetensors_store_keypoint_names_in_their_metadata(text, names, state, tmp_path):
    save_file(state, tmp_path / "weights.safetensors", {"format": "pt", "keypoint_names": text})
    assert read_weight_file(tmp_path / "weights.safetensors").keypoint_names == names


def test_a_pickled_network_is_refused(tmp_path):
    net = HRNet(width=4, num_keypoints=2, num_modules=(1, 1, 1), num_blocks=1)
    with pytest.raises(WeightsError, match=r"\(hrpose.models.hrnet.HRNet\).*state_dict"):
        read_weight_file(_saved(tmp_path, net))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere.pth"):
        read_weight_file(tmp_path / "nowhere.pth")


def test_an_archive_that_unpacks_to_much_more_is_not_read(state, tmp_path):
    with (
        zipfile.ZipFile(_saved(tmp_path, state)) as whole,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name))
        bomb.writestr("weights/data/99", bytes(10**7))
    with pytest.raises(WeightsError, match=r"bomb\.pth.*unpack to 10,"):
        read_weight_file(tmp_path / "bomb.pth")


def test_an_expanded_tensor_is_refused_before_it_takes_memory(state, tmp_path):
    with pytest.raises(WeightsError, match=r"elements of wide .* 4 bytes"):
        read_weight_file(_saved(tmp_path, {**state, "wide": torch.zeros(1).expand(10**12)}))


@pytest.mark.parametrize("header", [b"[" * 200_000, b'{"__metadata__":{"keypoint_names":"' + b"[" * 200_000 + b'"}}', b"{}"])
def test_a_deeply_nested_header_of_safetensors_is_refused(header, tmp_path):
    (tmp_path / "deep.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match=r"deep\.safetensors"):
        read_weight_file(tmp_path / "deep.safetensors")
