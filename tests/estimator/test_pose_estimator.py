import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from exif_image import jpeg
from fake_engine import CenterEngine

import hrpose
from hrpose.annotations.coco import read_annotations
from hrpose.annotations.detections import read_detections
from hrpose.errors import DataError
from hrpose.estimator.video import track_poses
from hrpose.inference import NonFinitePosesError
from hrpose.media.video import VideoFrame
from hrpose.structures import InstanceTable, Poses


def by_image(table: InstanceTable, folder: Path) -> Iterator[tuple[int, Path, np.ndarray, np.ndarray]]:
    """Yield id, file, boxes and scores of each image."""
    starts = np.flatnonzero(np.diff(table.image_index, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(table)], strict=True):
        place = int(table.image_index[first])
        rows = slice(first, last)
        yield int(table.image_ids[place]), folder / table.file_names[place], table.bbox[rows], table.bbox_scores[rows]


def rows_of(estimator: hrpose.PoseEstimator, table: InstanceTable, folder: Path) -> list[dict]:
    """Return COCO results of an estimator for the boxes of a table."""
    images = list(by_image(table, folder))
    found = estimator.stream((file, bbox, scores) for _, file, bbox, scores in images)
    rows = []
    for (image_id, *_), poses in zip(images, found, strict=True):
        rows += [{**row, "image_id": image_id} for row in poses.to_coco()]
    return rows


def as_set(rows: list[dict]) -> set[tuple]:
    return {(row["image_id"], *row["keypoints"], row["score"]) for row in rows}


@pytest.mark.parametrize(("boxes", "precision"), [("gt", "32-true"), ("det", "bf16-mixed")])
def test_poses_equal_those_of_hrpose_test(checkpoint, hrpose_in, people, tmp_path, boxes, precision) -> None:
    words = (f"ckpt_path={checkpoint}", f"trainer.precision={precision}", "metric.oks_nms_threshold=null")
    hrpose_in("test", tmp_path, *words, f"data.val_boxes=[{boxes}]")
    measured = json.loads((tmp_path / "results" / f"keypoints_{boxes}.json").read_text())
    annotations = read_annotations(people / "annotations" / "person_keypoints_val2017.json")
    detections = people / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json"
    table = annotations.instances() if boxes == "gt" else read_detections(detections, annotations)
    estimator = hrpose.PoseEstimator.from_checkpoint(checkpoint, device="cpu", precision=precision.split("-")[0], batch_size=5)
    estimated = rows_of(estimator, table, people / "val2017")
    assert len(measured) == len(estimated) == len(table) > 7
    assert as_set(measured) == as_set(estimated)


@pytest.mark.data
@pytest.mark.slow
def test_poses_equal_those_of_hrpose_test_on_real_images(shared_data, hrpose_in, checkpoint, tmp_path) -> None:
    with tarfile.open(shared_data / "coco_real.tar") as archive:
        names = [name for name in archive.getnames() if "val2017" in name]
        archive.extractall(tmp_path, members=[archive.getmember(name) for name in names], filter="data")
    folder = next(tmp_path.rglob("annotations")).parent
    words = ("data=coco", f"paths.data={folder}", f"ckpt_path={checkpoint}", "data.val_batch_size=64")
    hrpose_in("test", tmp_path / "run", *words, "metric.oks_nms_threshold=null", "data.val_boxes=[gt]")
    measured = json.loads((tmp_path / "run" / "results" / "keypoints_gt.json").read_text())
    table = read_annotations(folder / "annotations" / "person_keypoints_val2017.json").instances()
    estimator = hrpose.PoseEstimator.from_checkpoint(checkpoint, device="cpu", batch_size=64)
    estimated = rows_of(estimator, table, folder / "val2017")
    assert len(measured) == len(estimated) == len(table) == 596
    assert as_set(measured) == as_set(estimated)


IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


@pytest.fixture
def engine() -> CenterEngine:
    return CenterEngine()


@pytest.fixture
def estimator(engine) -> hrpose.PoseEstimator:
    return hrpose.PoseEstimator(engine, batch_size=4, num_threads=2)


def test_one_image_returns_one_record_of_poses(estimator) -> None:
    poses = estimator(IMAGE, bbox=[[10, 20, 30, 40], [0, 0, 8, 8]], bbox_scores=[0.5, 0.25])
    assert isinstance(poses, Poses)
    np.testing.assert_array_equal(poses.keypoints[:, 0], [[25, 40], [4, 4]])
    np.testing.assert_array_equal(poses.bbox, [[10, 20, 30, 40], [0, 0, 8, 8]])
    assert poses.scores.tolist() == [0.5, 0.25]
    assert poses.skeleton is estimator.skeleton
    assert poses.image_ids.tolist() == [0, 0]
    assert poses.instance_ids.tolist() == [0, 1]


