"""Text and missing ids are replaced by integers with a note, and links are kept."""

from pathlib import Path
from typing import Any

import pytest
from tiny_coco import content, write_json

from hrpose.annotations.coco import forget_annotations, read_annotations
from hrpose.annotations.coco_rows import unify_ids
from hrpose.errors import DataError, DataWarning

FILE = Path("a.json")


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


def renamed(form, *, sections=("images", "annotations", "categories")) -> dict[str, Any]:
    document = content(5)
    for section in sections:
        for row in document[section]:
            row["id"] = form(row["id"])
    for row in document["annotations"]:
        for section, key in (("images", "image_id"), ("categories", "category_id")):
            row[key] = form(row[key]) if section in sections else row[key]
    document["categories"] = [dict(row) for row in document["categories"]]
    return document


def test_integer_ids_are_returned_unchanged() -> None:
    document = content(2)
    found, notes = unify_ids(document, FILE)
    assert notes == []
    assert all(one is other for name in document for one, other in zip(document[name], found[name], strict=True))


def test_strings_of_digits_become_integers(tmp_path: Path) -> None:
    plain = read_annotations(write_json(tmp_path / "plain.json", content(5)))
    document = content(5)
    for section in ("images", "annotations"):
        document[section] = [{**row, "id": str(row["id"])} for row in document[section]]
    document["categories"] = [{**document["categories"][0], "id": "1"}]
    found = read_annotations(write_json(tmp_path / "text.json", document))  # a warning would be an error
    assert found.instance_ids.tolist() == plain.instance_ids.tolist()
    assert found.image_ids.tolist() == plain.image_ids.tolist()
    assert found.image_index.tolist() == plain.image_index.tolist()
    for row in document["annotations"]:
        row["image_id"] = str(row["image_id"])
    again = read_annotations(write_json(tmp_path / "links.json", document))
    assert again.image_index.tolist() == plain.image_index.tolist()


def test_other_string_ids_are_numbered_with_a_note(tmp_path: Path) -> None:
    document = content(5)
    for row in document["images"]:
        row["id"] = f"img{row['id'] * 10}"
    for row in document["annotations"]:
        row["image_id"] = f"img{row['image_id'] * 10}"
        row["id"] = f"a{row['id']}"
    with pytest.warns(DataWarning, match=r"4 images.*'img10'.*; .*5 annotations.*'a100'"):
        found = read_annotations(write_json(tmp_path / "a.json", document))
    assert found.image_ids.tolist() == [1, 2, 3, 4]
    assert found.instance_ids.tolist() == [1, 5, 2, 3, 4]  # image by image
    assert found.image_index.tolist() == [0, 0, 1, 2, 3]


def test_long_and_padded_string_ids_are_numbered() -> None:
    document = {"images": [{"id": "007"}, {"id": "9" * 5000}], "annotations": [{"id": 1, "image_id": "007"}], "categories": []}
    found, notes = unify_ids(document, FILE)
    assert [row["id"] for row in found["images"]] == [1, 2]
    assert found["annotations"][0]["image_id"] == 1
    assert len(notes) == 1


def test_missing_annotation_ids_are_numbered_after_the_others(tmp_path: Path) -> None:
    document = content(3)
    del document["annotations"][1]["id"]
    document["annotations"][2]["id"] = None
    with pytest.warns(DataWarning, match=r"2 of 3 annotations.*`id`.*101"):
        found = read_annotations(write_json(tmp_path / "a.json", document))
    assert found.instance_ids.tolist() == [100, 101, 102]


def test_links_to_nothing_are_refused(tmp_path: Path) -> None:
    document = content(2)
    document["annotations"][0]["image_id"] = "img9"
    with pytest.raises(DataError, match=r"`image_id` of annotation 100.*'img9'"):
        read_annotations(write_json(tmp_path / "a.json", document))


def test_an_id_as_number_and_as_string_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.json.*`images`.*1 "):
        unify_ids({"images": [{"id": 1}, {"id": "1"}], "annotations": [], "categories": []}, FILE)
