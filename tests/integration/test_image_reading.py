"""A run on 16-bit images notes how it read them; whatever uses its checkpoint reads images alike."""

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from hrpose import PoseEstimator
from hrpose.config import compose
from hrpose.export import open_exported
from hrpose.synthetic import write_dataset
from hrpose.tasks import run

SMALL = [
    *("prepare=null", "codec=heatmap", "size=128x96", "model.width=4", "model.stem_width=8", "model.stage1_width=4"),
    *(
        "data.batch_size=4",
        "data.num_workers=0",
        "data.val_boxes=[gt]",
        "flip_test=false",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
    ),
    *("+trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true"),
    *("callbacks.progress=null", "+trainer.enable_progress_bar=false", "schedule=none", "callbacks.pictures=null"),
    "callbacks.learning_rate=null",
]
SPLITS = ("train2017", "val2017")


def deepened(plain: Path, folder: Path, depth: int) -> Path:
    """Write a data set's images with 16 bits per channel, of which some are used."""
    for split in SPLITS:
        annotations = json.loads((plain / "annotations" / f"person_keypoints_{split}.json").read_text())
        (folder / split).mkdir(parents=True)
        (folder / "annotations").mkdir(exist_ok=True)
        for image in annotations["images"]:
            pixels = cv2.imread(str(plain / split / image["file_name"]))
            pixels[0, 0] = 255
            image["file_name"] = f"{Path(image['file_name']).stem}.png"
            cv2.imwrite(str(folder / split / image["file_name"]), pixels.astype(np.uint16) << (depth - 8))
        (folder / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(annotations))
    return folder


def call(verb: str, data: Path, run_folder: Path, *words: str) -> list[str]:
    """Run a verb; return its warnings of the bit depth."""
    paths = [f"paths.data={data}", f"paths.runs={run_folder}", f"paths.run={run_folder}"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(verb, compose(verb, [*SMALL, *paths, *words] if verb != "export" else [*paths, *words]))
    return [text for warning in caught if "[bit-depth]" in (text := str(warning.message))]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=2, num_val=2, image_size=(160, 120))
    return folder


@pytest.mark.slow
def test_the_bit_depth_of_a_run_goes_with_its_checkpoint(people: Path, tmp_path: Path) -> None:
    twelve, ten = deepened(people, tmp_path / "12", 12), deepened(people, tmp_path / "10", 10)
    warned = call("fit", twelve, tmp_path / "fit")
    assert [("use 12 of them" in text, "4095 is white" in text) for text in warned] == [(True, True)]
    checkpoint = tmp_path / "fit" / "checkpoints" / "last.ckpt"
    told = torch.load(checkpoint, weights_only=True)["hyper_parameters"]["config"]
    assert told["data"]["bit_depth"] == 12
    assert OmegaConf.load(tmp_path / "fit" / "config.yaml").data.bit_depth == 12
    assert call("test", twelve, tmp_path / "same", f"ckpt_path={checkpoint}") == []
    (text,) = call("test", ten, tmp_path / "other", f"ckpt_path={checkpoint}")
    assert "use 10 of them" in text
    assert "read with 12 bits" in text
    estimator = PoseEstimator.from_checkpoint(checkpoint, device="cpu")
    assert (estimator.reading.bit_depth, estimator.upright) == (12, None)
    exported = tmp_path / "a.xml"
    quick = ("flip_test=false", "measure_ap=false")
    call("export", twelve, tmp_path / "export", f"weights={checkpoint}", "format=openvino", f"output={exported}", *quick)
    assert open_exported(exported).record.bit_depth == 12
    assert PoseEstimator.from_checkpoint(exported).reading.bit_depth == 12


def test_a_run_on_upright_images_says_so_to_its_estimator(people: Path, tmp_path: Path, caplog) -> None:
    call("fit", people, tmp_path / "fit", "data.upright=true")
    checkpoint = tmp_path / "fit" / "checkpoints" / "last.ckpt"
    told = torch.load(checkpoint, weights_only=True)["hyper_parameters"]["config"]["data"]
    assert (told["upright"], told["bit_depth"]) == (True, None)
    assert PoseEstimator.from_checkpoint(checkpoint, device="cpu").upright is True
    call("test", people, tmp_path / "test", f"ckpt_path={checkpoint}")
    assert "data.upright=true" in caplog.text