def test_one_box_needs_no_list(estimator) -> None:
    assert estimator(IMAGE, bbox=(10, 20, 30, 40), bbox_scores=0.5).scores.tolist() == [0.5]
    assert estimator(IMAGE, bbox=torch.tensor([10, 20, 30, 40])).scores.tolist() == [1.0]


def test_boxes_may_be_corners(estimator) -> None:
    corners = estimator(IMAGE, bbox_xyxy=[[10, 20, 40, 60]])
    np.testing.assert_array_equal(corners.bbox, [[10, 20, 30, 40]])
    np.testing.assert_array_equal(corners.keypoints, estimator(IMAGE, bbox=[[10, 20, 30, 40]]).keypoints)


def test_without_boxes_the_whole_image_is_one_instance(estimator) -> None:
    poses = estimator(IMAGE)
    np.testing.assert_array_equal(poses.bbox, [[0, 0, 80, 60]])
    np.testing.assert_array_equal(poses.keypoints[0, 0], [40, 30])


def test_instances_of_several_images_share_a_batch(estimator, engine) -> None:
    boxes = [[[5.0 * k, 10, 10, 10] for k in range(count)] for count in (1, 3, 0, 6, 1)]
    found = estimator([IMAGE] * 5, bbox=boxes)
    assert engine.batch_sizes == [4, 4, 3]
    assert [len(poses) for poses in found] == [1, 3, 0, 6, 1]
    for place, (poses, rows) in enumerate(zip(found, boxes, strict=True)):
        assert set(poses.image_ids.tolist()) <= {place}
        np.testing.assert_array_equal(poses.bbox, np.array(rows).reshape(-1, 4))
        np.testing.assert_array_equal(poses.keypoints[:, 0, 0], np.array(rows).reshape(-1, 4)[:, 0] + 5)
    assert np.concatenate([poses.instance_ids for poses in found]).tolist() == list(range(11))


def test_an_image_without_instances_has_empty_poses(estimator, engine) -> None:
    poses = estimator(IMAGE, bbox=[])
    assert (poses.keypoints.shape, poses.bbox.shape, len(poses.to_coco())) == ((0, 2, 2), (0, 4), 0)
    assert estimator([]) == []
    assert engine.batch_sizes == []


def test_images_of_a_list_may_lack_boxes(estimator) -> None:
    found = estimator([IMAGE, IMAGE], bbox=[None, [[1, 2, 3, 4]]])
    assert [poses.bbox.tolist() for poses in found] == [[[0, 0, 80, 60]], [[1, 2, 3, 4]]]


def test_poses_of_a_list_equal_those_of_single_images(checkpoint, people) -> None:
    estimator = hrpose.PoseEstimator.from_checkpoint(checkpoint, device="cpu", batch_size=3)
    files = sorted((people / "val2017").glob("*.jpg"))
    bbox = [[[40, 30, 100, 180], [150, 20, 90, 200]]] * len(files)
    for file, poses in zip(files, estimator(files, bbox=bbox), strict=True):
        alone = estimator(file, bbox=bbox[0])
        np.testing.assert_allclose(poses.keypoints, alone.keypoints, atol=1e-6)
        np.testing.assert_allclose(poses.scores, alone.scores, atol=1e-5)


def test_a_stream_has_few_images_in_memory(estimator) -> None:
    taken = 0

    def film() -> Iterator[tuple]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield IMAGE, [[1, 2, 30, 40]], None

    ahead = []
    for given, poses in enumerate(estimator.stream(film()), start=1):
        assert poses.image_ids.tolist() == [given - 1]
        ahead.append(taken - given)
    assert given == 100
    assert max(ahead) <= 2 * 2 + 4 * 4  # readers' images, and batches: waiting, ready, in the engine, done


def test_a_stream_may_be_stopped_early(estimator) -> None:
    stream = estimator.stream((IMAGE, None, None) for _ in range(10**9))
    assert len(next(stream)) == 1
    stream.close()


def test_unusable_images_are_reported_and_have_no_poses(estimator, tmp_path) -> None:
    errors: dict[int, str] = {}
    items = [(IMAGE, None, None), (tmp_path / "none.jpg", None, None), (IMAGE, [[200, 0, 5, 5]], None), (IMAGE, None, None)]
    found = list(estimator.stream(items, on_error=lambda place, error: errors.update({place: str(error)})))
    assert [len(poses) for poses in found] == [1, 0, 0, 1]
    assert list(errors) == [1, 2]
    assert "none.jpg" in errors[1]
    with pytest.raises(DataError, match=r"none.jpg"):
        list(estimator.stream(items))


