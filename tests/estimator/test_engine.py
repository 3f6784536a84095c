import numpy as np
import pytest
import torch

import hrpose
from hrpose.codecs import HeatmapCodec
from hrpose.estimator import TorchEngine, engine
from hrpose.estimator.engine import BACKENDS, choose_device, convert_network
from hrpose.skeletons import Skeleton

CODEC = HeatmapCodec((64, 96), (16, 24), 2.0)
EYES = Skeleton.from_names(("left_eye", "right_eye"), name="eyes")


class RecordingNetwork(torch.nn.Module):
    """Records its inputs, and returns heatmaps with a peak at one cell."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[torch.Tensor] = []
        self.conv = torch.nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.inputs.append(images.clone())
        heatmaps = torch.zeros(len(images), 2, 24, 16)
        heatmaps[:, :, 12, 8] = 1
        return heatmaps + 0 * self.conv(images).float()[:, :, ::4, ::4]


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    return {
        "images": torch.randint(0, 255, (count, 96, 64, 3), dtype=torch.uint8),
        "image_from_input": torch.tensor([[[2.0, 0, 5], [0, 2, 7]]] * count, dtype=torch.float64),
        "center": torch.zeros(count, 2, dtype=torch.float64),
        "scale": torch.ones(count, 2, dtype=torch.float64),
        "bbox_scores": torch.full((count,), 0.5),
        "image_ids": torch.arange(count),
        "instance_ids": torch.arange(count),
    }


def test_crops_are_normalised_and_keypoints_are_in_image_pixels() -> None:
    net = RecordingNetwork().train()
    poses = TorchEngine(net, CODEC, EYES, flip_test=False, device="cpu")(given := batch())
    assert not net.training
    np.testing.assert_array_equal(poses.keypoints, np.broadcast_to([32 * 2 + 5, 48 * 2 + 7], (2, 2, 2)))
    assert poses.scores.tolist() == [0.5, 0.5]
    want = (given["images"].permute(0, 3, 1, 2) / 255 - 0.5) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    other = RecordingNetwork()
    TorchEngine(other, CODEC, EYES, flip_test=False, mean=[0.5] * 3, std=[0.1, 0.2, 0.3], device="cpu")(given)
    torch.testing.assert_close(other.inputs[0], want)
    assert other.inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_the_flip_test_runs_the_network_twice() -> None:
    net = RecordingNetwork()
    TorchEngine(net, CODEC, EYES, device="cpu")(batch())
    assert len(net.inputs) == 2
    assert torch.equal(net.inputs[1], net.inputs[0].flip(-1))


def test_half_precision_is_used_on_request() -> None:
    types = []
    net = RecordingNetwork()
    net.conv.register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    for precision in ("32", "bf16"):
        TorchEngine(net, CODEC, EYES, flip_test=False, device="cpu", precision=precision)(batch())
    assert types == [torch.float32, torch.bfloat16]


def test_an_engine_describes_its_crops() -> None:
    engine = TorchEngine(RecordingNetwork(), CODEC, EYES, device="cpu")
    assert (engine.input_size, engine.grid, engine.skeleton) == ((64, 96), "plain", EYES)


def test_auto_selects_a_device() -> None:
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_missing_device_is_refused(device) -> None:
    with pytest.raises(ValueError, match="Expected `device`"):
        choose_device(device)


def test_a_precision_may_be_a_number() -> None:
    assert TorchEngine(RecordingNetwork(), CODEC, EYES, device="cpu", precision=32).precision == "32"


@pytest.mark.parametrize(("precision", "message"), [("16", "on the CPU"), ("fp16", "but got 'fp16'"), (8, "but got 8")])
def test_an_unsupported_precision_is_refused(precision, message) -> None:
    with pytest.raises(ValueError, match=message):
        TorchEngine(RecordingNetwork(), CODEC, EYES, device="cpu", precision=precision)


HEADS = {
    "heatmaps": [torch.nn.Conv2d(8, 2, 1)],
    "coordinates": [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4), torch.nn.Unflatten(1, (2, 2))],
}


@pytest.mark.parametrize(
    ("backend", "precision", "head"),
    [
        ("openvino", "32", "heatmaps"),
        ("openvino", "bf16", "heatmaps"),
        ("openvino", "32", "coordinates"),
        ("onnxruntime", "32", "coordinates"),
        pytest.param("onnxruntime", "32", "heatmaps", marks=pytest.mark.slow),
    ],
)
def test_outputs_of_a_backend_equal_those_of_the_network(backend, precision, head) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=4, padding=1), torch.nn.ReLU(), *HEADS[head])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    converted = convert_network(net, (64, 96), backend, precision=precision)
    for count in (1, 3):
        images = torch.randn(count, 3, 96, 64)
        expected = net(images).detach()
        tolerance = (0.03 if precision == "bf16" else 1e-5) * float(expected.abs().max())
        torch.testing.assert_close(converted(images), expected, rtol=0, atol=tolerance)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("installed", "device", "precision", "expected"),
    [
        (BACKENDS, "cpu", "32", "openvino"),
        (BACKENDS, "cpu", "bf16", "openvino"),
        (("onnxruntime", "torch"), "cpu", "32", "onnxruntime"),
        (("onnxruntime", "torch"), "cpu", "bf16", "torch"),
        (("torch",), "cpu", "32", "torch"),
        (BACKENDS, "cuda", "32", "torch"),
    ],
)
def test_auto_selects_the_first_backend_that_supports_the_precision(monkeypatch, installed, device, precision, expected) -> None:
    monkeypatch.setattr(engine, "installed_backends", lambda: installed)
    assert engine._choose_backend("auto", torch.device(device), precision) == expected


@pytest.mark.parametrize(
    ("backend", "device", "precision", "key"),
    [("frozen", "cpu", "32", "backend"), ("openvino", "cuda", "32", "device"), ("onnxruntime", "cpu", "bf16", "precision")],
)
def test_an_unusable_backend_is_refused(backend, device, precision, key) -> None:
    with pytest.raises(ValueError, match=f"Expected `{key}`"):
        engine._choose_backend(backend, torch.device(device), precision)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_poses_on_the_gpu_equal_those_on_the_cpu() -> None:
    net = hrpose.HRNet(width=4, num_keypoints=2, num_modules=(1, 1, 1), num_blocks=1, stage1_blocks=1)
    torch.nn.init.normal_(net.final_layer.weight)
    given = batch(4)
    cpu = TorchEngine(net, CODEC, EYES, device="cpu")(given)
    cuda = TorchEngine(net, CODEC, EYES, device="cuda")(given)
    np.testing.assert_allclose(cuda.keypoint_scores, cpu.keypoint_scores, rtol=1e-2)
