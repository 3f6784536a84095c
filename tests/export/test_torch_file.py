"""TorchScript files: ours open, foreign ones do not, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from hrpose.export import ExportedFileError, open_exported


class Twice(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2


@pytest.fixture
def script(tmp_path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Twice(), torch.ones(2)).save(str(tmp_path / "a.torchscript"))
    return tmp_path / "a.torchscript"


def rewritten(file: Path, old: bytes, new: bytes) -> Path:
    """Write an archive anew with other code in it."""
    target = file.with_stem("b")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for entry in source.infolist():
            content = source.read(entry)
            copy.writestr(entry.filename, content.replace(old, new) if entry.filename.endswith(".py") else content)
    return target


def test_a_foreign_script_is_refused(script):
    with pytest.raises(ExportedFileError, match="to be exported by hrpose, but it holds no record"):
        open_exported(script)


def test_code_that_writes_files_is_not_run(script):
    file = rewritten(script, b"torch.mul(", b"torch.save(")
    assert file.read_bytes().count(b"torch.save(")
    with pytest.raises(ExportedFileError, match=r"it calls 'save'\. It was not run"):
        open_exported(file)


def test_a_pickle_is_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    (tmp_path / "a.torchscript").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ExportedFileError, match="it is no archive"):
        open_exported(tmp_path / "a.torchscript")
    torch.save(Bomb(), tmp_path / "b.torchscript")
    with pytest.raises(ExportedFileError, match="as TorchScript, but it says"):
        open_exported(tmp_path / "b.torchscript")
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_breaks_off_is_refused(script):
    content = script.read_bytes()
    script.write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportedFileError, match="no archive, or cut short"):
        open_exported(script)
