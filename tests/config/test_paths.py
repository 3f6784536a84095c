import os
import zipfile
from pathlib import Path

import pytest

from hrpose.config import ConfigError, compose, find_checkpoint, validate

COCO_FILES = (
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
    "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
)


@pytest.fixture
def coco(tmp_path) -> Path:
    """Create a folder in the layout of COCO, with empty files."""
    for name in COCO_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train2017").mkdir()
    (tmp_path / "val2017").mkdir()
    return tmp_path


def faults(verb: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(compose(verb, overrides))
    return list(caught.value.faults)


def test_missing_coco_is_one_fault_with_the_layout_and_the_download():
    (fault,) = faults("fit", "experiment=w32_256x192", "paths.data=nowhere")
    for text in (
        "data.train_annotations = nowhere/annotations/person_keypoints_train2017.json",
        "data.val_images = nowhere/val2017",
        "train2017/",
        "python scripts/prepare_coco.py nowhere",
        "http://images.cocodataset.org/",
    ):
        assert text in fault
    assert "data.val_detections" not in fault  # not needed for ground-truth boxes


def test_existing_files_are_not_reported_as_missing(coco):
    validate(compose("fit", ["experiment=w32_256x192", f"paths.data={coco}"]))
    (coco / "train2017").rmdir()
    (fault,) = faults("fit", "experiment=w32_256x192", f"paths.data={coco}")
    assert "data.train_images = " in fault
    assert "data.val_images = " not in fault


def test_detections_are_needed_for_detector_boxes_only(coco):
    (coco / COCO_FILES[2]).unlink()
    validate(compose("fit", ["experiment=w32_256x192", f"paths.data={coco}"]))
    (fault,) = faults("fit", "experiment=w32_256x192", f"paths.data={coco}", "data.val_boxes=[det]")
    assert "data.val_detections = " in fault


def test_a_test_needs_no_training_data(coco):
    (coco / COCO_FILES[0]).unlink()
    (coco / "train2017").rmdir()
    (coco / "net.pth").touch()
    validate(compose("test", ["experiment=w32_256x192", f"paths.data={coco}", f"weights={coco}/net.pth"]))


def test_a_file_where_a_folder_should_be_is_missing(coco):
    (coco / "val2017").rmdir()
    (coco / "val2017").touch()
    (fault,) = faults("fit", "experiment=w32_256x192", f"paths.data={coco}")
    assert f"data.val_images = {coco}/val2017 (a file; a folder" in fault


def test_custom_files_are_reported_without_the_layout_of_coco(coco):
    words = ["fit", "experiment=w32_256x192"]
    words += [f"data.{part}_annotations={coco}/{COCO_FILES[0]}" for part in ("train", "val")]
    words += [f"data.{part}_images={coco}/val2017" for part in ("train", "val")]
    validate(compose(words[0], words[1:]))
    assert faults(*words, f"data.val_annotations={coco}/val2018", f"data.train_annotations={coco}/val2017") == [
        "data: these files are missing:\n"
        f"  data.train_annotations = {coco}/val2017 (a folder; a file is expected)\n"
        f"  data.val_annotations = {coco}/val2018\n"
        f"`hrpose convert {coco}/val2017` converts labels of other tools to COCO files and prints the command."
    ]
    assert faults(*words, f"data.val_images={coco}/val2018") == [
        f"data: these files are missing:\n  data.val_images = {coco}/val2018 (Did you mean val2017?)"
    ]
    (fault,) = faults(*words, "data.val_boxes=[det]")
    assert fault.endswith(" data.val_boxes=[gt].")


def test_synthetic_data_may_be_missing():
    validate(compose("fit", ["paths.data=nowhere"]))


def test_a_test_needs_a_checkpoint_or_weights():
    (fault,) = faults("test")
    assert fault.startswith("ckpt_path: ")
    assert "Set ckpt_path=<file>, ckpt_path=last" in fault


def test_missing_weights_are_reported_with_the_files_in_their_folder(tmp_path):
    (tmp_path / "hrnet_w32.pth").touch()
    (fault,) = faults("fit", f"weights={tmp_path}/hrnet_w23.pth")
    assert fault == f"weights: there is no file {tmp_path}/hrnet_w23.pth. {tmp_path} has hrnet_w32.pth."


@pytest.mark.parametrize(
    "weights", ["hrnet_w32-36af842e.pth", "hrnet_w32", "td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192", "https://example.org/a.pth"]
)
def test_published_weights_may_be_missing(weights):
    validate(compose("fit", [f"weights={weights}"]))


def test_a_published_file_without_url_is_searched_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path))
    (fault,) = faults("fit", "weights=pose_hrnet_w32_256x192.pth")
    place = tmp_path / "weights" / "pose_hrnet_w32_256x192.pth"
    assert "Download it from https://drive.google.com/drive/folders/1hOTihvby" in fault
    assert str(place) in fault
    place.parent.mkdir()
    place.touch()
    validate(compose("fit", ["weights=pose_hrnet_w32_256x192.pth"]))


