"""CVAT XML.

The structure is that of docs.cvat.ai (XML annotation format 1.1) and of cvat/apps/dataset_manager/formats/cvat.py, the drawing
of a skeleton as in the tests of CVAT's REST API; tracks of points are as several public parsers of "CVAT for video" test them.
Values are made up.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError

META = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>2</id><labels>
    <label><name>mouse</name><color>#fa3253</color><type>skeleton</type><attributes></attributes>
      <svg>&lt;line x1="36.3" y1="45.9" x2="59.0" y2="23.0" data-type="edge" data-node-from="2" data-node-to="3"&gt;
&lt;/line&gt;&lt;circle r="1.5" cx="22.6" cy="25.7" data-type="element node" data-element-id="1" data-node-id="1"
 data-label-name="nose"&gt;&lt;/circle&gt;&lt;circle r="1.5" cx="36.3" cy="45.9" data-element-id="2" data-node-id="2"
 data-label-name="left_ear"&gt;&lt;/circle&gt;&lt;circle r="1.5" cx="59.0" cy="23.0" data-element-id="3" data-node-id="3"
 data-label-name="right_ear"&gt;&lt;/circle&gt;</svg></label>
    <label><name>nose</name><type>points</type><parent>mouse</parent></label>
    <label><name>left_ear</name><type>points</type><parent>mouse</parent></label>
    <label><name>right_ear</name><type>points</type><parent>mouse</parent></label>
  </labels></task></meta>
"""
SKELETON = """\
    <skeleton label="mouse" source="manual" z_order="0"{group}>
      <points label="right_ear" source="manual" outside="0" occluded="1" points="50.50,25.25"></points>
      <points label="nose" source="manual" outside="0" occluded="0" points="10.00,20.00"></points>
      <points label="left_ear" source="manual" outside="1" occluded="0" points="30.00,40.00"></points>
    </skeleton>
"""
BOX = '<box label="mouse" occluded="0" xtl="5.00" ytl="6.00" xbr="65.00" ybr="46.00" z_order="0" group_id="{}"></box>'


def write(folder: Path, body: str, meta: str = META) -> Path:
    write_images(folder, "images/sub/a.png")
    (folder / "annotations.xml").write_text(f"{meta}{body}</annotations>")
    return folder


def image(body: str, subset: str = "") -> str:
    return f'  <image id="0" name="sub/a.png"{subset} width="160" height="120">\n{body}  </image>\n'


def test_skeletons_keep_order_edges_and_visibility(tmp_path) -> None:
    folder = write(tmp_path, image(SKELETON.format(group=' group_id="1"') + BOX.format(1)))
    assert recognise(folder) == recognise(folder / "annotations.xml") == "cvat"
    convert_labels(folder, images=folder / "images", split=0)
    (row,) = instances(folder / "images")["sub/a.png"]
    assert row["keypoints"] == [10, 20, 2, 0, 0, 0, 50.5, 25.25, 1]
    assert row["bbox"] == [5, 6, 60, 40]
    assert category(folder / "images")["keypoints"] == ["nose", "left_ear", "right_ear"]
    assert category(folder / "images")["skeleton"] == [[2, 3]]


def test_a_box_without_group_is_left_out_and_counted(tmp_path) -> None:
    folder = write(tmp_path, image(SKELETON.format(group="") + BOX.format(7)))
    conversion = convert_labels(folder, bbox_margin=0.25, split=0)
    assert any("1 boxes share no group" in note for note in conversion.notes)


def test_points_of_a_group_are_an_instance(tmp_path) -> None:
    points = "".join(
        f'<points label="{name}" occluded="{occluded}" points="{x}.00,9.50" z_order="0" group_id="{group}"></points>'
        for name, occluded, x, group in (("left", 0, 6, 4), ("right", 1, 7, 4), ("right", 0, 8, 5), ("left", 0, 9, 5))
    )
    meta = META[: META.index("  <meta>")]
    folder = write(tmp_path, image(points + BOX.format(4) + BOX.format(5)), meta)
    convert_labels(folder, split=0)
    first, second = instances(folder)["images/sub/a.png"]
    assert first["keypoints"] == [6, 9.5, 2, 7, 9.5, 1]
    assert second["keypoints"] == [9, 9.5, 2, 8, 9.5, 2]


