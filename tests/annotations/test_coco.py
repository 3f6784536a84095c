"""Annotations are selected and cleaned as in the official code, and invalid files are refused."""

import json
import math
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_coco import CATEGORY, annotation, content, write_json

from hrpose.annotations.coco import forget_annotations, read_annotations, read_skeleton
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import center_scale_from_bbox
from hrpose.skeletons import AIC, COCO, CROWDPOSE, JHMDB, MPII


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


@pytest.fixture(scope="module")
def golden(golden_dir: Path):
    return np.load(golden_dir / "coco_db.npz")


@pytest.fixture
def source(golden) -> dict[str, Any]:
    """Return what the official code read, which ignores three instances of area 0; hrpose uses the area of their box."""
    source = json.loads(golden["source"].tobytes())
    rows = [row for row in source["annotations"] if row["area"] > 0]
    assert len(source["annotations"]) - len(rows) == 3
    return {**source, "annotations": rows}


@pytest.fixture
def official(source, tmp_path: Path):
    return read_annotations(write_json(tmp_path / "official.json", source))


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
@pytest.mark.parametrize("size", ["256x192", "256x256"])
def test_instances_boxes_and_order_equal_the_official_ones(golden, official, size: str) -> None:
    table = official.instances()
    height, width = map(int, size.split("x"))
    center, scale = center_scale_from_bbox(table.bbox, width / height)
    assert table.image_ids[table.image_index].tolist() == golden[f"{size}:image_id"].tolist()
    np.testing.assert_allclose(center, golden[f"{size}:center"], rtol=1e-6)  # the official ones are float32
    np.testing.assert_allclose(scale / 200, golden[f"{size}:scale"], rtol=1e-6)
    np.testing.assert_array_equal(table.visibility > 0, golden["joints_vis"] > 0)
    np.testing.assert_allclose(table.keypoints, golden["joints"], atol=1e-4)


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
def test_clean_boxes_equal_the_official_ones(golden, official) -> None:
    clean = dict(zip(golden["clean_bbox_ids"].tolist(), golden["clean_bbox"], strict=True))
    table = official.instances()
    for instance_id, bbox in zip(table.instance_ids.tolist(), table.bbox, strict=True):
        np.testing.assert_allclose(bbox, clean[instance_id], atol=1e-9)


def test_ground_truth_has_all_instances_including_crowds(source, official) -> None:
    truth = official.ground_truth()
    rows = {row["id"]: row for row in source["annotations"]}
    assert sorted(truth.instance_ids.tolist()) == sorted(rows)
    assert truth.image_ids.tolist() == [image["id"] for image in source["images"]]
    assert truth.iscrowd.tolist() == [bool(rows[i]["iscrowd"]) for i in truth.instance_ids.tolist()]
    for place, i in enumerate(truth.instance_ids.tolist()):
        triplets = np.reshape(rows[i]["keypoints"], (-1, 3))
        assert truth.object_image_ids[place] == rows[i]["image_id"]
        assert truth.area[place] == rows[i]["area"]
        assert truth.bbox[place].tolist() == rows[i]["bbox"]
        assert truth.keypoints[place][triplets[:, 2] > 0].tolist() == triplets[triplets[:, 2] > 0, :2].tolist()
        assert truth.visibility[place].tolist() == triplets[:, 2].tolist()


def test_coordinates_are_stored_exactly_in_little_memory(tmp_path: Path) -> None:
    whole = read_annotations(write_json(tmp_path / "whole.json", content()))
    assert whole.keypoints.dtype == np.int16
    document = content()
    document["annotations"][0]["keypoints"][0] = 17.3
    broken = read_annotations(write_json(tmp_path / "broken.json", document))
    assert broken.ground_truth().keypoints[0, 0, 0] == 17.3


def test_skeleton_comes_from_the_categories(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", content())
    skeleton = read_skeleton(file)
    assert skeleton.keypoint_names == COCO.keypoint_names
    assert skeleton.edges == ((0, 1),)


def test_any_number_of_keypoints_is_read(tmp_path: Path) -> None:
    document = content(0)
    document["categories"] = [{"id": 7, "name": "chair", "keypoints": ["left_leg", "right_leg", "seat"]}]
    document["annotations"] = [
        {"id": 1, "image_id": 2, "category_id": 7, "bbox": [1, 1, 9, 9], "area": 5, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0]}
    ]
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert annotations.instances().keypoints.tolist() == [[[1, 2], [3, 4], [0, 0]]]
    assert annotations.skeleton().flip_pairs == ((0, 1),)


