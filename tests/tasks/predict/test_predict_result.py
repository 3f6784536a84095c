"""The poses that `hrpose.predict` returns are read from its files."""

import json

import numpy as np

from hrpose.skeletons import Skeleton
from hrpose.tasks.predict import PredictResult

EYES = Skeleton.from_category({"name": "face", "keypoints": ["left_eye", "right_eye"]})


def write_result(folder, images, rows):
    (folder / "images.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    (folder / "poses.json").write_text(json.dumps(rows))
    return PredictResult(folder, len(rows), EYES, folder / "poses.json", folder / "images.json")


def row_of(image_id, x, **more):
    row = {"image_id": image_id, "category_id": 1, "keypoints": [x, 2, 0.5, 3, 4, 0.25], "score": 0.75}
    return {**row, "center": [5, 6], "scale": [7, 8], **more}


def test_poses_are_grouped_by_image_and_an_empty_image_has_no_rows(tmp_path):
    images = [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    poses = write_result(tmp_path, images, [row_of(1, 10), row_of(1, 20)]).read_poses()
    assert list(poses) == ["b.jpg", "a.jpg"]
    assert poses["b.jpg"].keypoints.tolist() == [[[10, 2], [3, 4]], [[20, 2], [3, 4]]]
    assert poses["b.jpg"].keypoint_scores.tolist() == [[0.5, 0.25]] * 2
    assert poses["b.jpg"].scores.tolist() == [0.75, 0.75]
    assert poses["b.jpg"].instance_ids.tolist() == [0, 1]
    assert np.isnan(poses["b.jpg"].bbox_scores).all()
    assert poses["a.jpg"].keypoints.shape == (0, 2, 2)
    assert poses["a.jpg"].center.shape == (0, 2)


def test_identities_of_a_video_are_kept(tmp_path):
    images = [{"id": 1, "file_name": "film/000001"}]
    poses = write_result(tmp_path, images, [row_of(1, 10, track_id=7)]).read_poses()
    assert poses["film/000001"].instance_ids.tolist() == [7]


def test_rows_read_back_are_those_of_the_file(tmp_path):
    rows = [row_of(1, 10)]
    poses = write_result(tmp_path, [{"id": 1, "file_name": "a"}], rows).read_poses()
    assert poses["a"].to_coco() == rows