def test_a_video_has_frames_and_tracks(tmp_path) -> None:
    write_images(tmp_path, "images/frame_000003.png")
    frame = SKELETON.format(group="").replace('<skeleton label="mouse"', '<skeleton frame="3" keyframe="1"')
    gone = frame.replace('frame="3"', 'frame="4" outside="1"')
    (tmp_path / "annotations.xml").write_text(
        f'{META}<track id="0" label="mouse" source="manual">{frame}{gone}</track></annotations>'
    )
    convert_labels(tmp_path, bbox_margin=0.25, split=0)
    ((row,),) = instances(tmp_path).values()
    assert (row["keypoints"][:3], row["track_id"]) == ([10, 20, 2], 1)


def test_subsets_are_the_split(tmp_path) -> None:
    write_images(tmp_path, "images/b.png")
    second = image(SKELETON.format(group=""), ' subset="Validation"').replace("sub/a.png", "b.png")
    folder = write(tmp_path, image(SKELETON.format(group=""), ' subset="Train"') + second)
    assert set(convert_labels(folder, bbox_margin=0.25).files) == {"train", "val"}


@pytest.mark.parametrize(
    "body",
    [
        image('<points label="nose" occluded="0" points="1,2;3,4"></points>'),
        image('<points label="nose" points="1,2"></points><points label="nose" points="3,4"></points>'),
        image(BOX.format(1) + BOX.format(1) + '<points label="nose" points="1,2" group_id="1"></points>'),
        '<track id="0" label="nose"><points frame="0" points="1,2;3,4"></points></track>',
        '<track id="0" label="nose"><points points="1,2"></points></track>',
    ],
)
def test_shapes_of_unknown_instances_are_refused(tmp_path, body) -> None:
    with pytest.raises(DataError, match=r"annotations\.xml"):
        convert_labels(write(tmp_path, body), bbox_margin=0.1)


def test_entities_are_not_expanded(tmp_path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]>'
    folder = write(tmp_path, image("&z;"), META.replace("<annotations>", f"{bomb}<annotations>"))
    with pytest.raises(DataError, match="document type"):
        convert_labels(folder)


def test_tracks_of_points_are_joined_by_frame_and_group(tmp_path) -> None:
    write_images(tmp_path, "images/frame_000000.PNG", "images/frame_000001.PNG")
    other = 'keyframe="1" z_order="0"'
    tracks = "".join(
        f'<track id="{number}" label="{name}" source="manual"{group}>'
        f'<points frame="0" outside="0" occluded="{number % 2}" {other} points="{number}.50,{number}.25"></points>'
        f'<points frame="1" outside="1" occluded="0" {other} points="9,9"></points></track>'
        for number, (name, group) in enumerate([(name, group) for group in GROUPS for name in ("left_toe", "right_toe")])
    )
    box = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="31" ybr="42"></box>'
    boxes = f'<track id="9" label="horse" group_id="5">{box.format(0)}{box.format(1)}</track>'
    (tmp_path / "annotations.xml").write_text(f"<annotations><version>1.1</version>{tracks}{boxes}</annotations>")
    convert_labels(tmp_path, bbox_margin=0.5, split=0)
    found = instances(tmp_path)
    first, second = found["images/frame_000000.PNG"]
    assert (first["keypoints"], first["bbox"]) == ([0.5, 0.25, 2, 1.5, 1.25, 1], [1, 2, 30, 40])
    assert (second["keypoints"], second.get("track_id")) == ([2.5, 2.25, 2, 3.5, 3.25, 1], None)
    assert [row["num_keypoints"] for row in found["images/frame_000001.PNG"]] == [0]


GROUPS = (' group_id="5"', ' group_id="6"')
