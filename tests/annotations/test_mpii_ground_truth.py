"""The ground truth of PCKh: out of a MATLAB file or an .npz alike, and never trusted."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from tiny_mpii import person, truth_of

from hrpose.annotations.mpii_ground_truth import read_mpii_truth
from hrpose.errors import DataError, MissingDataError

PERSONS = [person(number) for number in range(3)]
NAMES = [*("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"), *("neck", "head")]
NAMES += ["rwri", "relb", "rsho", "lsho", "lelb", "lwri"]


def changed(**changes: Any) -> dict[str, Any]:
    """The arrays of gt_valid.mat, some of them others; None leaves one out."""
    return {name: value for name, value in {**truth_of(PERSONS), **changes}.items() if value is not None}


def write(folder: Path, arrays: dict[str, Any], kind: str = "mat") -> Path:
    file = folder / f"gt_valid.{kind}"
    if kind == "mat":
        savemat(file, arrays)
    else:
        np.savez(file, **arrays)
    return file


@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_the_arrays_of_the_official_file_are_read_person_by_person(kind: str, tmp_path: Path) -> None:
    truth = read_mpii_truth(write(tmp_path, changed(), kind))
    assert truth.keypoints.tolist() == [row["joints"] for row in PERSONS]  # counted from 1, as they stand there
    assert truth.labelled.tolist() == [[label == 1 for label in row["joints_vis"]] for row in PERSONS]
    x, y = PERSONS[2]["joints"][9]
    assert truth.head_boxes[2].tolist() == [[x, y], [x + 60, y + 80]]
    assert len(truth) == 3


def test_an_npz_may_have_the_persons_first(tmp_path: Path) -> None:
    arrays = truth_of(PERSONS)
    first = {
        "joints_1based": arrays["pos_gt_src"].transpose(2, 0, 1),
        "headboxes": arrays["headboxes_src"].transpose(2, 0, 1),
        "missing": arrays["jnt_missing"].T.astype(np.uint8),
        "joint_names": np.array(NAMES),
        "other": np.zeros(3),
    }
    one, other = read_mpii_truth(write(tmp_path, first, "npz")), read_mpii_truth(write(tmp_path, arrays))
    for name in ("keypoints", "labelled", "head_boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_missing_keypoint_need_not_be_finite(tmp_path: Path) -> None:
    points = truth_of(PERSONS)["pos_gt_src"]
    points[6, :, 0] = np.nan
    assert not PERSONS[0]["joints_vis"][6]
    assert np.isnan(read_mpii_truth(write(tmp_path, changed(pos_gt_src=points))).keypoints[0, 6]).all()


def test_keypoints_are_named_in_the_order_of_mpii(tmp_path: Path) -> None:
    named = changed(dataset_joints=np.array([NAMES], dtype=object))
    assert len(read_mpii_truth(write(tmp_path, named))) == 3
    turned = changed(dataset_joints=np.array([NAMES[::-1]], dtype=object))
    with pytest.raises(DataError, match=r"order of MPII, rank rkne .*but got lwri lelb"):
        read_mpii_truth(write(tmp_path, turned))


def test_without_scipy_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, other = write(tmp_path, changed()), write(tmp_path, changed(), "npz")
    for name in ("scipy", "scipy.io", "scipy.io.matlab"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"scipy, which reads .*gt_valid\.mat.*pip install 'hrpose\[mpii\]'.*\.npz"):
        read_mpii_truth(file)
    assert len(read_mpii_truth(other)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"headboxes_src": None},
            "expected the arrays pos_gt_src, jnt_missing, headboxes_src, but it has jnt_missing, pos",
        ),
        ({"pos_gt_src": np.zeros((16, 3, 3))}, r"keypoints \(N, 16, 2\).*\(3, 16, 3\)"),
        ({"jnt_missing": np.zeros((16, 2))}, r"missing \(N, 16\)"),
        ({"headboxes_src": np.zeros((2, 2, 3))}, r"two finite corners that differ, but 3 of 3 have not: \[0, 1, 2\]"),
        ({"headboxes_src": np.full((2, 2, 3), np.nan)}, "two finite corners"),
        ({"jnt_missing": np.full((16, 3), 0.5)}, "0 or 1 for each keypoint"),
        ({"pos_gt_src": np.full((16, 2, 3), np.inf)}, "finite keypoints where they are labelled, but 3 of 3"),
        ({"pos_gt_src": np.full((16, 2, 3), "x")}, "pos_gt_src to hold numbers"),
    ],
)
@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_bad_arrays_are_refused_with_one_clear_message(changes: Any, message: str, kind: str, tmp_path: Path) -> None:
    file = write(tmp_path, changed(**changes), kind)
    with pytest.raises(DataError, match=message) as caught:
        read_mpii_truth(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kind", ["mat", "npz"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "7.3"])
def test_a_broken_file_is_refused(kind: str, damage: str, tmp_path: Path) -> None:
    file = write(tmp_path, changed(), kind)
    whole = file.read_bytes()
    header = b"MATLAB 7.3 MAT-file, made up".ljust(124) + b"\x00\x02IM"
    file.write_bytes({"empty": b"", "text": b"not arrays", "cut": whole[: len(whole) // 2], "7.3": header}[damage])
    with pytest.raises(DataError, match=r"gt_valid\.(mat|npz): expected .* cannot be read"):
        read_mpii_truth(file)


def test_what_would_have_to_be_unpickled_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "gt.npz", pos_gt_src=np.array([print], dtype=object))
    with pytest.raises(DataError, match=r"an \.npz of plain arrays"):
        read_mpii_truth(tmp_path / "gt.npz")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"ground truth of MPII at .*gt_valid\.mat"):
        read_mpii_truth(tmp_path / "gt_valid.mat")


@pytest.mark.data
def test_the_real_ground_truth_is_read(shared_data: Path) -> None:
    file = shared_data / "mpii_pckh/mpii_valid_2958.npz"
    truth = read_mpii_truth(file)
    content = np.load(file)
    assert len(truth) == 2958
    np.testing.assert_array_equal(truth.keypoints, content["joints_1based"])
    np.testing.assert_array_equal(truth.labelled, content["missing"] == 0)
