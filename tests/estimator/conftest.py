"""Synthetic people, and a checkpoint of a very small network as `hrpose fit` writes it."""

import warnings
from pathlib import Path

import pytest
import torch

from hrpose.config import compose
from hrpose.synthetic import write_dataset
from hrpose.tasks import run

SMALL = [
    "prepare=null",
    "codec=heatmap",
    "size=128x96",
    *("model.width=4", "model.stem_width=8", "model.stage1_width=4"),
    *("data.batch_size=4", "data.val_batch_size=5", "data.num_workers=0", "data.val_boxes=[gt,det]"),
    *("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "trainer.accelerator=cpu"),
    "trainer.check_val_every_n_epoch=1",
    *("callbacks.progress=null", "+trainer.enable_progress_bar=false", "schedule=none"),
    *("callbacks.pictures=null", "callbacks.learning_rate=null", "trainer.precision=32-true"),
]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of COCO with drawn people."""
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=2, num_val=5, image_size=(320, 240))
    return folder


@pytest.fixture(scope="session")
def hrpose_in(people: Path):
    """Run a verb of the command line in this process; it writes to the folder."""

    def call(verb: str, folder: Path, *words: str) -> object:
        cfg = compose(verb, [*SMALL, f"paths.data={people}", f"paths.runs={folder}", f"paths.run={folder}", *words])
        with warnings.catch_warnings():  # of so small a run there is a lot to say
            warnings.simplefilter("ignore")
            return run(verb, cfg)

    return call


@pytest.fixture(scope="session")
def checkpoint(hrpose_in, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network trained on one batch, with large weights of the head."""
    folder = tmp_path_factory.mktemp("fit")
    hrpose_in("fit", folder)
    file = folder / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    torch.manual_seed(0)
    head = content["state_dict"]["net.final_layer.weight"]
    head.copy_(torch.randn_like(head))
    torch.save(content, file)
    return file
