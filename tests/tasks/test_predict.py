"""hrpose predict: images, videos, unusual file names, unusable images, several processes, resuming."""

import json
import os
import shutil
import struct
import sys
import zlib
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch
from small_network import write_checkpoint

from hrpose import PoseEstimator
from hrpose.config import ConfigError, check, compose
from hrpose.errors import DataError, DataWarning
from hrpose.geometry import clip_bbox
from hrpose.inference import NonFinitePosesError
from hrpose.media.load import load_image
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.synthetic import draw_walk, write_dataset
from hrpose.tasks import run
from hrpose.tasks.predict import UnusableImagesError
from hrpose.tasks.predict.files import PredictionFiles
from processes import run_module


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "small (1).ckpt")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder in the layout of COCO with drawn people in five images."""
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=1, num_val=5, image_size=(160, 120))
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    file = tmp_path_factory.mktemp("film") / "a walk.mp4"
    with VideoWriter(file, frame_rate=10) as writer:
        for frame in draw_walk(num_frames=6, image_size=(160, 120), frame_rate=10):
            writer.write(frame.image)
    return file


@pytest.fixture
def predict(weights, tmp_path):
    """Run the verb in this process; return the number of instances and the folder of the run."""

    def call(*overrides, folder="run"):
        given = [f"weights='{weights}'", "device=cpu", "num_threads=2", f"paths.run={tmp_path / folder}"]
        return run("predict", compose("predict", [*given, *overrides])).num_instances, tmp_path / folder

    return call


def read(file):
    return json.loads(file.read_text())


def annotations_of(people):
    return people / "annotations" / "person_keypoints_val2017.json"


def detections_of(people):
    return next((people / "person_detection_results").glob("*.json"))


def test_images_of_a_folder_have_poses_and_pictures(predict, people, tmp_path):
    num_instances, folder = predict(f"source={people}/val2017", "csv=true")
    names = sorted(path.name for path in (people / "val2017").iterdir())
    images = read(folder / "images.json")["images"]
    assert [(image["id"], image["file_name"]) for image in images] == list(enumerate(names, start=1))
    poses = read(folder / "poses.json")
    assert [row["image_id"] for row in poses] == [1, 2, 3, 4, 5]  # without boxes the whole image is one instance
    assert num_instances == 5
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == names
    for image in images:
        picture = load_image(folder / "pictures" / image["file_name"])
        assert picture.shape == (image["height"], image["width"], 3)
    assert len((folder / "poses.csv").read_text().splitlines()) == 6


def test_poses_are_those_of_the_estimator(predict, people, weights):
    """With clipped boxes of a file and stored pixels, poses are those of `PoseEstimator` for the same boxes."""
    _, folder = predict(f"source={people}/val2017", f"boxes={annotations_of(people)}", "oks_nms_threshold=null")
    content = read(annotations_of(people))
    estimator = PoseEstimator.from_checkpoint(weights, device="cpu", upright=False)
    expected = []
    for image in sorted(content["images"], key=lambda image: image["file_name"]):
        boxes = [row["bbox"] for row in content["annotations"] if row["image_id"] == image["id"] and not row["iscrowd"]]
        clipped = clip_bbox(boxes, (image["width"], image["height"]))
        found = estimator(people / "val2017" / image["file_name"], bbox=clipped)
        expected += [row | {"image_id": image["id"]} for row in found.to_coco()]
    rows = read(folder / "poses.json")
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row["keypoints"], other["keypoints"], atol=1e-3)
        assert row["score"] == pytest.approx(other["score"], abs=1e-5)


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_precision_can_be_set(predict, people, precision):
    """Hydra reads 32 as a number."""
    assert predict(f"source={people}/val2017", f"precision={precision}", "draw=none")[0] == 5


@pytest.mark.slow
def test_another_engine_predicts_the_same_poses(predict, people):
    overrides = [f"source={people}/val2017", f"boxes={annotations_of(people)}", "draw=none"]
    poses, others = (
        read(predict(*overrides, *more, folder=f"{len(more)}")[1] / "poses.json") for more in ([], ["backend=openvino"])
    )
    assert [row["image_id"] for row in poses] == [row["image_id"] for row in others]
    for row, other in zip(poses, others, strict=True):
        np.testing.assert_allclose(row["keypoints"], other["keypoints"], atol=1e-3)
    with pytest.raises(ValueError, match="backend"):
        predict(*overrides, "backend=thawed")


def test_hrpose_evaluate_reads_the_result(predict, people, tmp_path):
    _, folder = predict(
        f"source={people}/val2017", f"annotations={annotations_of(people)}", f"boxes={detections_of(people)}", "draw=none"
    )
    assert not (folder / "pictures").exists()
    overrides = [f"annotations={annotations_of(people)}", f"results={folder / 'poses.json'}", "num_samples=10"]
    ap = run("evaluate", compose("evaluate", [*overrides, f"paths.run={tmp_path / 'evaluation'}"])).score
    assert 0 <= ap < 0.5


def test_duplicate_poses_are_dropped(predict, people, tmp_path):
    name = sorted(path.name for path in (people / "val2017").iterdir())[0]
    boxes = tmp_path / "boxes.json"
    images = tmp_path / "images.json"
    image_id = 2**53 + 1  # a float64 does not hold it
    images.write_text(json.dumps({"images": [{"id": image_id, "file_name": name}]}))
    box = {"image_id": image_id, "category_id": 1, "bbox": [10, 10, 60, 90]}
    boxes.write_text(json.dumps([{**box, "score": 0.5}, {**box, "score": 0.9}]))
    overrides = [f"source={people}/val2017/{name}", f"annotations={images}", f"boxes={boxes}", "draw=none"]
    number, folder = predict(*overrides, folder="one")
    assert number == 1
    assert [row["image_id"] for row in read(folder / "poses.json")] == [image_id]
    assert predict(*overrides, "oks_nms_threshold=null", folder="two")[0] == 2
    with pytest.raises(DataError, match=r"boxes\.json.*all 2 are left out: 2 score below 0\.95"):
        predict(*overrides, "min_bbox_score=0.95", folder="none")


def test_unusable_images_are_listed_at_the_end(predict, people, tmp_path):
    images = tmp_path / "photos"
    shutil.copytree(people / "val2017", images)
    first, second = sorted(images.iterdir())[:2]
    second.write_bytes(second.read_bytes()[:2000])
    (images / "text.jpg").write_text("no image")
    (images / "void.png").touch()
    with pytest.raises(UnusableImagesError) as error:
        predict(f"source={images}", "draw=none")
    assert str(error.value).startswith("3 of 7 images could not be used:\n")
    assert "text.jpg" in str(error.value)
    assert error.value.exit_status == 3
    folder = tmp_path / "run"
    assert len(read(folder / "poses.json")) == 4
    listed = (folder / "unusable.txt").read_text()
    assert [name in listed for name in (first.name, second.name, "void.png")] == [False, True, True]


def test_boxes_outside_their_images_are_dropped(predict, people, tmp_path, caplog):
    content, boxes = read(annotations_of(people)), tmp_path / "boxes.json"
    number = len([row for row in content["annotations"] if not row["iscrowd"]])
    content["annotations"].append(content["annotations"][0] | {"id": 10**6, "bbox": [5000, 5000, 20, 20]})
    boxes.write_text(json.dumps(content))
    overrides = [f"source={people}/val2017", f"boxes={boxes}", "oks_nms_threshold=null"]
    assert predict(*overrides)[0] == number
    assert "outside their images: 1" in caplog.text
    assert len(list((tmp_path / "run" / "pictures").iterdir())) == 5
    for row in content["annotations"]:
        row["bbox"] = [5000, 5000, 20, 20]
    boxes.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"all \d+ are outside"):
        predict(*overrides, folder="none")


def test_boxes_of_another_category_are_an_error(predict, people, tmp_path):
    """A detector that numbers categories from 0 would otherwise give no instances and exit status 0."""
    rows = [row | {"category_id": 0} for row in read(detections_of(people))]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"boxes\.json.*other categories than 'person' \(id 1\).*category ids 0"):
        predict(f"source={people}/val2017", f"annotations={annotations_of(people)}", f"boxes={tmp_path / 'boxes.json'}")


@pytest.mark.parametrize(("overrides", "count"), [([], 1), (["+detector={_target_:my_detector.TwoPeople}"], 0)])
def test_one_warning_explains_how_to_get_boxes(predict, people, my_detector, overrides, count, caplog):
    with patch("hrpose.tasks.validate"):  # as below
        _, folder = predict(f"source={people}/val2017", "draw.min_score=1", *overrides)
    assert caplog.text.count("Without boxes and a detector") == count
    for image in read(folder / "images.json")["images"]:
        picture = load_image(folder / "pictures" / image["file_name"]).astype(int)
        pixels = load_image(people / "val2017" / image["file_name"]).astype(int)
        frame = np.concatenate([picture[:4].min(axis=2).max(axis=0), picture[:, :4].min(axis=2).max(axis=1)])
        assert ((frame > 200).mean() > 0.95) == bool(count)  # the whole image is framed in a light colour
        assert np.abs(picture - pixels)[8:-8, 8:-8].max() < 60  # by the compression


def test_an_unreadable_image_does_not_stop_the_others(predict, people, tmp_path, caplog):
    images = tmp_path / "photos"
    images.mkdir()
    good = cv2.imread(str(next((people / "val2017").iterdir())))
    wide = np.zeros((2, 65501, 3), np.uint8)
    for name, image in {"a.png": good, "b.avif": good, "c.gif": good, "d.jp2": good, "e.tif": wide}.items():
        cv2.imwrite(str(images / name), image)
    cv2.imwritemulti(str(images / "f.tif"), [good, good])
    (images / ("g" * 248 + ".ppm")).write_bytes(cv2.imencode(".ppm", good)[1].tobytes())
    bomb = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bomb
    (images / "h.png").write_bytes(content + struct.pack(">I", zlib.crc32(b"IHDR" + bomb)))
    os.mkfifo(images / "i.jpg")
    (images / "._a.png").write_bytes(b"\0\5\26\7Mac OS X")
    with pytest.raises(UnusableImagesError, match=r"2 of 9 images.*\n.*h\.png.*60000 x 60000.*\n.*i\.jpg.*a pipe"):
        predict(f"source={images}")
    folder = tmp_path / "run"
    assert len(read(folder / "images.json")["images"]) == len(read(folder / "poses.json")) == 7
    drawn = {path.name for path in (folder / "pictures").iterdir()}
    assert drawn == {"a.png", "b.avif.jpg", "c.gif.jpg", "d.jp2.jpg", "e.tif.png", "f.tif.jpg"}
    assert "several pages or frames: 1 (f.tif)" in caplog.text
    assert "e.tif: the image is too large for JPEG" in caplog.text


def test_images_that_the_annotations_lack_are_refused(predict, people, tmp_path):
    (tmp_path / "images.json").write_text(json.dumps({"images": [{"id": 4, "file_name": "val2017/x.jpg"}]}))
    with pytest.raises(ValueError, match=r"5 of 5.*'val2017/x.jpg'"):
        predict(f"source={people}/val2017", f"annotations={tmp_path / 'images.json'}")


def test_names_of_folders_are_kept_below_the_pictures(predict, people, tmp_path):
    (tmp_path / "photos" / "in (1)").mkdir(parents=True)
    image = next((people / "val2017").iterdir())
    shutil.copy(image, tmp_path / "photos" / "a=b.jpg")
    shutil.copy(image, tmp_path / "photos" / "in (1)" / "ü, c.JPG")
    _, folder = predict(f"source='{tmp_path}/photos/**/*.*'")
    assert (folder / "pictures" / "a=b.jpg").is_file()
    assert (folder / "pictures" / "in (1)" / "ü, c.JPG").is_file()


def test_a_run_never_overwrites_another(predict, people):
    predict(f"source={people}/val2017", "draw=none")
    with pytest.raises(FileExistsError, match=r"Set another folder, paths\.run="):
        predict(f"source={people}/val2017", "draw=none")


def test_a_video_is_tracked_and_annotated(predict, film):
    num_instances, folder = predict(f"source='{film}'", "csv=true", "min_score=0", "draw.min_score=0")
    assert num_instances >= 1
    with VideoReader(folder / "a walk.mp4") as video, VideoReader(film) as source:
        assert (video.frame_rate, video.num_frames) == (10, 6)
        changed = [np.abs(drawn.image.astype(int) - plain.image).mean() for drawn, plain in zip(video, source, strict=True)]
    assert min(changed) > 0.5  # people are drawn on every frame
    images = read(folder / "images.json")["images"]
    assert [image["id"] for image in images] == [1, 2, 3, 4, 5, 6]
    assert images[1]["file_name"] == "a walk.mp4/000002"
    assert images[5]["time"] == pytest.approx(0.5, abs=1e-3)
    poses = read(folder / "poses.json")
    assert {row["image_id"] for row in poses} == {1, 2, 3, 4, 5, 6}
    assert all(row["track_id"] >= 1 for row in poses)


class TwoPeople:
    """A detector that returns the same boxes for every image."""

    def __init__(self, score=0.9):
        self.score = score

    def __call__(self, image):
        return np.array([[10.0, 20, 40, 90], [90, 20, 40, 90]]), np.full(2, self.score)


@pytest.fixture
def my_detector(tmp_path, monkeypatch):
    """A configuration folder that names a custom class."""
    monkeypatch.setitem(sys.modules, "my_detector", sys.modules[__name__])
    return "+detector={_target_:my_detector.TwoPeople,score:0.8}"


def test_a_custom_detector(predict, people, film, my_detector):
    overrides = ["oks_nms_threshold=null", "draw=none", my_detector]
    settings = compose("predict", [f"source={people}/val2017", "weights=x", "device=cpu", *overrides])
    assert settings.detector.score == 0.8
    with patch("hrpose.tasks.validate"):  # the target is of no file that could be read
        assert predict(f"source={people}/val2017", *overrides, folder="photos")[0] == 10
        assert predict(f"source='{film}'", "min_score=0", "max_frames=2", *overrides, folder="video")[0] >= 2


def test_a_video_in_part_without_pictures_or_smoothing(predict, film):
    _, folder = predict(f"source='{film}'", "max_frames=2", "draw=none", "smoothing=none", "tracking.matcher=hungarian")
    assert sorted(path.name for path in folder.iterdir()) == ["images.json", "poses.json"]
    assert len(read(folder / "images.json")["images"]) == 2


@pytest.mark.parametrize("kind", ["photos", "video"])
def test_heatmaps_that_overflow_are_an_error_and_the_files_are_valid_json(weights, people, film, tmp_path, kind):
    content = torch.load(weights, weights_only=True)
    content["state_dict"]["net.conv1.weight"].fill_(3e38)  # finite, but the sum over the pixels is not
    torch.save(content, tmp_path / "large.ckpt")
    overrides = [f"weights={tmp_path}/large.ckpt", "device=cpu", "draw=none", f"paths.run={tmp_path}/run"]
    source = people / "val2017" if kind == "photos" else f"'{film}'"
    with pytest.raises(NonFinitePosesError, match="NaN or infinity"):
        run("predict", compose("predict", [*overrides, f"source={source}"]))
    assert read(tmp_path / "run" / "poses.json") == []


def test_dark_16_bit_images_are_scaled_by_the_bits_they_use(predict, people, tmp_path):
    """The poses are those of 8-bit images; a configured or trained bit depth replaces the measured one."""
    for folder in ("plain", "deep"):
        (tmp_path / folder).mkdir()
    for file in sorted((people / "val2017").iterdir())[:2]:
        image = cv2.imread(str(file))
        image[0, 0] = 255
        cv2.imwrite(str(tmp_path / "plain" / f"{file.stem}.png"), image)
        cv2.imwrite(str(tmp_path / "deep" / f"{file.stem}.png"), image.astype(np.uint16) * 16)
    predict(f"source={tmp_path}/plain", "draw=none", folder="a")
    with pytest.warns(DataWarning, match=r"2 of 2 sampled.*16 bits.*12.*bit_depth"):
        predict(f"source={tmp_path}/deep", "draw=none", folder="b")
    assert read(tmp_path / "b" / "poses.json") == read(tmp_path / "a" / "poses.json")
    predict(f"source={tmp_path}/deep", "draw=none", "bit_depth=12", folder="c")
    assert read(tmp_path / "c" / "poses.json") == read(tmp_path / "a" / "poses.json")
    with (
        pytest.warns(DataWarning, match="10 bits"),
        pytest.raises(UnusableImagesError, match=r"to use 10 bits .*Set bit_depth=12"),
    ):
        predict(f"source={tmp_path}/deep", "draw=none", "bit_depth=10", folder="d")


def test_last_is_the_newest_checkpoint_of_a_name(people, weights, tmp_path):
    file = tmp_path / "runs" / "mine" / "monday" / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    shutil.copy(weights, file)
    overrides = [f"source={people}/val2017", "ckpt_path=last", "name=mine", f"paths.runs={tmp_path / 'runs'}", "device=cpu"]
    assert run("predict", compose("predict", [*overrides, f"paths.run={tmp_path / 'out'}", "draw=none"])).num_instances == 5


@pytest.mark.parametrize(
    ("overrides", "faults"),
    [
        (["source=no.jpg"], ["ckpt_path: expected a network to predict with", "source: there is no file or folder no.jpg"]),
        ([], ["source: expected a value", "ckpt_path: expected a network to predict with"]),
        (["source=0", "weights=none.pth", "boxes=none.json", "devices=2"], [
            "weights: there is no file none.pth", "boxes: there is no file none.json", "boxes: it is for images", "devices: ",
        ]),
        (["source=0", "sourc=1", "draw.lables=true"], [
            "sourc: there is no such key. Did you mean source?", "draw.lables: there is no such key. Did you mean draw.labels?",
        ]),
        (["source=0", "precision=8", "csv=maybe", "ckpt_path=last"], ["precision: expected", "csv: expected bool"]),
        (["source=0", f"weights={__file__}", "tracking.matcher=best"], ["tracking.matcher: expected"]),
        (["source=0", "detector=onnx"], ["detector.file: expected a value"]),
        (["source=0", "detector=onnx", "detector.file=my (net).onnx"], ["detector.file: there is no file my (net).onnx"]),
        (["source=.", "detector=rtdtr"], ["there is no option 'rtdtr'. Did you mean rtdetr?"]),
        (["source=0", f"weights={__file__}", "+tracking.sigmas=[1.0]"], ["tracking.sigmas: it cannot be set here"]),
        (["source=0", "ckpt_path=last", "max_frames=a"], ["max_frames: expected int"]),
    ],
)  # fmt: skip
def test_all_faults_are_listed_together(overrides, faults, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        check("predict", overrides)
    text = str(error.value)
    assert [fault for fault in faults if fault not in text] == []


def test_a_stopped_run_resumes(predict, people, weights, tmp_path, monkeypatch):
    """After a kill or an interrupt, the results are those of an uninterrupted run."""
    overrides = [f"source={people}/val2017", "chunk_size=2", "csv=true"]
    whole = predict(*overrides, folder="whole")[1]
    add, calls = PredictionFiles.add, []

    def stop(self, image, rows):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(image)
        add(self, image, rows)

    for how in ("killed", "interrupted"):
        with monkeypatch.context() as patched:
            patched.setattr(PredictionFiles, "add", stop)
            if how == "killed":  # nothing is finished
                patched.setattr(
                    PredictionFiles, "__exit__", lambda self, *error: any(file._stream.close() for file in self._files)
                )
            with pytest.raises(KeyboardInterrupt):
                predict(*overrides, folder=how)
            calls.clear()
        assert (tmp_path / how / "images.json").exists() == (how == "interrupted")
        with pytest.raises(ConfigError, match=r"resume: .*min_bbox_score=0\.5 instead of 0\.0"):
            predict(*overrides, "resume=true", "min_bbox_score=0.5", folder=how)
        assert predict(*overrides, "resume=true", folder=how)[0] == 5
        for name in ("poses.json", "images.json", "poses.csv"):
            assert (tmp_path / how / name).read_bytes() == (whole / name).read_bytes()
        assert [path.name for path in (tmp_path / how).iterdir() if path.name.startswith(".")] == []
    with pytest.raises(ConfigError, match="resume: expected files of a stopped run"):
        predict(*overrides, "resume=true", folder="another")


def command(*overrides, cwd, environment=None):
    return run_module("hrpose", "predict", *overrides, cwd=cwd, environment=environment)


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(people, weights, tmp_path):
    images = tmp_path / "my photos, [2]"
    shutil.copytree(people / "val2017", images)
    (images / "text.jpg").write_text("no image")
    overrides = [f"source={images}/*.jpg", f"weights={weights}", "device=cpu", "chunk_size=2", "batch_size=3", "num_threads=1"]
    for devices in (1, 2):
        done = command(*overrides, f"devices={devices}", f"paths.run=run{devices}", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "1 of 6 images could not be used:\n  text.jpg: Expected an image" in done.stderr
        assert done.stdout.splitlines()[-1].startswith("6 photos, 5 people, ")
    for name in ("poses.json", "images.json", "unusable.txt"):
        assert (tmp_path / "run1" / name).read_bytes() == (tmp_path / "run2" / name).read_bytes()
    assert len(read(tmp_path / "run2" / "poses.json")) == 5
    for picture in (tmp_path / "run1" / "pictures").iterdir():
        assert picture.read_bytes() == (tmp_path / "run2" / "pictures" / picture.name).read_bytes()


OWN = """
import pathlib
pathlib.Path("imported").touch()
from torch import nn
class MyNet(nn.Sequential):
    def __init__(self, num_keypoints, width=4):
        super().__init__(nn.Conv2d(3, width, 4, stride=4), nn.Conv2d(width, num_keypoints, 1))