def test_a_file_is_cached_until_it_changes(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", content(3))
    first = read_annotations(file)
    assert read_annotations(str(file)) is first
    write_json(file, content(4))
    assert len(read_annotations(file)) == 4


def test_instances_without_size_are_left_out_and_counted(tmp_path: Path) -> None:
    document = content(3)
    document["annotations"][0].update(bbox=[10, 10, 0, 0], area=50)
    document["annotations"][1].update(bbox=[500, 10, 9, 9])
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    with pytest.warns(DataWarning, match=r"2 of 3 instances.*2.*100, 101"):
        table = annotations.instances()
    assert table.instance_ids.tolist() == [102]
    assert len(annotations.ground_truth()) == 3


def test_mmpose_rules_use_box_and_labels_but_not_area(tmp_path: Path) -> None:
    document = content(4)
    document["annotations"][0].update(bbox=[10, 10, 0, 50], area=0)
    document["annotations"][1].update(bbox=[10, 10, 0, 50])
    document["annotations"][2].update(bbox=[10, 10, 20, 30])
    document["annotations"][3]["keypoints"] = [9, 9, 0] * (len(document["annotations"][3]["keypoints"]) // 3)
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    with pytest.warns(DataWarning, match=r"2 of 3 instances.*2.*100, 101"):
        table = annotations.instances("mmpose")
    assert table.instance_ids.tolist() == [102]
    assert table.bbox[0].tolist() == [10, 10, 20, 30]  # the official 19 x 29
    with pytest.warns(DataWarning, match=r"1 of 4 instances.*1.*0.*100"):
        assert annotations.instances().instance_ids.tolist() == [101, 102, 103]


def test_mmpose_rules_leave_out_num_keypoints_0_and_official_rules_do_not(tmp_path: Path) -> None:
    document = content(3)
    document["annotations"][1]["num_keypoints"] = 0
    with pytest.warns(DataWarning, match=r"1 of 3 annotations.*`num_keypoints`.*0"):
        annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert annotations.instances("mmpose").instance_ids.tolist() == [100, 102]
    assert annotations.instances().instance_ids.tolist() == [100, 101, 102]


@settings(max_examples=30, deadline=None)
@given(
    shares=st.lists(
        st.one_of(st.none(), st.just(math.nan), st.just(0.0), st.floats(-2, 2), st.floats(0, 0.02)), min_size=1, max_size=9
    ),
    box_share=st.floats(0.1, 1),
)
def test_areas_of_at_least_one_percent_of_the_box_are_used(
    shares: list[float | None], box_share: float, tmp_path_factory
) -> None:
    document = content(len(shares))
    boxes = [row["bbox"][2] * row["bbox"][3] for row in document["annotations"]]
    areas = [share and share * box for share, box in zip(shares, boxes, strict=True)]
    for row, area in zip(document["annotations"], areas, strict=True):
        row["area"] = area
    file = write_json(tmp_path_factory.getbasetemp() / "areas.json", document)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        annotations = read_annotations(file, area_from_bbox=box_share)
    own = [area is not None and area >= 0.01 * box for area, box in zip(areas, boxes, strict=True)]
    taken = [a if is_own else box * box_share for a, box, is_own in zip(areas, boxes, own, strict=True)]
    found = dict(zip(annotations.instance_ids.tolist(), annotations.area.tolist(), strict=True))
    assert [found[100 + place] for place in range(len(shares))] == taken
    assert np.count_nonzero(annotations.has_area) == sum(own)


def test_missing_areas_are_taken_from_the_box_and_counted(tmp_path: Path) -> None:
    document = content(3)
    del document["annotations"][1]["area"]
    with pytest.warns(DataWarning, match="1 of 3 annotations have no `area`"):
        annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert annotations.ground_truth().area.tolist() == [1200.5, 51 * 59, 1200.5]


def test_instances_without_keypoints_are_ignored_and_counted(tmp_path: Path) -> None:
    document = content(3)
    del document["annotations"][2]["keypoints"]
    with pytest.warns(DataWarning, match="1 of 3 annotations lack `keypoints`.*102"):
        annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert len(annotations.instances()) == 2
    assert len(annotations.ground_truth()) == 3


def test_the_category_is_selected_by_name(tmp_path: Path) -> None:
    document = content(2)
    document["categories"] = [{**CATEGORY, "name": "adult"}, {**CATEGORY, "id": 2, "name": "child"}]
    document["annotations"][1]["category_id"] = 2
    file = write_json(tmp_path / "a.json", document)
    assert read_annotations(file, category="child").instances().instance_ids.tolist() == [101]
    with pytest.raises(DataError, match=r"(?s)'adult': 17 keypoints, 1 inst.*data\.category=adult\n.*'child'.*=all"):
        read_annotations(file)
    with pytest.raises(DataError, match=r"(?s)named 'dog'.*'adult'.*'child'"):
        read_annotations(file, category="dog")


def test_mirror_pairs_come_from_the_category_or_beside_the_file(tmp_path: Path) -> None:
    document = content(2)
    document["categories"] = [{**CATEGORY, "flip_pairs": [["nose", "left_eye"]]}]
    file = write_json(tmp_path / "pairs.json", document)
    assert read_skeleton(file).flip_pairs == ((0, 1),)
    assert read_skeleton(file, flip_pairs=[["left_eye", 2]]).flip_pairs == ((1, 2),)
    document["categories"] = [{**CATEGORY, "flip_idx": [1, 0, *range(2, 17)]}]
    file = write_json(tmp_path / "order.json", document)
    assert read_skeleton(file).flip_pairs == ((0, 1),)
    assert read_skeleton(file, flip_pairs=[]).flip_pairs == ()
    with pytest.raises(DataError, match=r"order\.json: .* but found 'eye'"):
        read_skeleton(file, flip_pairs=[["eye", "nose"]])


def test_sigmas_can_be_given_beside_the_file(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", content(2))
    assert read_skeleton(file).sigmas == COCO.sigmas
    assert read_skeleton(file, sigmas=[0.1] * 17).sigmas == (0.1,) * 17
    with pytest.raises(DataError, match=r"a\.json.*17.*OKS.*\[0\.1\]"):
        read_skeleton(file, sigmas=[0.1])


def test_a_category_without_names_needs_a_skeleton(tmp_path: Path) -> None:
    document = {**content(2), "categories": [{"id": 1, "name": "person"}]}
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert annotations.instances().num_keypoints == 17
    with pytest.raises(DataError, match=r"a\.json.*'person'.*17.*skeleton\.names"):
        annotations.skeleton()


def test_names_can_be_given_beside_the_file(tmp_path: Path) -> None:
    document = {**content(2), "categories": [{"id": 1, "name": "person"}]}
    file = write_json(tmp_path / "a.json", document)
    skeleton = read_skeleton(file, names=COCO.keypoint_names)
    assert (skeleton.keypoint_names, skeleton.flip_pairs) == (COCO.keypoint_names, COCO.flip_pairs)
    with pytest.raises(DataError, match=r"`skeleton\.names`.*17.*found 2"):
        read_skeleton(file, names=["nose", "tail"])


def first(**changes: Any) -> dict[str, Any]:
    return {"annotations": [annotation(0, **changes), annotation(1)]}


def keypoints(place: int, value: Any) -> list[Any]:
    values = annotation(0)["keypoints"]
    values[place] = value
    return values


def image(**changes: Any) -> dict[str, Any]:
    return {"images": [{**content()["images"][0], **changes}, *content()["images"][1:]]}


BAD_FILES = {
    "wrong number of keypoints": (first(keypoints=[1, 2, 2] * 16), r"annotation 100 to be 51 numbers.* got 48"),
    "keypoints without visibility": (first(keypoints=[1, 2] * 17), r"annotation 100 .*visibilities seem to be missing"),
    "keypoints of another type": (first(keypoints=keypoints(3, {})), r"`keypoints` of annotation 100"),
    "text that is no number": (first(keypoints=keypoints(3, "x")), r"`keypoints` of annotation 100"),
    "num_keypoints of another type": (first(num_keypoints="x"), r"`num_keypoints` of annotation 100 .*integer.*'x'"),
    "area of another type": (first(area="x"), r"`area` of annotation 100 .*'x'"),
    "crowd of another type": (first(iscrowd="no"), r"`iscrowd` of annotation 100 .*'no'"),
    "the same id as text": (image(id="2"), r"`id` of `images`.* 2 "),
    "NaN": (first(keypoints=keypoints(3, math.nan)), r"finite.*nan.*keypoint 1 .* of annotation 100"),
    "infinite": (first(keypoints=keypoints(4, math.inf)), r"finite.*inf.*keypoint 1 .* of annotation 100"),
    "visibility": (
        first(keypoints=keypoints(2, 3)),
        r"visibility of 0.*1 of 34.*3 \(1 times\).*keypoint 0 .* annotation 100.*{3: 2}",
    ),
    "no box": (first(bbox=None), r"`bbox` of annotation 100 .*None"),
    "short box": (first(bbox=[1, 2, 3]), r"`bbox` of annotation 100 .*four numbers"),
    "NaN box": (first(bbox=[1, 2, math.nan, 4]), r"`bbox` of annotation 100 .*finite"),
    "negative box": (first(bbox=[50, 60, -3, 4]), r"`bbox` of annotation 100 .*not negative"),
    "infinite area": (first(area=math.inf), r"`area` of annotation 100 .*finite"),
    "unknown image": (first(image_id=77), r"`image_id` of annotation 100 .*`images`.* 77"),
    "unknown category": (first(category_id=9), r"`category_id` of annotation 100 .*`categories`.* 9"),
    "fractional id": (first(image_id=1.5), r"`image_id` of annotation 100 to be an integer, but got 1\.5"),
    "id of 65 bits": (first(id=2**63), r"`id` of annotation 9223372036854775808 .*integer.* at most 64 bits"),
    "id as an inexact float": (image(id=2.0**53), r"`id` of image 9007199254740992\.0 to be an integer"),
    "repeated annotation": (first(id=101), r"`id`.*annotation.* 101"),
    "one id for two images": (image(id=2), r"`id`.*image.* 2 \(photo 1\.jpg, photo 2\.jpg\)"),
    "labelled keypoint far away": (first(keypoints=[1e308, 1, 2] * 17), r"finite.*1e\+308.*annotation 100"),
    "box far away": (first(bbox=[1, 2, 1e308, 1e308]), r"`bbox` of annotation 100 .*finite"),
    "box of endless digits": (first(bbox=[1, 2, 10**400, 4]), r"`bbox` of annotation 100 .*finite"),
    "name of an image no text": (image(file_name=3), r"`file_name` of image 1 .* 3"),
    "names of keypoints no list": (
        {"categories": [{"id": 1, "name": "person", "keypoints": -1e308}]},
        r"`keypoints` of category 'person' .*list of names.*-1e\+308",
    ),
    "image of no size": (image(width=0), r"image 1 to have a positive `width` and `height`.*\[0, 70\]"),
    "no keypoints at all": (
        {"annotations": [], "categories": [{"id": 1, "name": "person"}]},
        r"`keypoints` of category 'person'.*keypoint file",
    ),
    "no categories": ({"categories": []}, r"one category with `keypoints`.*`categories` is empty"),
    "images no list": ({"images": {}}, r"expected images to be a list, but got dict"),
    "entry no object": ({"annotations": [3]}, r"entry 0 of annotations to be a JSON object"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_invalid_file_is_refused_with_one_message(name: str, tmp_path: Path) -> None:
    changes, message = BAD_FILES[name]
    file = write_json(tmp_path / "bad.json", {**content(2), **changes})
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(file)
    assert str(file) in str(caught.value)


def test_repeated_image_entries_are_merged_with_a_warning(tmp_path: Path) -> None:
    document = content(2)
    document["images"] += [{**document["images"][0], "width": 91}]
    file = write_json(tmp_path / "a.json", document)
    with pytest.warns(DataWarning, match=r"1 of 5 entries of `images` repeat"):
        annotations = read_annotations(file)
    assert annotations.image_ids.tolist() == [1, 2, 3, 4]
    assert annotations.image_sizes[0].tolist() == [91, 70]  # the last entry, as in pycocotools


def test_missing_image_sizes_are_accepted(tmp_path: Path) -> None:
    document = content(2)
    document["images"][:2] = [{"id": 1}, {"id": 2, "file_name": "../C:\\photo.jpg", "width": 90}]
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    assert annotations.image_sizes[:2].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("text", ["", "not json", '{"images": [', '{"a": 1}{"b": 2}', "\x00\x01", "[" * 100_000])
def test_the_error_for_a_file_that_is_not_json_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"bad\.json: expected JSON"):
        read_annotations(file)


def test_the_error_for_a_binary_file_says_it_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"\x89PNG\xff\xfe\xc3(")
    with pytest.raises(DataError, match="expected JSON"):
        read_annotations(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([{"image_id": 1}], "JSON"),
        (3, "got a JSON int"),
        ({"images": [], "info": {}}, r"annotations, categories is missing; its keys are images, info"),
        ({}, r"images, annotations, categories is missing; its keys are none"),
    ],
)
def test_the_error_for_other_json_says_it_is_not_coco(what: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_annotations(write_json(tmp_path / "bad.json", what))


@pytest.mark.parametrize("missing", ["nothing.json", "."])
def test_a_missing_file_is_refused(missing: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="COCO annotation file"):
        read_annotations(tmp_path / missing)
    with pytest.raises(FileNotFoundError):
        read_annotations(tmp_path / missing)


def test_149813_instances_need_at_most_60_megabytes(tmp_path: Path) -> None:
    small, large = (
        read_annotations(write_json(tmp_path / f"{count}.json", content(count))).instances().nbytes for count in (10, 40)
    )
    assert 149_813 * (large - small) / 30 < 35e6


@pytest.mark.data
@pytest.mark.slow
def test_the_real_training_set_needs_at_most_60_megabytes(shared_data: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "train.json", _real_labels(shared_data / "coco_labels_2017" / "coco_kp_yolo_train2017.tar.gz"))
    script = (
        "import sys, torch\n"
        "from hrpose.annotations.coco import forget_annotations, read_annotations\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "before = resident()\n"
        "table = read_annotations(sys.argv[1]).instances()\n"
        "forget_annotations()\n"
        "print(len(table), resident() - before)\n"
    )
    answer = subprocess.run([sys.executable, "-c", script, tmp_path / "train.json"], capture_output=True, text=True, check=True)
    count, grown = map(int, answer.stdout.split())
    assert count == 149_813
    assert grown < 60e6


def _real_labels(archive: Path) -> dict[str, Any]:
    """Turn normalised text labels into a COCO file of 640 x 480 images."""
    images, rows = [], []
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.name.endswith(".txt"):
                continue
            image_id = int(Path(member.name).stem)
            images.append({"id": image_id, "file_name": f"{image_id:012d}.jpg", "width": 640, "height": 480})
            for line in tar.extractfile(member).read().decode().splitlines():
                _, cx, cy, w, h, *triplets = map(float, line.split())
                points = np.round(np.reshape(triplets, (-1, 3)) * (640, 480, 1)).astype(int)
                rows.append(
                    {
                        "id": len(rows),
                        "image_id": image_id,
                        "category_id": 1,
                        "bbox": [(cx - w / 2) * 640, (cy - h / 2) * 480, w * 640 + 2, h * 480 + 2],
                        "area": w * h * 640 * 480 + 1,
                        "keypoints": points.ravel().tolist(),
                    }
                )
    return {"images": images, "annotations": rows, "categories": [CATEGORY]}


@pytest.mark.parametrize(
    ("names", "field", "benchmark"),
    [
        (COCO.keypoint_names, None, None),
        (COCO.keypoint_names, "face_kpts", "wholebody"),
        (COCO.keypoint_names, "keypoints_21", "humanart"),
        (AIC.keypoint_names, None, "aic"),
        (JHMDB.keypoint_names, None, "jhmdb"),
        (MPII.keypoint_names, None, "mpii"),
        ((*CROWDPOSE.keypoint_names[:12], "head", "neck"), None, "crowdpose"),
        (("nose", "tail"), None, None),
    ],
)
def test_the_benchmark_is_recognised_by_names_and_fields(
    names: Any, field: str | None, benchmark: str | None, tmp_path: Path
) -> None:
    document = content(1)
    document["categories"] = [{"id": 1, "name": "person", "keypoints": list(names)}]
    for row in document["annotations"]:
        row |= {"keypoints": [1, 2, 2] * len(names), "num_keypoints": len(names), **({field: [1, 2, 2]} if field else {})}
    assert read_annotations(write_json(tmp_path / "a.json", document)).benchmark == benchmark
