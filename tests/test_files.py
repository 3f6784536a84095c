"""Atomic writing: a killed process leaves the old content or the new one."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.files import dumps, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_the_target_appears_with_its_content(tmp_path, durable):
    with write_atomically(tmp_path / "new" / "a.json", durable=durable) as partial:
        partial.write_text("content")
        assert not (tmp_path / "new" / "a.json").exists()
    assert (tmp_path / "new" / "a.json").read_text() == "content"
    assert names(tmp_path / "new") == ["a.json"]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")

    def fail():
        with write_atomically(target) as partial:
            partial.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_the_temporary_file_is_hidden_and_no_checkpoint(tmp_path):
    with write_atomically(tmp_path / "last.ckpt") as partial:
        partial.touch()
        assert partial.parent == tmp_path
        assert partial.name.startswith(".")
        assert list(tmp_path.rglob("*.ckpt")) == []


def test_the_longest_name_of_a_file_system_can_be_written(tmp_path):
    target = tmp_path / ("é" * 125 + ".json")  # 255 bytes
    with write_atomically(target) as partial:
        partial.write_text("content")
    assert target.read_text() == "content"


WRITER = """
import sys, itertools
from pathlib import Path
from hrpose.files import write_atomically
for number in itertools.count():
    with write_atomically(Path(sys.argv[1]), durable=False) as partial, partial.open("w") as stream:
        for _ in range(50):
            stream.write(f"{number} " * 200)
            stream.flush()
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    target = tmp_path / "a.txt"
    for wait in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, target], env=dict(os.environ))
        while not target.exists():
            time.sleep(0.01)
        time.sleep(0.01 * wait)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        words = target.read_text().split()
        assert len(words) == 50 * 200
        assert len(set(words)) == 1


CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


def refuse(token):
    raise AssertionError(f"{token} is no JSON")


def is_finite(content) -> bool:
    if isinstance(content, dict):
        return all(map(is_finite, content.values()))
    if isinstance(content, list | tuple):
        return all(map(is_finite, content))
    return not isinstance(content, float) or math.isfinite(content)


@given(CONTENT)
def test_nan_and_infinity_are_refused(content):
    read = json.loads(dumps(content, undefined_as_null=True), parse_constant=refuse)
    if is_finite(content):
        assert read == json.loads(dumps(content))
    else:
        with pytest.raises(ValueError, match=r" \$"):
            dumps(content)


def test_the_message_has_the_path_and_null_can_replace_the_number():
    content = {"numbers": {"AP": 0.5, "APM": [1, (math.inf,)]}}
    with pytest.raises(ValueError, match=r"at \$\.numbers\.APM\[1\]\[0\]\."):
        dumps(content)
    assert dumps(content, undefined_as_null=True) == '{"numbers": {"AP": 0.5, "APM": [1, [null]]}}'


def fail(target):
    with write_atomically(target) as partial:
        partial.touch()
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_error_of_a_full_disk_has_the_target(tmp_path):
    target = tmp_path / "a.json"
    with pytest.raises(OSError) as raised:
        fail(target)
    assert raised.value.filename == str(target)
    assert list(tmp_path.iterdir()) == []