"""


def test_a_custom_network_is_imported_only_if_the_command_names_it(people, weights, tmp_path):
    """It is in the current folder, searched after all libraries; the class that a checkpoint names is not imported."""
    (tmp_path / "my_module.py").write_text(OWN)
    (tmp_path / "simplejpeg.py").write_text("raise RuntimeError('instead of the library')")
    stored = torch.load(weights, weights_only=True)
    stored["hyper_parameters"]["config"]["model"] = {"_target_": "my_module.MyNet"}
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4), torch.nn.Conv2d(4, 17, 1))
    stored["state_dict"] = {f"net.{name}": tensor for name, tensor in layers.state_dict().items()}
    torch.save(stored, tmp_path / "own.ckpt")
    overrides = [f"source={people}/val2017", "weights=own.ckpt", "device=cpu", "draw=none", "paths.run=run"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    refused = command(*overrides, cwd=tmp_path, environment=environment)
    assert refused.returncode == 1
    assert "names 'my_module.MyNet', which is not built" in refused.stderr
    assert not (tmp_path / "imported").exists()
    done = command("model={_target_: my_module.MyNet}", *overrides, cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "run" / "poses.json")) == 5


def test_no_match_ends_with_an_error_before_anything_is_made(tmp_path):
    done = command("source=photos (1)/*.jpg", "weights=x", cwd=tmp_path)
    assert done.returncode == 1
    assert "photos (1)/*.jpg" in done.stderr
    assert list(tmp_path.iterdir()) == []
