"""Which format a source has, and what is refused."""

from __future__ import annotations

import pytest
from grey_images import write_images

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.converters import convert_labels, recognise
from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataError, MissingDataError


def test_an_unknown_format_is_refused_with_the_list(tmp_path) -> None:
    (tmp_path / "labels.txt").write_text("1 2 3")
    assert recognise(tmp_path / "labels.txt") is None
    with pytest.raises(DataError, match=r"(?s)format=.*yolo.*hrpose\.write_coco"):
        convert_labels(tmp_path / "labels.txt")


def test_a_source_must_exist(tmp_path) -> None:
    with pytest.raises(MissingDataError, match="nowhere"):
        convert_labels(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.pth", "best.ckpt", "w32.safetensors"])
def test_a_weight_file_is_refused(name) -> None:
    with pytest.raises(DataError, match=r"scripts/convert_weights\.py"):
        convert_labels(name)


@pytest.mark.parametrize(
    ("name", "content", "format_"),
    [
        ("labels.csv", "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\na.png,1,2\n", "DeepLabCut"),
        ("a.json", '{"shapes": [], "imagePath": "a.png"}', "labelme"),
        ("tasks.json", '[{"id": 1, "data": {}, "annotations": []}]', "Label Studio"),
        ("a.xml", "<annotations><version>1.1</version></annotations>", "CVAT"),
        ("data.yaml", "kpt_shape: [2, 3]", "YOLO"),
    ],
)
@pytest.mark.parametrize("purpose", ["fit", "evaluate"])
def test_the_error_for_a_file_of_another_tool_names_the_command(tmp_path, name, content, format_, purpose) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(DataError) as error:
        InstanceFiles().annotated(file, file.parent, "train") if purpose == "fit" else read_annotations(file)
    assert f"hrpose convert {file}" in str(error.value)
    assert format_ in str(error.value)
    assert "cut short" not in str(error.value)


def test_the_error_for_another_list_names_write_coco(tmp_path) -> None:
    (tmp_path / "own.json").write_text('[{"img_name": "a.png", "joints": [[1, 2, 1]]}]')
    with pytest.raises(DataError, match=r"img_name.*hrpose\.write_coco"):
        InstanceFiles().annotated(tmp_path / "own.json", tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.yaml", "kpt_shape: [1, 3]\ntrain: .\nnames: 5\nkpt_names: [x]"),
        ("labels.csv", "scorer,a\nbodyparts\ncoords,x\n"),
        ("labels.csv", "scorer,a,a\nbodyparts,n,n\ncoords,x,y\na.png,inf,2\n"),
        ("a.json", '{"shapes": [{"shape_type": "point", "points": [[1, 2]], "group_id": [1]}], "imagePath": "a.png"}'),
        ("a.json", '{"shapes": [{"shape_type": "point", "points": [[1, 1e400]], "label": "x"}], "imagePath": "a.png"}'),
        ("a.json", '[{"id": 1, "data": {"x": "a.png"}, "annotations": [{"result": null}]}]'),
        ("a.json", '{"a": {"filename": 5, "regions": []}}'),
        ("a.json", '{"images": {"1": "a.png"}, "annotations": [5], "categories": [5]}'),
        ("meta.json", '{"classes": [{"geometry_config": {"nodes": {"x": {"label": "n"}}}}]}'),
    ],
)
def test_values_of_another_form_are_one_error(tmp_path, name, content) -> None:
    write_images(tmp_path, "a.png")
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=str(tmp_path)):
        convert_labels(tmp_path, bbox_margin=0.2, flip_pairs=[])
