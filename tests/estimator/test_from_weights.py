import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import hrpose
from hrpose.codecs import DarkCodec, HeatmapCodec
from hrpose.estimator.from_weights import read_parts
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.weights import WeightsError
from hrpose.weights.formats import build_like

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
TINY = {"stem_width": 8, "stage1_width": 4, "stage1_blocks": 1, "num_modules": (1, 1, 1), "num_blocks": 1}


@pytest.fixture
def rewritten(checkpoint: Path, tmp_path: Path):
    """Rewrite the checkpoint with another configuration."""

    def call(change) -> Path:
        content = torch.load(checkpoint, weights_only=True)
        change(content["hyper_parameters"])
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return call


def tiny(num_keypoints: int = 17, **changes) -> hrpose.HRNet:
    return hrpose.HRNet(width=4, num_keypoints=num_keypoints, **{**TINY, **changes})


def save(net: torch.nn.Module, file: Path) -> Path:
    torch.save(net.state_dict(), file)
    return file


def test_a_checkpoint_needs_no_other_arguments(checkpoint, people) -> None:
    parts = read_parts(checkpoint)
    assert isinstance(parts.codec, HeatmapCodec)
    assert (parts.codec.input_size, parts.codec.heatmap_size) == ((96, 128), (24, 32))
    assert parts.skeleton.keypoint_names == COCO.keypoint_names
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(state[f"net.{name}"], tensor) for name, tensor in parts.net.state_dict().items())
    assert parts.settings["bbox_padding"] == 1.25
    assert parts.settings["precision"] == "32"
    estimator = hrpose.PoseEstimator.from_checkpoint(checkpoint, device="cpu")
    assert len(estimator(IMAGE)) == 1


def test_published_weights_are_found_by_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HRPOSE_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    save(tiny(), tmp_path / "weights" / "pose_hrnet_w32_256x192.pth")
    estimator = hrpose.PoseEstimator.from_checkpoint("pose_hrnet_w32_256x192", device="cpu")
    assert len(estimator(IMAGE)) == 1


def test_the_settings_are_those_of_the_validation_by_default(rewritten) -> None:
    def change(stored) -> None:
        stored["config"].update(flip_test=False, keypoint_score_threshold=0.3)
        stored["config"]["trainer"]["precision"] = "bf16-mixed"
        stored["config"]["data"].update(bbox_padding=1.1, channel_order="bgr")

    file = rewritten(change)
    engine = hrpose.PoseEstimator.from_checkpoint(file, device="cpu").engine
    assert (engine.flip_test, engine.precision, engine.keypoint_score_threshold) == (False, "bf16", 0.3)
    assert engine.normalization.channel_order == "bgr"
    chosen = hrpose.PoseEstimator.from_checkpoint(file, device="cpu", flip_test=True, precision="32", channel_order="rgb")
    assert (chosen.engine.flip_test, chosen.engine.precision) == (True, "32")
    assert chosen.engine.normalization.channel_order == "rgb"


def test_half_precision_is_bfloat16_on_the_cpu_as_in_training(rewritten) -> None:
    file = rewritten(lambda stored: stored["config"]["trainer"].update(precision="16-mixed"))
    assert hrpose.PoseEstimator.from_checkpoint(file, device="cpu").engine.precision == "bf16"
    with pytest.raises(ValueError, match="on the CPU"):
        hrpose.PoseEstimator.from_checkpoint(file, device="cpu", precision="16")


@pytest.mark.parametrize("part", ["model", "codec"])
@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.hub.load",
        "hrpose.models.load_weights",
        "hrpose.weights.load.load_weights",
        "hrpose.models.os.system",
        "hrpose.models.WeightReport",
        "hrpose.models.WeightsError",
        "hrpose.models",
        "hrpose.modelsHRNet",
        "hrpose.codecs.Codec",
        "hrpose.codecs.base.torch.hub.load",
        "hrpose.download.http.fetch",
        "HRNet",
        "",
        None,
        7,
        ["hrpose.models.HRNet"],
    ],
)
def test_other_classes_that_a_checkpoint_names_are_not_built(rewritten, part, target) -> None:
    file = rewritten(lambda stored: stored["config"][part].update(_target_=target))
    with pytest.raises(WeightsError, match=f"(?s){part}.*changed.ckpt|changed.ckpt.*{part}"):
        read_parts(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["model"].update(_args_=[1]), "plain arguments"),
        (lambda config: config["model"].update(_partial_=True), "plain arguments"),
        (lambda config: config["model"].update(width={"_target_": "os.getpid"}), "model.width.*names 'os.getpid'"),
        (lambda config: config["model"].update(num_modules=[{"_target_": "os.getpid"}, 1, 1]), "names 'os.getpid'"),
        (lambda config: config["model"].update(depth_of_sea=3), "cannot be built.*depth_of_sea"),
        (lambda config: config["model"].update(width=-1), "cannot be built.*width"),
        (lambda config: config["model"].update(width=8), "width 4, the network 8"),
        (lambda config: config["model"].update(width=8000), "the network of its weights, but it describes one with"),
        (lambda config: config.pop("model"), "`model`"),
        (lambda config: config.update(codec="heatmap"), "describe its codec"),
    ],
)
def test_an_unusable_configuration_is_refused(rewritten, change, message) -> None:
    file = rewritten(lambda stored: change(stored["config"]))
    with pytest.raises(WeightsError, match=message):
        read_parts(file)


