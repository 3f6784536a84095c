import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrpose.skeletons import COCO, Skeleton
from hrpose.structures import Poses, rescore

TRIANGLE = Skeleton.from_names(("nose", "left_eye", "right_eye"), name="triangle", edges=((0, 1), (0, 2)))


def make_poses(count: int, **changes) -> Poses:
    rng = np.random.default_rng(count)
    poses = Poses(
        keypoints=rng.random((count, 3, 2)),
        keypoint_scores=rng.random((count, 3), np.float32),
        scores=rng.random(count),
        bbox_scores=np.ones(count),
        center=rng.random((count, 2)),
        scale=np.full((count, 2), [3.0, 4.0]),
        image_ids=np.arange(count),
        instance_ids=np.arange(count),
    )
    return replace(poses, **changes)


def test_poses_can_be_selected_and_joined() -> None:
    poses = Poses.concatenate([make_poses(2), make_poses(3)])
    assert len(poses) == 5
    assert len(poses[poses.image_ids == 1]) == 2
    assert len(poses[:3]) == 3
    assert len(poses[[]]) == 0
    np.testing.assert_array_equal(poses[[4, 0]].scores, poses.scores[[4, 0]])
    np.testing.assert_array_equal(poses.area, 12)
    with pytest.raises(ValueError, match="at least one"):
        Poses.concatenate([])


def test_a_number_selects_one_instance_and_iteration_yields_all() -> None:
    poses = make_poses(3, bbox=np.arange(12.0).reshape(3, 4), skeleton=TRIANGLE)
    assert [float(pose.scores[0]) for pose in poses] == poses.scores.tolist()
    assert poses[-1].keypoints.shape == (1, 3, 2)
    np.testing.assert_array_equal(poses[-1].bbox, [[8.0, 9.0, 10.0, 11.0]])
    assert poses[np.int64(1)].skeleton is TRIANGLE
    with pytest.raises(IndexError):
        poses[3]


def test_above_keeps_instances_with_higher_scores() -> None:
    poses = make_poses(3, scores=np.array([0.2, 0.5, 0.9]))
    assert poses.above(0.5).scores.tolist() == [0.9]
    assert len(poses.above(1.0)) == 0


def test_boxes_and_skeleton_are_kept_if_all_parts_have_them() -> None:
    known = make_poses(2, bbox=np.ones((2, 4)), skeleton=TRIANGLE)
    both = Poses.concatenate([known, known])
    assert both.bbox is not None
    assert both.bbox.shape == (4, 4)
    assert both.skeleton is TRIANGLE
    assert Poses.concatenate([known, replace(known, bbox=None)]).bbox is None
    with pytest.raises(ValueError, match=r"'coco'.*'triangle'"):
        Poses.concatenate([known, replace(known, skeleton=COCO)])


def test_keypoints_have_names_also_without_a_skeleton() -> None:
    assert make_poses(1).keypoint_names == ("keypoint_0", "keypoint_1", "keypoint_2")
    assert make_poses(1, skeleton=TRIANGLE).keypoint_names == TRIANGLE.keypoint_names


def test_coco_rows_hold_triplets_of_x_y_and_score() -> None:
    poses = make_poses(2)
    rows = poses.to_coco(category_id=3)
    assert [row["category_id"] for row in rows] == [3, 3]
    assert rows[1]["image_id"] == 1
    triplets = np.array(rows[1]["keypoints"]).reshape(3, 3)
    np.testing.assert_array_equal(triplets[:, :2], poses.keypoints[1])
    np.testing.assert_allclose(triplets[:, 2], poses.keypoint_scores[1])
    assert rows[1]["scale"] == [3.0, 4.0]


def test_a_table_has_a_row_for_each_keypoint() -> None:
    pytest.importorskip("pandas")
    poses = make_poses(2, skeleton=TRIANGLE)
    table = poses.to_dataframe()
    assert list(table.columns) == [*("image_id", "instance_id", "instance", "score", "keypoint", "x", "y", "keypoint_score")]
    assert len(table) == 6
    row = table[(table.instance == 1) & (table.keypoint == "left_eye")].iloc[0]
    assert (row.x, row.y) == tuple(poses.keypoints[1, 1])
    assert (row.score, row.keypoint_score) == (poses.scores[1], poses.keypoint_scores[1, 1])
    assert len(poses[:0].to_dataframe()) == 0


def test_a_table_without_pandas_is_refused_with_the_install_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'pandas'"):
        make_poses(1).to_dataframe()


def test_the_error_for_draw_has_the_replacement() -> None:
    with pytest.raises(AttributeError, match="draw_poses"):
        make_poses(1).draw([])  # type: ignore[attr-defined]
    assert not hasattr(make_poses(1), "draw")


def test_instance_scores_are_the_official_ones_to_the_bit(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "evaluate.npz")
    scores = rescore(golden["boxes"][:, 5], golden["preds"][..., 2], threshold=0.2)
    assert scores[golden["hard_rows"]].tolist() == golden["hard_scores"].tolist()


def test_no_confident_keypoint_gives_zero() -> None:
    assert rescore([0.9, 0.9], np.array([[0.2, 0.1], [0.21, 0.0]], dtype=np.float32)).tolist()[0] == 0


def test_rescore_refuses_different_lengths() -> None:
    with pytest.raises(ValueError, match="same N"):
        rescore([0.9], np.zeros((2, 17)))