def test_errors_of_the_caller_and_of_the_engine_are_raised(engine, estimator) -> None:
    def broken() -> Iterator[tuple]:
        yield IMAGE, None, None
        raise RuntimeError("the camera is off")

    with pytest.raises(RuntimeError, match="the camera is off"):
        list(estimator.stream(broken()))

    class Broken(CenterEngine):
        def __call__(self, batch):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        hrpose.PoseEstimator(Broken())([IMAGE, IMAGE])


def test_the_detector_is_used_for_images_without_boxes(engine) -> None:
    shapes = []

    def detector(image):
        shapes.append(image.shape)
        return [[10, 20, 30, 40], [500, 500, 9, 9]], [0.9, 0.8]

    estimator = hrpose.PoseEstimator(engine, detector=detector)
    first, second = estimator([IMAGE, IMAGE], bbox=[None, [[1, 2, 3, 4]]])
    assert shapes == [IMAGE.shape]
    assert first.bbox.tolist() == [[10, 20, 30, 40]]  # the other box is outside
    assert first.scores == pytest.approx([0.9])
    assert second.bbox.tolist() == [[1, 2, 3, 4]]
    assert len(hrpose.PoseEstimator(engine, detector=lambda image: ([], []))(IMAGE)) == 0


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "NoneType"),
        (([[1, 2, 3]], [1]), r"`bbox`.*\(N, 4\)"),
        (([[1, 2, 3, 4]], [1, 2]), "1 finite"),
        (([[1, 2, 3, np.nan]], [1]), "cannot be used.*finite"),
        ((None, [1]), "cannot be used"),
    ],
)
def test_other_results_of_a_detector_are_refused(engine, found, message) -> None:
    estimator = hrpose.PoseEstimator(engine, detector=lambda image: found)
    with pytest.raises(ValueError, match=message):
        estimator(IMAGE)


def test_an_image_from_a_file_is_rotated_upright(engine, tmp_path) -> None:
    image = jpeg(orientation=6)
    turned = hrpose.PoseEstimator(engine)(image)
    assert turned.bbox.tolist() == [[0, 0, 60, 80]]
    stored = hrpose.PoseEstimator(engine, upright=False)(image)
    assert stored.bbox.tolist() == [[0, 0, 80, 60]]


def test_lists_of_boxes_and_images_must_have_the_same_length(estimator) -> None:
    with pytest.raises(ValueError, match=r"`bbox`.*2 images.*1"):
        estimator([IMAGE, IMAGE], bbox=[[[1, 2, 3, 4]]])


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"bbox_padding": -1}, {"num_threads": 0}, {"detector": 7}])
def test_invalid_options_are_refused(engine, option) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(option))}`"):
        hrpose.PoseEstimator(engine, **option)


def test_a_network_as_engine_is_refused_with_the_new_name() -> None:
    for arguments in ((torch.nn.ReLU(),), (torch.nn.ReLU(), None, hrpose.COCO)):
        with pytest.raises(TypeError, match=r"PoseEstimator\.from_network"):
            hrpose.PoseEstimator(*arguments)


def test_the_old_factory_works_and_warns(engine) -> None:
    with pytest.warns(DeprecationWarning, match=r"is now PoseEstimator\("):
        assert hrpose.PoseEstimator.from_engine(engine, batch_size=3).batch_size == 3


class NanEngine(CenterEngine):
    """Returns NaN for crops of bright images."""

    def __call__(self, batch):
        poses = super().__call__(batch)
        poses.keypoint_scores[batch["images"].numpy().max(axis=(1, 2, 3)) > 200] = np.nan
        return poses


@pytest.mark.parametrize("entry", ["image", "list", "stream", "video"])
def test_nan_raises_an_error_in_every_method(entry) -> None:
    dark, bright = np.full((60, 80, 3), 9, np.uint8), np.full((60, 80, 3), 255, np.uint8)
    estimator = hrpose.PoseEstimator(NanEngine(), batch_size=1)
    calls = {
        "image": lambda: estimator(bright),
        "list": lambda: estimator([dark, dark, bright]),
        "stream": lambda: list(estimator.stream([(dark, None, None), (bright, None, None)], on_error=print)),
        "video": lambda: list(track_poses(estimator, [VideoFrame(image, i, i / 25) for i, image in enumerate([dark, bright])])),
    }
    estimator([dark, dark])
    with pytest.raises(NonFinitePosesError, match=r"1 of 1 crops.*precision=32"):
        calls[entry]()
