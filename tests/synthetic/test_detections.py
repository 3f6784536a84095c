"""The imitated detector: good boxes score high, some people are missed, some boxes show nobody."""

import numpy as np
import pytest

from hrpose.synthetic.detections import detect_people


def make_images(count):
    images = [{"id": i, "width": 320, "height": 240} for i in range(count)]
    annotations = [
        {"image_id": i, "bbox": [40 + 100 * n, 30, 60, 150], "num_keypoints": 17 if n else 3, "iscrowd": 0}
        for i in range(count - 5)
        for n in range(2)
    ]
    return images, annotations


@pytest.fixture(scope="module")
def found():
    """Rows (n,): score, best overlap (IoU) with a person of the photo; and the share of people that some box finds."""
    images, annotations = make_images(300)
    rows = detect_people(images, annotations, seed=0)
    truth = {
        image["id"]: np.array([a["bbox"] for a in annotations if a["image_id"] == image["id"]]) for image in images
    }
    overlaps = [iou(np.array(row["bbox"]), truth[row["image_id"]]) for row in rows]
    return rows, np.array([overlap.max(initial=0) for overlap in overlaps]), overlaps


def iou(box, others):
    if not len(others):
        return np.zeros(0)
    common = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(common, 0, None).prod(1)
    return shared / (box[2:].prod() + others[:, 2:].prod(1) - shared)


def test_rows_are_coco_detections(found):
    for row in found[0]:
        assert set(row) == {"image_id", "category_id", "bbox", "score"}
        assert 0 < row["score"] <= 1
        left, top, width, height = row["bbox"]
        assert min(left, top) >= 0
        assert min(width, height) >= 2
        assert left + width <= 320.01
        assert top + height <= 240.01


def test_better_boxes_score_higher(found):
    rows, best, _ = found
    scores = np.array([row["score"] for row in rows])
    assert best[scores > 0.8].mean() > 0.8
    assert np.corrcoef(scores, best)[0, 1] > 0.6


def test_most_people_are_found_and_some_are_missed(found):
    rows, _, overlaps = found
    hits = np.zeros((300, 2), bool)
    for row, overlap in zip(rows, overlaps, strict=True):
        if len(overlap):
            hits[row["image_id"]] |= overlap > 0.5
    hard, easy = hits[:295].mean(0)
    assert 0.93 < easy < 1
    assert 0.5 < hard < 0.9


def test_false_alarms_and_double_hits_occur(found):
    rows, best, _ = found
    assert (best < 0.1).sum() > 50
    assert any(row["image_id"] >= 295 for row in rows), "also in photos of nobody"
    assert (best > 0.5).sum() > 520


def test_a_photo_gives_the_same_boxes_whatever_stands_beside_it():
    images, annotations = make_images(8)
    everything = detect_people(images, annotations, seed=3)
    one = detect_people(images[2:3], [row for row in annotations if row["image_id"] == 2], seed=3)
    assert one == [row for row in everything if row["image_id"] == 2]
    assert everything != detect_people(images, annotations, seed=4)


def test_crowds_are_not_detected_as_one_person():
    images = [{"id": 1, "width": 320, "height": 240}]
    crowd = {"image_id": 1, "bbox": [5, 5, 300, 40], "num_keypoints": 0, "iscrowd": 1}
    assert detect_people(images, [crowd], seed=0) == detect_people(images, [], seed=0)
