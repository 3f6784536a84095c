"""The protocol as text, as JSON and in comparisons."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keypoint_oracle import random_case, truth_from_coco
from small_case import PROTOCOL

from hrpose.report import FileStamp, Protocol, name_areas, name_num_keypoints, name_sigmas
from hrpose.skeletons import COCO, KNOWN_SKELETONS, MPII

WHOLE = replace(
    PROTOCOL, boxes=FileStamp("det.json", "b" * 64), min_bbox_score=0.0, bbox_padding=1.25, input_size=(192, 256),
    codec="HeatmapCodec", flip_test=True, keypoint_score_threshold=0.2, oks_nms="0.9",
)  # fmt: skip


def test_a_file_is_stamped_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[]")
    stamp = FileStamp.of(tmp_path / "a.json")
    assert stamp == FileStamp("a.json", hashlib.sha256(b"[]").hexdigest())
    assert str(stamp) == f"a.json (sha256 {stamp.sha256[:8]})"


def test_one_line_has_stated_and_unstated_entries() -> None:
    assert str(WHOLE) == (
        "boxes of det.json (sha256 bbbbbbbb), 20 images and 40 persons of gt.json (sha256 aaaaaaaa), sigmas coco, "
        "flip test on, HeatmapCodec 192x256, OKS-NMS 0.9, 20 poses per image"
    )
    assert str(replace(WHOLE, boxes="ground truth", flip_test=False)).startswith("ground truth boxes, 20 images")
    assert str(PROTOCOL).endswith(
        "; not stated: boxes, lowest box score, box padding, input size, codec, flip test, keypoint score threshold, OKS-NMS"
    )


@pytest.mark.parametrize("protocol", [PROTOCOL, WHOLE, replace(WHOLE, boxes="ground truth")])
def test_json_has_the_whole_protocol(protocol: Protocol) -> None:
    assert Protocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


def test_unstated_entries_are_marked_in_json() -> None:
    assert PROTOCOL.to_dict()["flip_test"] == "not stated"


def test_unknown_and_missing_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="annotations, category"):
        Protocol.from_dict({"boxes": "ground truth"})
    with pytest.raises(ValueError, match="weather"):
        Protocol.from_dict({**WHOLE.to_dict(), "weather": "fair"})


def test_reports_of_older_versions_are_read_and_entries_they_lack_are_not_stated() -> None:
    content = WHOLE.to_dict()
    content["num_persons"] = content.pop("num_instances")
    del content["areas"]
    old = Protocol.from_dict(content)
    assert old == replace(WHOLE, areas=None)
    assert old.differences(WHOLE) == ["areas: not stated | annotated"]
    assert str(old).endswith("; not stated: areas")


def test_differences_have_both_values() -> None:
    assert WHOLE.differences(WHOLE) == []
    other = replace(WHOLE, flip_test=False, boxes="ground truth", codec=None)
    assert WHOLE.differences(other) == [
        "boxes: det.json (sha256 bbbbbbbb) | ground truth",
        "codec: HeatmapCodec | not stated",
        "flip test: on | off",
    ]


def test_a_renamed_file_has_the_same_protocol() -> None:
    renamed = replace(WHOLE, annotations=FileStamp("copy.json", "a" * 64))
    assert WHOLE.differences(renamed) == []
    assert WHOLE.differences(replace(WHOLE, annotations=FileStamp("gt.json", "c" * 64))) != []


def test_the_share_of_the_box_that_replaces_the_area_is_stated() -> None:
    annotated, missing = np.ones(3, bool), np.zeros(3, bool)
    assert name_areas(annotated, 0.53) == "annotated"
    assert name_areas(missing, 1.0) == "that of the box"
    assert name_areas(missing, 0.53) == "0.53 of the box"
    assert name_areas(np.array([True, False]), 0.53) == "annotated or 0.53 of the box"
    other = replace(WHOLE, areas="0.53 of the box")
    assert ", sigmas coco, areas 0.53 of the box, flip test on" in str(other)
    assert WHOLE.differences(other) == ["areas: annotated | 0.53 of the box"]


def test_a_contradicting_num_keypoints_is_stated_and_older_reports_counted_labels() -> None:
    annotations, _, _ = random_case(2, num_keypoints=3)
    truth = truth_from_coco(annotations, 3)
    assert name_num_keypoints(truth) == name_num_keypoints(replace(truth, num_keypoints=None)) == "the labelled ones"
    labelled = np.flatnonzero(~truth.is_ignored)[:2]
    unlabelled = np.flatnonzero((truth.num_keypoints == 0) & ~truth.iscrowd)[:1]
    stated = truth.num_keypoints.copy()
    stated[labelled], stated[unlabelled] = 0, 9
    text = name_num_keypoints(replace(truth, num_keypoints=stated))
    assert text == "as the file states it, in contradiction to the labels of 3 persons"
    other = replace(WHOLE, num_keypoints=text)
    assert f", num_keypoints {text}, flip test on" in str(other)
    content = WHOLE.to_dict()
    del content["num_keypoints"]
    assert Protocol.from_dict(content) == WHOLE


def test_sigmas_are_named_or_hashed() -> None:
    assert [name_sigmas(skeleton.sigmas) for skeleton in KNOWN_SKELETONS.values()] == list(KNOWN_SKELETONS)
    assert (name_sigmas(COCO.sigmas), name_sigmas(list(MPII.sigmas))) == ("coco", "mpii")
    own = name_sigmas([0.05, 0.06])
    assert own.startswith("2 of their own (sha256 ")
    assert own != name_sigmas([0.05, 0.07])
