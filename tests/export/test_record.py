"""The record in an exported file and its validation."""

from __future__ import annotations

import json

import pytest
from tiny_export import CODECS, make_record

from hrpose.export.record import ExportedFileError, ExportRecord, codec_from_plain, plain_codec
from hrpose.skeletons import COCO, known_skeleton


@pytest.mark.parametrize("name", CODECS)
def test_a_record_survives_json(name):
    record = make_record(CODECS[name], skeleton=COCO, precision="int8", protocols={"gt": {"boxes": "ground truth"}})
    assert ExportRecord.from_json(record.to_json(), "a.onnx") == record


def test_given_mirror_pairs_survive_json_and_older_files_have_none():
    skeleton = known_skeleton("coco", flip_pairs=[["nose", "left_eye"]])
    record = make_record(CODECS["dark"], skeleton=skeleton)
    assert ExportRecord.from_json(record.to_json(), "a.onnx").skeleton.flip_pairs == ((0, 1),)
    content = json.loads(make_record(CODECS["dark"], skeleton=COCO).to_json())
    del content["skeleton"]["flip_pairs"]
    assert ExportRecord.from_json(json.dumps(content), "a.onnx").skeleton == COCO


def changed(**entries) -> str:
    return json.dumps({**json.loads(make_record(CODECS["dark"]).to_json()), **entries})


def without(name: str) -> str:
    content = json.loads(make_record(CODECS["dark"]).to_json())
    del content[name]
    return json.dumps(content)


CODEC = plain_codec(CODECS["dark"])
SKELETON = make_record(CODECS["dark"]).skeleton.to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "its JSON is a list"),
        ("[" * 100_000, "not JSON"),
        (" " * (1 << 21), "2,097,152 characters"),
        (changed(version=2), "its version is 2, not 1"),
        (changed(bbox_padding=10**400), "too large"),
        (changed(run="rm"), "unknown entries: run"),
        (without("std"), "unknown entries: std"),
        ('{"version": 1, "version": 1}', "an entry twice"),
        (changed(bbox_padding=float("nan")), "it contains NaN"),
        (changed(bbox_padding=0), "bbox_padding has 0"),
        (changed(bbox_padding=True), "bbox_padding has True"),
        (changed(flip_test=1), "flip_test is 1, not a bool"),
        (changed(form="photo"), "form is 'photo'.*Export the weights again"),
        (changed(precision="fp8"), "precision is 'fp8'"),
        (changed(mean=[0.5, 0.5]), "mean has 2 numbers"),
        (changed(std=[1, 1, 0]), "std has 0"),
        (changed(grid="plain"), "grid or input size"),
        (changed(input_size=[192, 256]), "grid or input size"),
        (changed(codec={**CODEC, "name": "Codec"}), "its codec is 'Codec'"),
        (changed(codec={**CODEC, "name": "heatmap_accuracy"}), "its codec is 'heatmap_accuracy'"),
        (changed(codec={**CODEC, "name": "__builtins__"}), "its codec is '__builtins__'"),
        (changed(codec={**CODEC, "name": ["DarkCodec"]}), "its codec is"),
        (changed(codec={**CODEC, "extra": 1}), "unknown arguments: extra"),
        (changed(codec={**CODEC, "sigma": "wide"}), "`sigma`"),
        (changed(codec={**CODEC, "input_size": [10**9, 10**9]}), "`input_size` to be two whole numbers"),
        (changed(skeleton={**SKELETON, "keypoint_names": [1, 2]}), "not text"),
        (changed(skeleton={**SKELETON, "edges": [[0, 1, 2]]}), "not pairs"),
        (changed(skeleton={**SKELETON, "edges": [[0, 99]]}), "indices from 0 to 4"),
        (changed(skeleton={**SKELETON, "sigmas": ["a"]}), "sigmas has 'a'"),
        (changed(skeleton={**SKELETON, "flip_pairs": [[0, 1], [1, 2]]}), "more than once"),
        (changed(skeleton={**SKELETON, "flip_pairs": {"a": 1}}), "pairs"),
        (changed(skeleton={**SKELETON, "flip_permutation": []}), "its skeleton"),
    ],
)
def test_an_invalid_record_is_refused_with_the_reason(text, message):
    with pytest.raises(ExportedFileError, match=rf"(?s)a\.onnx.*{message}"):
        ExportRecord.from_json(text, "a.onnx")


def test_a_custom_codec_is_refused():
    with pytest.raises(ValueError, match=r"hrpose\.codecs.*builtins\.object"):
        plain_codec(object())


def test_a_codec_survives_plain_containers():
    for codec in CODECS.values():
        assert codec_from_plain(json.loads(json.dumps(plain_codec(codec)))) == codec


def test_orientation_and_bit_depth_are_stored_only_if_they_are_set():
    """Files of earlier versions without these entries have the defaults."""
    plain = make_record(CODECS["heatmap"])
    assert "bit_depth" not in json.loads(plain.to_json())
    stored = make_record(CODECS["heatmap"], upright=True, bit_depth=12)
    assert ExportRecord.from_json(stored.to_json(), "a.onnx") == stored
    for wrong in ({"bit_depth": 7}, {"bit_depth": "12"}, {"upright": 1}):
        with pytest.raises(ExportedFileError, match=next(iter(wrong))):
            ExportRecord.from_json(json.dumps({**json.loads(stored.to_json()), **wrong}), "a.onnx")
