"""RT-DETR with random weights, in a local folder, without torchvision."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hrpose

transformers = pytest.importorskip("transformers")

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small RT-DETR with two classes; the second is person."""
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        decoder_layers=1,
        encoder_layers=1,
        num_queries=10,
        num_denoising=0,
        id2label={0: "dog", 1: "Person"},
        label2id={"dog": 0, "Person": 1},
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("rtdetr")
    transformers.RTDetrForObjectDetection(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 96}}))
    return folder


def test_boxes_are_in_pixels_sorted_by_score(folder: Path) -> None:
    detector = hrpose.RTDetrDetector(folder, device="cpu", score_threshold=0)
    boxes, scores = detector(IMAGE)
    net = transformers.RTDetrForObjectDetection.from_pretrained(folder).eval()
    pixels = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(pixels, (64, 96), mode="bilinear", antialias=True).round() / 255
    with torch.no_grad():
        found = net(pixels)
    order = found.logits[0, :, 1].argsort(descending=True)
    middle_x, middle_y, width, height = (found.pred_boxes[0, order].double() * torch.tensor([80, 48, 80, 48])).T
    want = torch.stack([middle_x - width / 2, middle_y - height / 2, width, height], dim=1)
    np.testing.assert_allclose(boxes, want, atol=1e-3)
    np.testing.assert_allclose(scores, found.logits[0, order, 1].sigmoid(), atol=1e-6)
    assert len(boxes) == 10


def test_the_class_and_the_thresholds_can_be_set(folder: Path) -> None:
    dogs = hrpose.RTDetrDetector(folder, device="cpu", class_index=0, score_threshold=0, max_boxes=3)(IMAGE)
    persons = hrpose.RTDetrDetector(folder, device="cpu", score_threshold=0)(IMAGE)
    assert len(dogs[0]) == 3
    assert not np.array_equal(dogs[1], persons[1][:3])
    between = float(persons[1][4] + persons[1][5]) / 2
    assert len(hrpose.RTDetrDetector(folder, device="cpu", score_threshold=between)(IMAGE)[0]) == 5
    with pytest.raises(ValueError, match=r"`class_index`.*2 classes"):
        hrpose.RTDetrDetector(folder, device="cpu", class_index=2)


def test_an_estimator_uses_the_detector(folder: Path) -> None:
    from fake_engine import CenterEngine  # in the folder of the estimator tests

    detector = hrpose.RTDetrDetector(folder, device="cpu", score_threshold=0, max_boxes=4)
    poses = hrpose.PoseEstimator(CenterEngine(), detector=detector)(IMAGE)
    assert 0 < len(poses) <= 4


def changed(folder: Path, copy: Path, **config) -> Path:
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    content = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**content, **config}))
    return copy


def test_code_in_the_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    for name, model_type in {"known": "rt_detr", "unknown": "evil"}.items():
        code = {"AutoConfig": "evil.Config", "AutoModelForObjectDetection": "evil.Net"}
        copy = changed(folder, tmp_path / name, auto_map=code, model_type=model_type)
        (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        if name == "unknown":
            with pytest.raises(ValueError, match="cannot be loaded"):
                hrpose.RTDetrDetector(copy, device="cpu")
        else:
            hrpose.RTDetrDetector(copy, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    copy = changed(folder, tmp_path / "pickled")
    net = transformers.RTDetrForObjectDetection.from_pretrained(folder)
    (copy / "model.safetensors").unlink()
    torch.save(net.state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded"):
        hrpose.RTDetrDetector(copy, device="cpu")


def test_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'detr'.*rt_detr"):
        hrpose.RTDetrDetector(changed(folder, tmp_path / "detr", model_type="detr"), device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="RT-DETR"):
        hrpose.RTDetrDetector(tmp_path / "empty", device="cpu")
    nobody = changed(folder, tmp_path / "nobody", id2label={"0": "dog", "1": "cat"})
    with pytest.raises(ValueError, match="2 classes"):
        hrpose.RTDetrDetector(nobody, device="cpu")


def test_without_transformers_the_error_names_the_extra(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hrpose\[detect\]'"):
        hrpose.RTDetrDetector(folder, device="cpu")


def test_nothing_is_downloaded_without_permission(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the environment is read at import
    with pytest.raises(ValueError, match="detector=rtdetr downloads it"):
        hrpose.RTDetrDetector("nobody/no_such_model", download=False)
    assert caplog.text == ""
    with pytest.raises(ValueError, match="cannot be loaded"):
        hrpose.RTDetrDetector("nobody/no_such_model")
    assert "Downloading nobody/no_such_model" in caplog.text
