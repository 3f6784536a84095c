import multiprocessing
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrpose.structures import GroundTruth, InstanceTable, PackedStrings, exact_int64, exact_integer
from processes import set_first_keypoint


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


def test_packed_strings_return_every_string() -> None:
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


@pytest.mark.parametrize("rows", [[3, 1], np.array([False, True, False, True]), []])
def test_selected_rows_keep_all_images(rows: Any) -> None:
    table = make_table()
    chosen = np.arange(4)[np.asarray(rows, None if len(rows) else int)]
    part = table.select(rows)
    assert part.instance_ids.tolist() == chosen.tolist()
    assert np.array_equal(part.keypoints, table.keypoints[chosen])
    assert part.file_names.tolist() == table.file_names.tolist()
    assert len(part.image_ids) == 2


def test_a_pickled_table_is_equal() -> None:
    table = make_table()
    copy = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(copy.keypoints, table.keypoints)
    assert copy.file_names[1] == "ordner/b ü.jpg"


def test_a_spawned_process_shares_the_arrays_instead_of_copying_them() -> None:
    table = make_table()
    context = torch.multiprocessing.get_context("spawn")
    process = context.Process(target=set_first_keypoint, args=(table, 7))
    assert isinstance(process, multiprocessing.process.BaseProcess)
    process.start()
    process.join()
    np.testing.assert_array_equal(table.keypoints[0], 7)


def test_all_processes_share_the_same_memory() -> None:
    table = make_table()
    table.__getstate__()
    first = table.keypoints.ctypes.data
    assert table.__getstate__()["keypoints"].data_ptr() == table.keypoints.ctypes.data == first


def make_truth(**changes: Any) -> GroundTruth:
    truth = GroundTruth(
        image_ids=np.array([1, 2, 3]), object_image_ids=np.array([1, 1, 3]), instance_ids=np.array([7, 8, 9]),
        category_ids=np.ones(3, int), keypoints=np.arange(12.0).reshape(3, 2, 2), visibility=np.full((3, 2), 2, np.uint8),
        bbox=np.arange(12.0).reshape(3, 4), area=np.array([1.0, 2.0, 3.0]), iscrowd=np.zeros(3, bool),
        crowd_index=np.array([0.0, 0.5, 1.0]),
    )  # fmt: skip
    return replace(truth, **changes)


def test_objects_are_selected_and_all_images_stay() -> None:
    truth = make_truth(num_keypoints=np.array([0, 1, 2]))
    for rows in (np.array([False, True, True]), [1, 2], slice(1, 3)):
        kept = truth.select(rows)
        assert kept.instance_ids.tolist() == [8, 9]
        assert kept.keypoints.tolist() == truth.keypoints[1:].tolist()
        assert kept.image_ids.tolist() == [1, 2, 3]
        assert kept.crowd_index is truth.crowd_index
        assert kept.num_keypoints.tolist() == [1, 2]
    assert len(truth.select(slice(0))) == 0
    assert make_truth().select([0]).num_keypoints is None


def test_crowds_and_objects_without_keypoints_are_ignored() -> None:
    labels = np.array([[2, 1], [0, 0], [0, 1]], np.uint8)
    truth = make_truth(visibility=labels, iscrowd=np.array([False, False, True]))
    assert truth.is_ignored.tolist() == [False, True, True]
    stated = replace(truth, num_keypoints=np.array([0, 5, 5]))
    assert stated.is_ignored.tolist() == [True, False, True]


def test_ignored_and_unlabelled_objects_are_ignored_after_relabelling() -> None:
    truth = make_truth(num_keypoints=np.array([0, 2, 2]))
    labels = np.array([[1, 1], [0, 0], [0, 1]], np.uint8)
    again = truth.relabel(labels)
    assert again.visibility is labels
    assert again.is_ignored.tolist() == [True, True, False]


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_64_bits_is_exact(value: int) -> None:
    assert exact_integer(value) == value
    assert exact_int64(np.array([value]), "ids").tolist() == [value]


@given(st.floats())
def test_a_float_is_an_integer_if_it_is_whole_and_below_2_53(value: float) -> None:
    integer = exact_integer(value)
    assert (integer is not None) == (value.is_integer() and abs(value) < 2**53)
    assert integer is None or float(integer) == value


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 2.0**53, -(2.0**53), 2**63, True, "1", None, [1]])
def test_other_values_are_not_integers(value: object) -> None:
    assert exact_integer(value) is None


@pytest.mark.parametrize("values", [np.array([1.0]), np.array([2**63], np.uint64), np.array(["1"]), np.array([2**63, -1])])
def test_arrays_without_exact_integers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected my ids"):
        exact_int64(values, "my ids")


def test_short_and_unsigned_integers_are_widened() -> None:
    for kind in (np.uint64, np.int32, np.bool_):
        widened = exact_int64(np.array([1, 0], kind), "ids")
        assert (widened.dtype, widened.tolist()) == (np.int64, [1, 0])
