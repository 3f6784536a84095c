import numpy as np
import pytest

from hrpose.estimator.boxes import check_inside, read_bboxes, touching


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bbox": [[0, 0, 1, 1]], "bbox_xyxy": [[0, 0, 1, 1]]}, "but got both"),
        ({"scores": [1.0]}, "boxes for `bbox_scores`"),
        ({"bbox": [[1, 2, 3]]}, r"`bbox`.*\(N, 4\).*\(1, 3\)"),
        ({"bbox": [[1, 2, 3, 4, 0.9]]}, "`bbox_scores`"),
        ({"bbox": np.zeros((1, 1, 4))}, r"\(1, 1, 4\)"),
        ({"bbox": "person"}, "`bbox` to be numbers"),
        ({"bbox": [[1, 2, 3, 4], [1, 2, np.nan, 4]]}, r"`bbox`.*1"),
        ({"bbox": [[1, 2, 0, 4]]}, "a positive width and height, but row 0"),
        ({"bbox_xyxy": [[10, 20, 5, 60]]}, r"0.*`bbox`"),
        ({"bbox_xyxy": [[np.inf, 20, np.inf, 60]]}, "`bbox_xyxy` to be finite"),
        ({"bbox": [[1, 2, 3, 4]], "scores": [0.5, 0.5]}, "`bbox_scores` to be 1 finite"),
        ({"bbox": [[1, 2, 3, 4]], "scores": [np.nan]}, "`bbox_scores` to be 1 finite"),
    ],
)
def test_invalid_boxes_are_refused(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_bboxes(given.get("bbox"), given.get("bbox_xyxy"), given.get("scores"))


def test_the_arguments_are_not_modified() -> None:
    corners = np.array([[10.0, 20, 40, 60]])
    bbox, scores = read_bboxes(None, corners, None)
    assert bbox.tolist() == [[10, 20, 30, 40]]
    assert scores.tolist() == [1]
    assert corners.tolist() == [[10, 20, 40, 60]]


def test_an_empty_list_of_boxes_differs_from_none() -> None:
    assert read_bboxes(None, None, None) is None
    bbox, scores = read_bboxes([], None, None)
    assert (bbox.shape, scores.shape) == ((0, 4), (0,))


def test_a_box_outside_the_image_is_refused() -> None:
    for box in ([100, 10, 5, 5], [-9, 10, 9, 5], [10, 90, 5, 5]):
        with pytest.raises(ValueError, match=r"80 x 60.*1"):
            check_inside(np.array([[1, 1, 5, 5], box], float), (80, 60))


def test_a_box_may_extend_outside_the_image() -> None:
    check_inside(np.array([[-20.0, -10, 60, 80], [50, 30, 33, 31]]), (80, 60))


def test_corners_passed_as_width_and_height_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0, 40, 20, 70, 55.*`bbox_xyxy`"):
        check_inside(np.array([[40.0, 20, 70, 55], [1, 2, 30, 40]]), (80, 60))
    check_inside(np.array([[40.0, 20, 70, 55], [30, 40, 20, 20]]), (80, 60))  # the second cannot be corners


def test_touching_requires_a_shared_area() -> None:
    boxes = np.array([[-5.0, 0, 5, 5], [-5, 0, 5.1, 5], [79.9, 59.9, 9, 9], [80, 0, 1, 1]])
    assert touching(boxes, (80, 60)).tolist() == [False, True, True, False]