@pytest.mark.parametrize("skeleton", [None, {}, {"keypoint_names": ["a", "a"]}, {"evil": 1}])
def test_an_unreadable_skeleton_is_refused(rewritten, skeleton) -> None:
    file = rewritten(lambda stored: stored.update(skeleton=skeleton))
    with pytest.raises(WeightsError, match="Pass `skeleton`"):
        read_parts(file)
    assert read_parts(file, skeleton=COCO).skeleton is COCO


def test_arguments_have_precedence_over_the_checkpoint(checkpoint) -> None:
    codec = DarkCodec((96, 128), (24, 32), 2.0)
    assert read_parts(checkpoint, codec=codec).codec is codec
    net = tiny(final_kernel=3)
    assert read_parts(checkpoint, model=net).net is net


def test_a_checkpoint_with_code_is_refused(tmp_path) -> None:
    torch.save({"state_dict": {"net.a": torch.zeros(1)}, "hyper_parameters": Path("unsafe")}, tmp_path / "evil.ckpt")
    with pytest.raises(WeightsError, match="would run code"):
        hrpose.PoseEstimator.from_checkpoint(tmp_path / "evil.ckpt")


@pytest.mark.parametrize(
    ("net", "skeleton"),
    [
        (tiny(17), COCO),
        (tiny(16, final_kernel=3), MPII),
        (tiny(17, num_modules=(1, 2, 1), num_blocks=2, stage1_blocks=2), COCO),
        (hrpose.StackedHourglass(1, num_keypoints=16, width=8), MPII),
    ],
    ids=["HRNet", "HRNet 3x3", "HRNet deeper", "hourglass"],
)
def test_bare_weights_are_recognised_and_assumptions_are_reported(net, skeleton, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        parts = read_parts(save(net, tmp_path / "bare.pth"))
    assert type(parts.net) is type(net)
    assert parts.skeleton is skeleton
    assert parts.codec == HeatmapCodec((192, 256), (48, 64), 2.0)
    for name, tensor in net.state_dict().items():
        assert torch.equal(parts.net.state_dict()[name], tensor)
    assert "bare.pth" in caplog.text
    assert "192 x 256" in caplog.text
    assert f"keypoints of {skeleton.name}" in caplog.text
    assert ("bgr" in caplog.text) == isinstance(net, hrpose.StackedHourglass)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_the_depth_of_a_simple_baseline_is_recognised(depth) -> None:
    with torch.device("meta"):
        tensors = hrpose.SimpleBaseline(depth, 17).state_dict()
        found = build_like(tensors)
    assert {name: tensor.shape for name, tensor in found.state_dict().items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("width", [32, 48])
def test_the_width_of_an_hrnet_is_recognised(width) -> None:
    with torch.device("meta"):
        tensors = hrpose.HRNet(width=width, num_keypoints=17).state_dict()
        found = build_like(tensors)
    assert {name: tensor.shape for name, tensor in found.state_dict().items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


def test_other_deconvolutions_are_recognised(tmp_path) -> None:
    net = hrpose.SimpleBaseline(18, 5, deconv_channels=(16, 8), deconv_kernels=(2, 4), final_kernel=3)
    found = build_like(net.state_dict())
    assert found.state_dict().keys() == net.state_dict().keys()
    found.load_state_dict(net.state_dict())


def test_a_flip_test_without_mirror_pairs_is_warned_of(tmp_path, caplog) -> None:
    file, names = save(tiny(5), tmp_path / "five.pth"), [f"p{k}" for k in range(5)]
    known, unknown = (Skeleton.from_names(names, sigmas=[0.1] * 5, flip_pairs=pairs) for pairs in ([], None))
    with caplog.at_level(logging.WARNING, "hrpose.estimator.engine"):
        hrpose.PoseEstimator.from_checkpoint(file, device="cpu", skeleton=known)
        hrpose.PoseEstimator.from_checkpoint(file, device="cpu", skeleton=unknown, flip_test=False)
        assert "irror" not in caplog.text
        hrpose.PoseEstimator.from_checkpoint(file, device="cpu", skeleton=unknown)
    assert "5 keypoints" in caplog.text


def test_unnamed_keypoints_are_numbered_and_not_flipped(tmp_path, caplog) -> None:
    file = save(tiny(5), tmp_path / "five.pth")
    with caplog.at_level(logging.WARNING):
        estimator = hrpose.PoseEstimator.from_checkpoint(file, device="cpu")
    assert estimator.skeleton.keypoint_names == tuple(f"keypoint_{index}" for index in range(5))
    assert estimator.engine.flip_test is False
    assert "no flip test" in caplog.text
    names = Skeleton.from_names(("nose", "left_eye", "right_eye", "left_ear", "right_ear"), name="face")
    named = hrpose.PoseEstimator.from_checkpoint(file, device="cpu", skeleton=names)
    assert named.engine.flip_test is True


def test_a_custom_network_can_be_passed(tmp_path) -> None:
    class Foreign(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(3, 17, 8, stride=4, padding=2)

        def forward(self, images):
            return self.conv1(images)

    file = save(Foreign(), tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=r"foreign.pth.*`model`"):
        read_parts(file)
    with pytest.raises(ValueError, match="Pass `skeleton`"):
        read_parts(file, model=Foreign())
    estimator = hrpose.PoseEstimator.from_checkpoint(file, model=Foreign(), skeleton=COCO, device="cpu")
    assert estimator(IMAGE).keypoints.shape == (1, 17, 2)


def nested(depth: int) -> list:
    part: list = [1]
    for _ in range(depth):
        part = [part, part]
    return part


def cyclic() -> list:
    part: list = []
    part.append(part)
    return part


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "num_blocks", 10**9),
        ("model", "num_blocks", 200),
        ("model", "num_modules", [50, 50, 50]),
        ("model", "num_modules", [1] * 5000),
        ("model", "width", 10**9),
        ("model", "width", 4096),
        ("model", "width", float("nan")),
        ("model", "num_keypoints", 17),
        ("model", "stem_width", nested(70)),
        ("model", "stem_width", nested(18)),
        ("model", "stem_width", cyclic()),
        ("codec", "input_size", [10**9, 10**9]),
        ("codec", "input_size", [8000, 8000]),
        ("codec", "sigma", float("inf")),
    ],
)
def test_the_size_of_a_described_network_is_checked_before_it_is_built(rewritten, section, key, value) -> None:
    file = rewritten(lambda stored: stored["config"][section].update({key: value}))
    with pytest.raises(WeightsError, match=r"changed\.ckpt"):
        read_parts(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("data.bbox_padding", value) for value in ("x", 1e300, 0, float("nan"), True)),
        *(("data.mean", value) for value in ("abc", [float("nan")] * 3, [0.5] * 2, None)),
        *(("data.std", value) for value in ([0.0, 0.2, 0.2], [-1.0] * 3)),
        *(("flip_test", value) for value in ("no", 1, None)),
        *(("data.channel_order", "grb"), ("data.bit_depth", 99), ("data.upright", "no"), ("channels_last", 2)),
        ("keypoint_score_threshold", "0.2"),
    ],
)
def test_settings_are_checked_with_file_and_key(rewritten, key, value) -> None:
    def change(stored) -> None:
        *sections, name = key.split(".")
        target = stored["config"]
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value

    with pytest.raises(WeightsError, match=rf"`{key}` of the configuration in .*changed\.ckpt"):
        read_parts(rewritten(change))


