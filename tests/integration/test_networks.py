"""Networks that put out no Gaussians go the whole way: from drawn images to AP, and from a checkpoint to poses."""

import numpy as np
import pytest
import torch

from hrpose import PoseEstimator
from hrpose.config import compose, validate
from hrpose.errors import DataWarning

pytestmark = [
    pytest.mark.trains,
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning"),
]
BRIEF = [
    *("prepare=null", "data.batch_size=4", "data.val_batch_size=8", "data.val_boxes=[gt]", "schedule=none"),
    *("trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1", "callbacks.progress=null"),
    "+trainer.enable_progress_bar=false",
]
NARROW = ["model.backbone.width=4", "model.backbone.stem_width=8", "model.backbone.stage1_width=4"]


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        pytest.param(["model=deeppose_tiny", "loss.beta=0", *NARROW], (1, 17, 2), marks=pytest.mark.slow),
        (["model=rle_tiny", *NARROW], (1, 17, 4)),
        pytest.param(["model=simcc_tiny", *NARROW], (1, 17, 512), marks=pytest.mark.slow),
        pytest.param(["codec=integral", "model.width=4"], (1, 17, 40, 24), marks=pytest.mark.slow),
    ],
    ids=["deeppose", "rle", "simcc", "integral"],
)
def test_from_images_to_ap_and_from_a_checkpoint_to_poses(words, shape, people, tmp_path):
    run = tmp_path / "run"
    cfg = compose("fit", [*BRIEF, *words, f"paths.data={people}", f"paths.run={run}"])
    validate(cfg)
    # not before the configuration has been found sound: the task brings Lightning in
    from hrpose.tasks.fit import fit

    assert 0 <= fit(cfg).score <= 1
    assert (run / "pictures" / "train_crops.png").is_file()
    checkpoint = run / "checkpoints" / "best.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert any(name.startswith("loss.flow.") for name in state) == (shape[-1] == 4)
    estimator = PoseEstimator.from_checkpoint(checkpoint)
    assert estimator.engine.net(torch.zeros(1, 3, 160, 96)).shape == shape
    poses = estimator(np.full((120, 90, 3), 128, np.uint8), bbox=[[10, 10, 60, 100]])
    assert np.isfinite(poses.keypoints).all()
    assert poses.keypoints.shape == (1, 17, 2)
