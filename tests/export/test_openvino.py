"""OpenVINO files, a description and weights."""

from __future__ import annotations

import os

import pytest
from tiny_export import CODECS, make_net, make_record

from hrpose.export import ExportedFileError, open_exported, write_export
from processes import Process


def test_a_model_without_its_weights_is_refused(tmp_path):
    file = write_export(make_net(CODECS["heatmap"]), make_record(CODECS["heatmap"]), tmp_path / "a.xml", "openvino")
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ExportedFileError, match=r"a\.bin"):
        open_exported(file)


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<html/>")
    (tmp_path / "a.bin").write_bytes(b"abc")
    with pytest.raises(ExportedFileError, match="OpenVINO"):
        open_exported(tmp_path / "a.xml")


SIGNALS = """
import gc, os, signal, sys
import openvino, torch
from hrpose.export.openvino import compile_model

def compiled():
    model = openvino.convert_model(torch.nn.Conv2d(3, 4, 3).eval(), example_input=torch.zeros(1, 3, 8, 8))
    return compile_model(model)

first, second = compiled(), compiled()
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: None)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGCHLD without fork")
@pytest.mark.slow
def test_a_signal_after_deleting_models_does_not_kill_the_process(tmp_path):
    program = tmp_path / "signals.py"
    program.write_text(SIGNALS)
    done = Process(program, [], cwd=tmp_path).wait()
    assert done.returncode == 0, done.stderr
