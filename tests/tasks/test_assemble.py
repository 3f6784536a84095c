import logging

import pytest
from lightning.pytorch.callbacks import RichProgressBar
from tiny_coco import CATEGORY, content, write_dataset, write_json

from hrpose.callbacks import RunProgress, TorchThreads
from hrpose.config import ConfigError, compose
from hrpose.tasks.assemble import assemble, build_trainer


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["trainer.accelerator=tpu"],
            r"^trainer: expected what this machine can do, but got accelerator=tpu, devices=1, .* says: ",
        ),
        (
            ["trainer.accelerator=cpu", "trainer.devices=0"],
            r"^trainer: .*accelerator=cpu, devices=0, .*trainer\.accelerator=auto",
        ),
        (["trainer.accelerator=cpu", "trainer.strategy=ddpp"], r"^trainer: .*ddpp"),
    ],
)
def test_a_trainer_that_this_machine_cannot_run_is_explained(words, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))


def test_without_its_callback_a_run_has_no_progress_bar(tmp_path):
    with_bar, without = (
        build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"])) for words in ([], ["callbacks.progress=null"])
    )
    assert [type(callback) for callback in with_bar.callbacks if "Progress" in type(callback).__name__] == [RunProgress]
    assert [callback for callback in without.callbacks if "Progress" in type(callback).__name__] == []
    assert with_bar.progress_bar_callback is without.progress_bar_callback is None


def test_a_bar_of_lightning_can_take_its_place(tmp_path):
    words = ["~callbacks.progress", "+callbacks.bar._target_=lightning.pytorch.callbacks.RichProgressBar"]
    trainer = build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))
    assert isinstance(trainer.progress_bar_callback, RichProgressBar)


@pytest.mark.parametrize(("words", "number"), [([], "auto"), (["threads=1"], 1)])
def test_the_number_of_threads_is_a_key_of_its_own(words, number, tmp_path):
    trainer = build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))
    assert [callback.number for callback in trainer.callbacks if isinstance(callback, TorchThreads)] == [number]


def warnings_of(names, words, tmp_path, caplog) -> list[str]:
    """Assemble a run on keypoints of these names, and give what it says about mirror pairs."""
    whole = content() | {"categories": [CATEGORY | {"keypoints": names, "sigmas": [0.1] * 17}]}
    images = write_dataset(tmp_path) / "photos"
    file = write_json(tmp_path / "persons.json", whole)
    paths = [f"data.{part}_{name}" for part in ("train", "val") for name in (f"annotations={file}", f"images={images}")]
    paths += ["data.val_boxes=[gt]", "prepare=null"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assemble(compose("fit", [*paths, f"paths.run={tmp_path}", *words]))
    return [record.message for record in caplog.records if "irror" in record.message]


POINTS = [f"p{k}" for k in range(17)]


def test_mirrored_images_without_a_pair_are_warned_of_once(tmp_path, caplog):
    (message,) = warnings_of(POINTS, [], tmp_path, caplog)
    assert "17 keypoints of skeleton 'person' (p0, p1, p2, p3, p4, ...)" in message
    assert "augment.flip and flip_test use" in message
    assert "skeleton.flip_pairs=[[a,b],...]" in message
    (message,) = warnings_of(POINTS, ["augment.flip=null"], tmp_path, caplog)
    assert "flip_test uses" in message
    (message,) = warnings_of(POINTS, ["flip_test=false"], tmp_path, caplog)
    assert "augment.flip uses" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (POINTS, ["augment.flip=null", "flip_test=false"]),
        (POINTS, ["augment.flip.probability=0", "flip_test=false"]),
        (POINTS, ["skeleton.flip_pairs=[]"]),
        (POINTS, ["skeleton.flip_pairs=[[p1,p2]]"]),
        ([*POINTS[2:], "lhip", "rhip"], []),
    ],
)
def test_there_is_no_warning_where_pairs_are_known_or_nothing_is_mirrored(names, words, tmp_path, caplog):
    assert warnings_of(names, words, tmp_path, caplog) == []
