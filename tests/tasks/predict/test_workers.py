"""Chunks over processes: the same chunks for any number, results in order, errors of a process."""

import queue
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hrpose.tasks.predict.images import ImageResult, ImageTask
from hrpose.tasks.predict.settings import Settings
from hrpose.tasks.predict.workers import _in_order, cut_chunks, settings_of_processes

SETTINGS = Settings(Path("x"), "auto", {}, {}, None, None, 0.9, True)
TASKS = [ImageTask(Path(str(number)), str(number), number) for number in range(7)]


class Results:
    """A queue with all its messages."""

    def __init__(self, *messages):
        self.messages = list(messages)

    def get(self, timeout):
        if not self.messages:
            raise queue.Empty
        return self.messages.pop(0)


class Process:
    def __init__(self, exitcode):
        self.exitcode = exitcode


def result(number):
    return ImageResult({"id": number}, [])


def test_chunks_do_not_depend_on_the_number_of_processes():
    assert [len(chunk) for chunk in cut_chunks(TASKS, 3)] == [3, 3, 1]
    assert [task.image_id for chunk in cut_chunks(TASKS, 3) for task in chunk] == list(range(7))


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"`chunk_size`.*1.*0"):
        cut_chunks(TASKS, 0)
    with pytest.raises(ValueError, match=r"`devices`.*1.*0"):
        settings_of_processes(SETTINGS, 0)


def test_results_are_in_the_order_of_the_images():
    messages = [(place, result(place)) for place in (3, 0, 4, 1, 2)]
    assert [found.image["id"] for found in _in_order(Results(*messages), [], 5)] == [0, 1, 2, 3, 4]


def test_an_error_of_a_process_is_a_message():
    with pytest.raises(ValueError, match="no such weights"):
        list(_in_order(Results(("error", "user", "no such weights")), [], 1))
    with pytest.raises(RuntimeError, match="Traceback"):
        list(_in_order(Results(("error", "trace", "Traceback ...")), [], 1))


def test_a_killed_process_is_an_error():
    with pytest.raises(RuntimeError, match="ended with status -9"):
        list(_in_order(Results(), [Process(None), Process(-9)], 1))


def test_each_process_has_its_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    processes = settings_of_processes(SETTINGS, 2)
    assert [own.device for own in processes] == ["cuda:0", "cuda:1"]
    with pytest.raises(ValueError, match=r"3 devices.*2"):
        settings_of_processes(SETTINGS, 3)
    with pytest.raises(ValueError, match="'cuda:1'"):
        settings_of_processes(replace(SETTINGS, device="cuda:1"), 2)


def test_processes_on_the_cpu_share_its_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    processes = settings_of_processes(replace(SETTINGS, device="cpu"), 2)
    assert [(own.device, own.torch_threads) for own in processes] == [("cpu", 4)] * 2
    assert settings_of_processes(SETTINGS, 1) == [SETTINGS]
