"""Unlabelled regions equal those that pycocotools reads from the same file."""

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO as PycocotoolsFile
from tiny_coco import annotation, content, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.regions import counted_pixels, read_regions
from hrpose.errors import DataError, DataWarning

POLYGONS = [[5.5, 5.0, 40.2, 8.0, 33.0, 50.7, 4.0, 44.0], [60, 10, 80, 10, 80.5, 30.25]]
NOTHING = [0] * 51
pytestmark = pytest.mark.filterwarnings("ignore:.*crowds")


def runs_of(mask):
    """Encode a mask (70, 90) in the format of COCO's crowds."""
    pixels = mask.T.ravel()
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([0, *changes.tolist(), pixels.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if pixels[0] else runs}


@pytest.fixture
def crowd():
    mask = np.zeros((70, 90), np.uint8)
    mask[20:60, 45:75] = mask[0, 0] = 1
    return mask


def read(folder, *rows):
    """Read the regions of image 1 from a file with these annotations beside a labelled one."""
    file = write_json(folder / "persons.json", {**content(0), "annotations": [annotation(4), *rows]})
    annotations = read_annotations(file)
    return file, read_regions(annotations)


def unlabelled(number, segmentation, **changes):
    return annotation(number, image_id=1, keypoints=NOTHING, num_keypoints=0, segmentation=segmentation, **changes)


def test_the_mask_equals_that_of_pycocotools(tmp_path, crowd):
    compressed = coco_masks.encode(np.asfortranarray(crowd[::-1]))
    rows = [
        unlabelled(1, POLYGONS),
        unlabelled(2, runs_of(crowd), iscrowd=1),
        unlabelled(3, {"size": [70, 90], "counts": compressed["counts"].decode()}, iscrowd=1),
    ]
    file, regions = read(tmp_path, *rows)
    tool = PycocotoolsFile(str(file))
    union = sum(tool.annToMask(row) for row in tool.loadAnns([101, 102, 103]))
    np.testing.assert_array_equal(counted_pixels(regions[0], (90, 70)), union == 0)
    assert 0 < union.astype(bool).sum() < 90 * 70


def test_a_labelled_instance_is_not_masked_by_its_segmentation(tmp_path):
    _, regions = read(tmp_path, annotation(1, image_id=1, segmentation=POLYGONS))
    assert counted_pixels(regions[0], (90, 70)).all()
    assert counted_pixels(regions[2], (90, 70)).shape == (70, 90)


def test_a_crowd_is_masked_even_if_it_has_keypoints(tmp_path, crowd):
    _, regions = read(tmp_path, annotation(1, image_id=1, segmentation=runs_of(crowd), iscrowd=1, num_keypoints=3))
    np.testing.assert_array_equal(counted_pixels(regions[0], (90, 70)), 1 - crowd)


def test_without_a_segmentation_nothing_is_masked_and_a_warning_counts(tmp_path):
    with pytest.warns(DataWarning, match=r"1 of 1 crowds.*101"):
        _, regions = read(tmp_path, unlabelled(1, None))
    assert regions.tolist() == [""] * 4


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, 1e9]],
        [[1, 2, 3, 4, 5, "6"]],
        [1, 2, 3, 4, 5, 6],
        "6 5 4",
        {"size": [90, 70], "counts": [6300]},
        {"size": [70, 90], "counts": [6299]},
        {"size": [70, 90], "counts": [6400, -100]},
        {"size": [70, 90], "counts": "PPPP"},
        {"size": [70, 90], "counts": "\u00e4"},
        {"size": [70, 90]},
    ],
)
def test_a_segmentation_that_does_not_fit_its_image_is_an_error_with_the_id(segmentation, tmp_path):
    with pytest.raises(DataError, match="annotation 101"):
        read(tmp_path, unlabelled(1, segmentation))
