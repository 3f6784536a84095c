"""MPII is read with the official centers, scales, crops and targets, and invalid files are refused."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat
from test_transforms import MPII_LOWER, MPII_UPPER, Recorded
from tiny_coco import content, write_json
from tiny_mpii import person, truth_of, write_dataset, write_persons

from hrpose.annotations.mpii import MpiiAnnotations, mpii_layout, read_mpii, read_mpii_truth
from hrpose.annotations.reader import is_mpii
from hrpose.codecs import HeatmapCodec
from hrpose.data import dataset as dataset_module
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.dataset import PoseDataset
from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import center_scale_from_bbox
from hrpose.skeletons import COCO, MPII

PERSONS = [person(number) for number in range(3)]
NAMES = [*("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"), *("neck", "head")]
NAMES += ["rwri", "relb", "rsho", "lsho", "lelb", "lwri"]


@pytest.fixture(scope="module")
def golden(golden_dir: Path):
    return np.load(golden_dir / "mpii_db.npz")


@pytest.fixture
def official(golden, tmp_path: Path) -> MpiiAnnotations:
    file = tmp_path / "official.json"
    file.write_bytes(golden["source"].tobytes())
    return read_mpii(file)


def read(folder: Path, *persons: Any) -> MpiiAnnotations:
    return read_mpii(write_persons(folder / "persons.json", list(persons)))


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
def test_persons_crops_and_order_equal_the_official_ones(golden, official) -> None:
    table = official.instances()
    center, scale = center_scale_from_bbox(table.bbox, 1.0)
    np.testing.assert_allclose(center, golden["center"], atol=1e-9)
    np.testing.assert_allclose(scale / 200, golden["scale"], rtol=1e-12)
    assert [table.file_names[i] for i in table.image_index.tolist()] == golden["image"].tolist()
    assert table.instance_ids.tolist() == list(range(12))
    labelled = golden["joints_vis"][..., 0] > 0
    np.testing.assert_array_equal(table.visibility > 0, labelled)
    np.testing.assert_allclose(table.keypoints[labelled], golden["joints"][labelled, :2], atol=1e-4)
    assert (table.keypoints[~labelled] == 0).all()


def test_pixels_count_from_1_in_the_file_and_from_0_in_the_table(tmp_path: Path) -> None:
    points = [[1.0, 1.0]] * 16
    annotations = read(tmp_path, person(0, center=[1.0, 1.0], scale=1.0, joints=points, joints_vis=[1] * 16))
    assert (annotations.keypoints == 0).all()
    assert annotations.center[0, 0] == 0


def test_unlabelled_keypoints_also_count_pixels_from_0(golden, official) -> None:
    np.testing.assert_array_equal(official.keypoints, golden["joints"][..., :2])
    assert (official.keypoints[~official.labelled] == -2).all()


def test_the_center_moves_down_by_15_pixels_for_each_unit_of_scale(tmp_path: Path) -> None:
    annotations = read(tmp_path, person(0, center=[100.0, 100.0], scale=2.0))
    assert annotations.center.tolist() == [[99.0, 100.0 + 30.0 - 1.0]]
    assert annotations.side.tolist() == [400.0]


def test_the_scale_grows_by_a_quarter_and_holds_for_both_axes(tmp_path: Path) -> None:
    table = read(tmp_path, person(0, scale=2.0)).instances()
    _, square = center_scale_from_bbox(table.bbox, 1.0)
    assert square.tolist() == [[500.0, 500.0]]
    _, upright = center_scale_from_bbox(table.bbox, 192 / 256)  # the official code looks at the width alone
    assert upright[0, 0] == 500.0


def test_a_person_without_center_is_unchanged_and_counted(golden, official) -> None:
    with pytest.warns(DataWarning, match=r"1 of 12 .*5"):
        table = official.instances()
    center, scale = center_scale_from_bbox(table.bbox[5], 1.0)
    np.testing.assert_allclose(center, [-2, -2], atol=1e-9)
    np.testing.assert_allclose(scale, 200 * golden["scale"][5])


def test_flip_pairs_equal_the_official_ones() -> None:
    assert MPII.flip_pairs == ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))


@pytest.mark.parametrize("i", [3, 7])
def test_a_sample_equals_the_official_one(i: int, golden_dir: Path, tmp_path: Path, monkeypatch) -> None:
    sample_of = np.load(golden_dir / "getitem.npz")
    record = json.loads(sample_of["records"].tobytes())[str(i)]
    assert record["dataset"] == "mpii"
    scale = float(sample_of[f"scale_in_{i}"][0]) / 1.25  # what the official reader made these of
    center = sample_of[f"center_in_{i}"].astype(np.float64) + 1 - [0, 15 * scale]
    points = sample_of[f"joints_in_{i}"][:, :2].astype(np.float64) + 1
    labels = sample_of[f"joints_vis_in_{i}"][:, 0].astype(int).tolist()
    cv2.imwrite(str(tmp_path / "0.png"), sample_of[f"image_rgb_{i}"][..., ::-1])
    row = person(0, image="0.png", center=center.tolist(), scale=scale, joints=points.tolist(), joints_vis=labels)
    draws = [("normal" if kind == "np.randn" else "uniform", value) for kind, value in record["draws_in_order"]]
    monkeypatch.setattr(dataset_module, "sample_generator", lambda *key: Recorded(*draws))
    half = HalfBody(max(record["prob_half_body"], 0), upper_body=MPII_UPPER, lower_body=MPII_LOWER)  # draws, though off
    augment = [half, RandomScale(record["scale_factor"]), RandomRotation(record["rot_factor"]), RandomFlip()]
    size = tuple(record["image_size"])
    table = read(tmp_path, row).instances()
    sample = PoseDataset(table, tmp_path, size, MPII, augment=augment if record["is_train"] else ())[0]

    labelled = sample_of[f"joints_vis_out_{i}"][:, 0] > 0
    np.testing.assert_array_equal(sample["visibility"] > 0, labelled)
    np.testing.assert_allclose(sample["keypoints"][labelled], sample_of[f"joints_out_{i}"][labelled, :2], atol=1e-2)
    difference = np.abs(sample["image"].astype(int) - sample_of[f"input_rgb_uint8_cv5_{i}"])
    assert difference.max() <= 4  # OpenCV 4 and 5 differ by as much
    assert difference.mean() < 0.3
    target, weight = HeatmapCodec(size, tuple(record["heatmap_size"]), sigma=2).encode(
        torch.from_numpy(sample["keypoints"])[None], torch.from_numpy(sample["visibility"])[None]
    )
    np.testing.assert_allclose(target[0], sample_of[f"target_{i}"], atol=1e-6)
    np.testing.assert_array_equal(weight[0], sample_of[f"target_weight_{i}"])


def test_persons_of_one_image_share_its_id(tmp_path: Path) -> None:
    table = read(tmp_path, person(0), person(2), person(1), person(3)).instances()
    assert table.image_ids.tolist() == [0, 1]
    assert table.image_index.tolist() == [0, 1, 0, 1]
    assert table.file_names[1] == "photo 1.jpg"


def test_a_list_is_read_as_mpii_and_an_object_as_coco(tmp_path: Path) -> None:
    assert is_mpii(write_persons(tmp_path / "mpii.json", [person(0)]))
    assert not is_mpii(write_json(tmp_path / "coco.json", content(1)))
    assert not is_mpii(tmp_path / "none.json")
    spaced = tmp_path / "spaced.json"
    spaced.write_text("\n  [\n]")
    assert is_mpii(spaced)


def points(place: int, value: Any) -> list[Any]:
    joints = person(0)["joints"]
    joints[place] = value
    return joints


BAD_ENTRIES = {
    "no image": ({"image": None}, r"`image` of person 1 .* file name, but got None"),
    "image above": ({"image": "../secret.jpg"}, r"`file_name` of person 1 .*below the image folder"),
    "no center": ({"center": None}, r"`center` of person 1 .*two finite numbers.*None"),
    "center of text": ({"center": ["1", 2]}, r"`center` of person 1"),
    "center of truths": ({"center": [True, 2.0]}, r"`center` of person 1"),
    "NaN center": ({"center": [float("nan"), 2]}, r"`center` of person 1 .*nan"),
    "vast center": ({"center": [10**400, 2]}, r"`center` of person 1"),
    "scale of nothing": ({"scale": 0}, r"`scale` of person 1 .*positive number, the height of the person / 200, but got 0"),
    "scale list": ({"scale": [1.0, 1.0]}, r"`scale` of person 1"),
    "seventeen": ({"joints": [[1.0, 2.0]] * 17}, r"`joints` of person 1 .*16 pairs.*but got a list of 17"),
    "triplets": ({"joints": [[1.0, 2.0, 1]] * 16}, r"`joints` of person 1 .*16 pairs"),
    "infinite": ({"joints": points(3, [float("inf"), 1])}, r"`joints` of person 1 .*finite"),
    "fifteen labels": ({"joints_vis": [1] * 15}, r"`joints_vis` of person 1 .*16 numbers.*but got a list of 15"),
    "COCO's labels": ({"joints_vis": [2] * 16}, r"`joints_vis` of person 1 .*0 \(unlabelled\) or 1"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_an_invalid_entry_is_refused_with_one_message(name: str, tmp_path: Path) -> None:
    changes, message = BAD_ENTRIES[name]
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, person(0), person(1, **changes))
    assert "persons.json" in str(caught.value)


@pytest.mark.parametrize("key", ["image", "center", "scale", "joints", "joints_vis"])
def test_a_missing_key_is_refused(key: str, tmp_path: Path) -> None:
    row = person(0)
    del row[key]
    with pytest.raises(DataError, match=f"`{key}` of person 0"):
        read(tmp_path, row)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "the list is empty"),
        ({"images": []}, r"JSON.*COCO"),
        ([3], r"0.*JSON"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "image_id"),
    ],
)
def test_the_error_for_other_json_says_it_is_not_mpii(what: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_mpii(write_persons(tmp_path / "bad.json", what))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"MPII annotation file at .*none\.json"):
        read_mpii(tmp_path / "none.json")


def test_the_layout_lists_missing_files_and_links(tmp_path: Path) -> None:
    write_persons(tmp_path / "annot/valid.json", [])
    lines = mpii_layout(tmp_path).splitlines()
    assert lines[0] == f"MPII is expected under {tmp_path} like this:"
    assert lines[1] == "  MISSING  annot/train.json  (22,246 persons)"
    assert lines[2].startswith("  found    annot/valid.json")
    assert lines[3].startswith("  MISSING  annot/gt_valid.mat")
    assert "http://human-pose.mpi-inf.mpg.de" in mpii_layout(tmp_path)


def datamodule(folder: Path, **changes: Any) -> PoseDataModule:
    defaults = {
        "train_annotations": folder / "annot/train.json",
        "train_images": folder / "images",
        "val_annotations": folder / "annot/valid.json",
        "val_images": folder / "images",
        "val_ground_truth": folder / "annot/gt_valid.npz",
        "batch_size": 4,
        "val_batch_size": 4,
    }
    codec = HeatmapCodec(input_size=(64, 64), heatmap_size=(16, 16), sigma=2)
    return PoseDataModule(codec, MPII, **{**defaults, **changes})


def test_the_datamodule_recognises_mpii(tmp_path: Path) -> None:
    data = datamodule(write_dataset(tmp_path))
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch["instance_ids"].tolist() == [0, 1, 2, 3]
    assert batch["images"].shape == (4, 64, 64, 3)
    assert len(list(data.train_dataloader())) == 2
    assert data.read_val_image(1).shape == (100, 110, 3)
    assert len(data.mpii_truth) == 6


def test_crops_do_not_depend_on_a_known_image_size(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    high = cv2.resize(cv2.imread(str(folder / "images/photo 0.jpg")), (110, 900))
    cv2.imwrite(str(folder / "images/photo 0.jpg"), high)  # too high to be decoded to the bottom
    table = read_mpii(folder / "annot/valid.json").instances()
    dataset = PoseDataset(table, folder / "images", (64, 64), MPII)
    first = [dataset[index]["image"] for index in (0, 1, 0)]
    table.image_sizes[0] = (110, 900)
    again = PoseDataset(table, folder / "images", (64, 64), MPII)
    for image, index in zip(first, (0, 1, 0), strict=True):
        np.testing.assert_array_equal(again[index]["image"], image)


def test_ap_of_mpii_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no areas.*metric=pckh"):
        datamodule(write_dataset(tmp_path)).ground_truth  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_ground_truth": None}, r"val_ground_truth.*None.*metric=oks"),
        ({"val_annotations": "coco"}, r"MPII annotations and their .val_ground_truth"),
        ({"category": "person"}, r"'person'.*MPII"),
    ],
)
def test_pckh_needs_mpii_and_its_ground_truth(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    if changes.get("val_annotations"):
        changes = {"val_annotations": write_json(folder / "coco.json", content(1))}
    with pytest.raises(DataError, match=message):
        datamodule(folder, **changes).mpii_truth  # noqa: B018


def test_ground_truth_with_another_number_of_persons_is_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    np.savez(folder / "annot/gt_valid.npz", **truth_of([person(0)]))
    with pytest.raises(DataError, match=r"6 persons.* 1\."):
        datamodule(folder).mpii_truth  # noqa: B018


def test_detector_boxes_are_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    data = datamodule(folder, val_boxes=["det"], val_detections=folder / "annot/valid.json")
    with pytest.raises(DataError, match=r"`val_boxes` to be \[gt\] for MPII"):
        data.setup("validate")


def test_another_skeleton_is_refused(tmp_path: Path) -> None:
    table = read_mpii(write_dataset(tmp_path) / "annot/valid.json").instances()
    with pytest.raises(DataError, match="17 keypoints of skeleton 'coco'"):
        PoseDataset(table, tmp_path / "images", (64, 64), COCO)


@pytest.mark.data
def test_real_keypoints_are_inside_their_crops(shared_data: Path) -> None:
    folder = shared_data / "mmpose_samples/mpii"
    dataset = PoseDataset(read_mpii(folder / "test_mpii.json").instances(), folder, (256, 256), MPII)
    assert len(dataset) == 5
    for sample in dataset:
        labelled = sample["keypoints"][sample["visibility"] > 0]
        assert len(labelled) >= 10
        assert ((labelled > 0) & (labelled < 256)).mean() > 0.9
        assert sample["image"].std() > 10


def changed(**changes: Any) -> dict[str, Any]:
    """Return the arrays of gt_valid.mat with changes; None removes one."""
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
    assert truth.keypoints.tolist() == [row["joints"] for row in PERSONS]  # pixels count from 1
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


def test_an_unlabelled_keypoint_may_be_infinite(tmp_path: Path) -> None:
    points = truth_of(PERSONS)["pos_gt_src"]
    points[6, :, 0] = np.nan
    assert not PERSONS[0]["joints_vis"][6]
    assert np.isnan(read_mpii_truth(write(tmp_path, changed(pos_gt_src=points))).keypoints[0, 6]).all()


def test_keypoints_are_named_in_the_order_of_mpii(tmp_path: Path) -> None:
    named = changed(dataset_joints=np.array([NAMES], dtype=object))
    assert len(read_mpii_truth(write(tmp_path, named))) == 3
    turned = changed(dataset_joints=np.array([NAMES[::-1]], dtype=object))
    with pytest.raises(DataError, match=r"rank rkne.*lwri lelb"):
        read_mpii_truth(write(tmp_path, turned))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"headboxes_src": None}, r"pos_gt_src.*jnt_missing.*headboxes_src"),
        ({"pos_gt_src": np.zeros((16, 3, 3))}, r"keypoints \(N, 16, 2\).*\(3, 16, 3\)"),
        ({"jnt_missing": np.zeros((16, 2))}, r"missing \(N, 16\)"),
        ({"headboxes_src": np.zeros((2, 2, 3))}, r"3 of 3.*0, 1, 2"),
        ({"headboxes_src": np.full((2, 2, 3), np.nan)}, "head box of two finite"),
        ({"jnt_missing": np.full((16, 3), 0.5)}, r"0.*1"),
        ({"pos_gt_src": np.full((16, 2, 3), np.inf)}, "3 of 3"),
        ({"pos_gt_src": np.full((16, 2, 3), "x")}, "pos_gt_src to hold numbers"),
    ],
)
@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_invalid_arrays_are_refused_with_one_message(changes: Any, message: str, kind: str, tmp_path: Path) -> None:
    file = write(tmp_path, changed(**changes), kind)
    with pytest.raises(DataError, match=message) as caught:
        read_mpii_truth(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kind", ["mat", "npz"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "7.3"])
def test_a_damaged_file_is_refused(kind: str, damage: str, tmp_path: Path) -> None:
    file = write(tmp_path, changed(), kind)
    whole = file.read_bytes()
    header = b"MATLAB 7.3 MAT-file, made up".ljust(124) + b"\x00\x02IM"
    file.write_bytes({"empty": b"", "text": b"not arrays", "cut": whole[: len(whole) // 2], "7.3": header}[damage])
    with pytest.raises(DataError, match=r"gt_valid\.(mat|npz)"):
        read_mpii_truth(file)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "gt.npz", pos_gt_src=np.array([print], dtype=object))
    with pytest.raises(DataError, match=r"\.npz"):
        read_mpii_truth(tmp_path / "gt.npz")


def test_missing_ground_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"MPII.*gt_valid\.mat"):
        read_mpii_truth(tmp_path / "gt_valid.mat")


@pytest.mark.data
def test_the_real_ground_truth_is_read(shared_data: Path) -> None:
    file = shared_data / "mpii_pckh/mpii_valid_2958.npz"
    truth = read_mpii_truth(file)
    content = np.load(file)
    assert len(truth) == 2958
    np.testing.assert_array_equal(truth.keypoints, content["joints_1based"])
    np.testing.assert_array_equal(truth.labelled, content["missing"] == 0)
