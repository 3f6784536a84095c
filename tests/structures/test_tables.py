import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from hrpose.structures import InstanceTable, PackedStrings


def make_table(num_instances: int = 4, num_keypoints: int = 3) -> InstanceTable:
    return InstanceTable(
        image_ids=np.arange(2, dtype=np.int64),
        image_sizes=np.full((2, 2), 100, np.int32),
        file_names=PackedStrings(["a.jpg", "ordner/b ü.jpg"]),
        image_index=np.zeros(num_instances, np.int32),
        instance_ids=np.arange(num_instances, dtype=np.int64),
        bbox=np.ones((num_instances, 4)),
        bbox_scores=np.ones(num_instances, np.float32),
        area=np.ones(num_instances, np.float32),
        keypoints=np.random.default_rng(0).random((num_instances, num_keypoints, 2), np.float32),
        visibility=np.ones((num_instances, num_keypoints), np.uint8),
    )


def test_packed_strings_give_every_string_back() -> None:
    strings = ["", "a.jpg", "ordner/größe 7.png", ""]
    packed = PackedStrings(strings)
    assert [packed[i] for i in range(len(packed))] == strings
    assert packed[-2] == strings[-2]
    with pytest.raises(IndexError, match="below 4, but got 4"):
        packed[4]


def test_a_table_counts_its_bytes_and_keypoints() -> None:
    table = make_table(num_instances=10, num_keypoints=5)
    assert (len(table), table.num_keypoints) == (10, 5)
    assert table.nbytes >= table.keypoints.nbytes + table.bbox.nbytes + table.file_names.nbytes


def test_a_pickled_table_comes_back_whole() -> None:
    table = make_table()
    copy = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(copy.keypoints, table.keypoints)
    assert copy.file_names[1] == "ordner/b ü.jpg"


def _raise_first_keypoint(table: InstanceTable) -> None:
    table.keypoints[0] = 7


def test_a_spawned_process_shares_the_arrays_instead_of_copying_them() -> None:
    table = make_table()
    context = torch.multiprocessing.get_context("spawn")
    process = context.Process(target=_raise_first_keypoint, args=(table,))
    assert isinstance(process, multiprocessing.process.BaseProcess)
    process.start()
    process.join()
    np.testing.assert_array_equal(table.keypoints[0], 7)


def test_every_further_process_is_sent_the_same_memory() -> None:
    table = make_table()
    table.__getstate__()
    first = table.keypoints.ctypes.data
    assert table.__getstate__()["keypoints"].data_ptr() == table.keypoints.ctypes.data == first