def test_a_misspelt_published_name_is_corrected():
    (fault,) = faults("fit", "weights=hrnet_w23")
    assert fault == "weights: there is no file hrnet_w23. Did you mean hrnet_w32?"


def write_archive(file: Path, modified: int | None = None) -> Path:
    """Write a zip archive, the format of torch.save."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data/0", bytes(range(256)) * 100)
    if modified is not None:
        os.utime(file, (modified, modified))
    return file


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zero(content: bytes) -> bytes:
    return content[:4096] + bytes(4096) + content[8192:]


def test_last_is_the_newest_checkpoint_of_the_name(tmp_path):
    cfg = compose("fit", [f"paths.runs={tmp_path}", "ckpt_path=last"])
    with pytest.raises(ConfigError, match=f"expected a last.ckpt in {tmp_path}/tiny"):
        find_checkpoint(cfg)
    for age, name in enumerate(("tiny/b", "tiny/sweep/0", "tiny/a", "other/c")):
        file = tmp_path / name / "checkpoints" / "last.ckpt"
        write_archive(file)
        os.utime(file, (1000 - 10 * (name == "tiny/a"), 1000 + age - 10 * (name == "tiny/a")))
    assert find_checkpoint(cfg) == tmp_path / "tiny/sweep/0/checkpoints/last.ckpt"
    validate(cfg)


@pytest.mark.parametrize("damage", [cut, zero, lambda content: b""], ids=["cut off", "zero pages", "empty"])
def test_last_is_the_newest_complete_checkpoint(tmp_path, damage, caplog):
    """Damage the files one after another: the next one is used, and the damaged ones are reported."""
    cfg = compose("fit", [f"paths.runs={tmp_path}", "ckpt_path=last"])
    places = [tmp_path / "tiny" / run / "checkpoints" / f"{name}.ckpt" for run in "ba" for name in ("last", "best")]
    files = [write_archive(file, 1000 - age) for age, file in enumerate(places)]
    (files[0].parent / ".last.ckpt.0123abcd.part").write_bytes(b"PK")  # of a killed run
    for number, file in enumerate(files):
        caplog.clear()
        assert find_checkpoint(cfg) == file
        assert [record.message.partition(" is damaged")[0] for record in caplog.records] == list(map(str, files[:number]))
        caplog.clear()
        validate(cfg)
        assert not caplog.records  # the task warns, once
        modified = file.stat().st_mtime
        file.write_bytes(damage(file.read_bytes()))
        os.utime(file, (modified, modified + 0.5))
    with pytest.raises(ConfigError, match=f"expected a complete checkpoint under {tmp_path}/tiny, but all are damaged"):
        find_checkpoint(cfg)


@pytest.mark.parametrize(("damage", "fault"), [(cut, "cut off after"), (zero, "wrong checksum of archive/data/0")])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage, fault):
    file = write_archive(tmp_path / "best.ckpt")
    file.write_bytes(damage(file.read_bytes()))
    (message,) = faults("fit", f"ckpt_path={file}")
    assert message.startswith(f"ckpt_path: {file} is damaged ({fault}")
    assert "ckpt_path=last" in message


def test_a_folder_as_checkpoint_is_refused(tmp_path):
    file = tmp_path / "best.ckpt"
    file.touch()
    assert find_checkpoint(compose("fit", [f"ckpt_path={file}"])) == file
    assert find_checkpoint(compose("fit")) is None
    with pytest.raises(ConfigError, match=rf"{tmp_path}\b.*best\.ckpt"):
        find_checkpoint(compose("fit", [f"ckpt_path={tmp_path}"]))


@pytest.mark.parametrize("data", ["coco", "synthetic"])
def test_custom_training_data_without_validation_data_is_reported_with_the_split_command(tmp_path, data):
    (tmp_path / "own.json").write_text("{}")
    found = faults("fit", f"data={data}", f"data.train_annotations={tmp_path}/own.json", f"data.train_images={tmp_path}")
    assert any(f"hrpose convert {tmp_path}/own.json split=0.1" in fault for fault in found)


def test_a_missing_training_file_is_reported_without_the_split_command(tmp_path):
    found = faults("fit", "data=coco", f"data.train_annotations={tmp_path}/own.json", f"data.train_images={tmp_path}")
    assert any("data.val_annotations" in fault for fault in found)
    assert not any("split=0.1" in fault for fault in found)


def test_labels_of_another_tool_are_reported_with_the_convert_command(tmp_path):
    labels = tmp_path / "yolo"
    (labels / "images").mkdir(parents=True)
    (labels / "data.yaml").touch()
    for given in (labels, labels / "data.yaml"):
        found = faults("fit", "data=coco", f"data.train_annotations={given}", f"data.train_images={tmp_path / 'none'}")
        assert any(f"`hrpose convert {given}`" in fault and "split=0.1" not in fault for fault in found)
    assert any(f"`hrpose convert {labels}`" in fault for fault in faults("evaluate", f"annotations={labels}"))