@pytest.mark.parametrize(
    "change",
    [
        {"keypoint_names": [f"point_{index}" for index in range(5000)]},
        {"keypoint_names": list(range(17))},
        {"keypoint_names": 17},
        {"sigmas": ["x"] * 17},
        {"sigmas": [float("nan")] * 17},
        {"edges": [[0]]},
        {"edges": 5},
        {"upper_body": [1e400]},
        {"flip_pairs": {}},
        {"another": 1},
    ],
)
def test_a_damaged_skeleton_raises_one_error(rewritten, change) -> None:
    with pytest.raises(WeightsError, match=r"changed\.ckpt"):
        read_parts(rewritten(lambda stored: stored["skeleton"].update(change)))


@pytest.mark.parametrize("convert", [torch.Tensor.long, lambda t: t.to(torch.complex64), lambda t: t.to_sparse()])
def test_complex_and_integer_weights_are_refused(tmp_path, convert) -> None:
    state = {name: convert(tensor) if tensor.is_floating_point() else tensor for name, tensor in tiny().state_dict().items()}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth"):
        read_parts(tmp_path / "odd.pth")


def test_nan_weights_warn_on_loading_and_raise_in_prediction(tmp_path, caplog) -> None:
    net = tiny()
    with torch.no_grad():
        net.final_layer.weight[0] = torch.nan
    file = save(net, tmp_path / "nan.pth")
    assert hrpose.load_weights(tiny(), file).not_finite == ("final_layer.weight",)
    assert "1 tensors have NaN or infinity: final_layer.weight" in caplog.text
    with pytest.raises(WeightsError, match=r"finite weights in .*nan\.pth.*final_layer\.weight"):
        read_parts(file)


def test_a_network_is_not_built_for_tensors_without_values() -> None:
    """A tensor with a billion channels, without values or with one for all of them."""
    state = tiny().state_dict()
    for hollow in (torch.zeros(10**9, 0, 1, 1), torch.zeros(1).expand(60_000, 1, 1, 1)):
        assert build_like({**state, "stage2.0.branches.0.0.conv1.weight": hollow}) is None
    assert build_like(state) is not None
