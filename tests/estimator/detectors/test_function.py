import numpy as np
import pytest

from hrpose import FunctionDetector

PHOTO = np.zeros((60, 80, 3), np.uint8)


@pytest.mark.parametrize(("box_format", "box"), [("xyxy", [10, 20, 40, 60]), ("xywh", [10, 20, 30, 40])])
def test_a_function_says_how_it_writes_boxes(box_format, box) -> None:
    boxes, scores = FunctionDetector(lambda image: ([box, [1, 1, 5, 5]], [0.9, 0.1]), box_format=box_format)(PHOTO)
    np.testing.assert_array_equal(boxes, [[10, 20, 30, 40]])  # the other one scores too low
    assert scores == pytest.approx([0.9])


def test_the_function_gets_the_image() -> None:
    seen = []
    detector = FunctionDetector(lambda image: (seen.append(image), ([], []))[1], box_format="xywh")
    assert len(detector(PHOTO)[0]) == 0
    assert seen[0] is PHOTO


def test_what_is_no_box_is_refused() -> None:
    with pytest.raises(ValueError, match="right > left"):
        FunctionDetector(lambda image: ([[10, 20, 5, 5]], [1]), box_format="xyxy")(PHOTO)
    with pytest.raises(ValueError, match="they are None"):
        FunctionDetector(lambda image: (None, None), box_format="xyxy")(PHOTO)
    for found in (None, 7, ([], [], [])):
        with pytest.raises(ValueError, match="to return a pair"):
            FunctionDetector(lambda image, found=found: found, box_format="xywh")(PHOTO)
    with pytest.raises(ValueError, match="`box_format`"):
        FunctionDetector(lambda image: None, box_format="cxcywh")
