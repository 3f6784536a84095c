import pytest
import torch
from golden_weights import draw_images, draw_weights

from hrpose.models import DeepPose, HRNet, SimpleBaseline, StackedHourglass, count_parameters
from hrpose.weights import load_weights

RESNET = {"num_keypoints": None, "deconv_channels": (), "deconv_kernels": ()}
SMALL = {"num_keypoints": None, "num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}
TORCHVISION = {50: 25_557_032, 101: 44_549_160, 152: 60_192_808}  # with 1000 classes


@pytest.mark.parametrize("sigmas", [False, True])
@pytest.mark.parametrize("depth", TORCHVISION)
def test_it_has_the_parameters_of_torchvisions_resnet_and_a_linear_layer(depth, sigmas):
    with torch.device("meta"):
        net = DeepPose(SimpleBaseline(depth, **RESNET), sigmas=sigmas)
    outputs = 17 * (4 if sigmas else 2)
    assert count_parameters(net) == TORCHVISION[depth] - 1000 * 2049 + outputs * 2049
    assert list(net.state_dict())[-2:] == ["head.fc.weight", "head.fc.bias"]
    assert {name.split(".")[0] for name in net.state_dict()} == {"backbone", "head"}
    assert net.state_dict()["head.fc.weight"].shape == (outputs, 2048)


def test_the_input_of_the_linear_layer_is_the_mean_over_the_image():
    net = DeepPose(SimpleBaseline(18, **RESNET), 5).eval()
    draw_weights(net)
    images = draw_images("any", (2, 3, 96, 64))
    with torch.no_grad():
        (features,) = net.backbone.forward_features(images)
        want = net.head.fc(features.mean(dim=(2, 3))).view(2, 5, 2)
        torch.testing.assert_close(net(images), want)


def test_all_branches_of_an_hrnet_are_concatenated():
    net = DeepPose(HRNet(width=4, all_branches=True, **SMALL), 3).eval()
    assert net.head.fc.in_features == 4 + 8 + 16 + 32
    draw_weights(net)
    images = draw_images("any", (1, 3, 64, 32))
    with torch.no_grad():
        branches = net.backbone.forward_features(images)
        want = net.head.fc(torch.cat([maps.mean(dim=(2, 3)) for maps in branches], dim=1)).view(1, 3, 2)
        torch.testing.assert_close(net(images), want)


def test_sigmas_follow_the_coordinates_and_are_between_zero_and_one():
    net = DeepPose(SimpleBaseline(18, **RESNET), 5, sigmas=True).eval()
    with torch.no_grad():
        net.head.fc.bias.view(5, 4)[:, 2:] = torch.tensor([-30.0, 30.0])
        answers = net(draw_images("any", (2, 3, 64, 64)))
    assert answers.shape == (2, 5, 4)
    assert (answers[..., 2] < 1e-6).all()
    assert (answers[..., 3] > 1 - 1e-6).all()
    assert (answers[..., :2] - 0.5).abs().max() < 0.5


def test_initial_coordinates_are_the_center_of_the_image():
    torch.manual_seed(0)
    fc = DeepPose(SimpleBaseline(50, **RESNET), sigmas=True).head.fc
    assert fc.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert torch.equal(fc.bias.view(17, 4), torch.tensor([0.5, 0.5, 0, 0]).expand(17, 4))


def test_outputs_are_float32_under_autocast():
    net = DeepPose(SimpleBaseline(18, **RESNET), 5, sigmas=True).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(torch.zeros(1, 3, 64, 64)).dtype == torch.float32


@pytest.mark.parametrize("backbone", ["resnet", "hrnet"])
def test_a_training_step_reaches_every_parameter(backbone):
    body = SimpleBaseline(18, **RESNET) if backbone == "resnet" else HRNet(width=4, all_branches=True, **SMALL)
    net = DeepPose(body, 3, sigmas=True)
    draw_weights(net)
    net(draw_images("any", (2, 3, 64, 64))).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_a_backbone_without_features_or_with_a_head_is_refused():
    with pytest.raises(ValueError, match=r"SimpleBaseline.*num_keypoints=None"):
        DeepPose(SimpleBaseline(18, 5))
    with pytest.raises(ValueError, match="StackedHourglass"):
        DeepPose(StackedHourglass(1, width=8))


@pytest.mark.slow
def test_export_keeps_the_batch_free():
    net = DeepPose(SimpleBaseline(18, **RESNET), 5, sigmas=True).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (torch.zeros(2, 3, 64, 32),), dynamic_shapes=({0: batch},))
    images = draw_images("any", (5, 3, 64, 32))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images))


@pytest.mark.parametrize("sigmas", [False, True])
def test_a_file_of_mmpose_for_this_network_loads_completely(tmp_path, sigmas):
    net = DeepPose(SimpleBaseline(18, **RESNET), 5, sigmas=sigmas)
    draw_weights(net)
    state = {**net.state_dict(), "head.loss_module.flow_model.s.0.0.weight": torch.zeros(64, 2)}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "deeppose.pth")
    other = DeepPose(SimpleBaseline(18, **RESNET), 5, sigmas=sigmas)
    report = load_weights(other, tmp_path / "deeppose.pth")
    assert report.missing == report.mismatched == ()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())


def test_an_imagenet_backbone_is_loaded_without_the_head(tmp_path):
    torchvision = {f"backbone.{name}": value for name, value in SimpleBaseline(18, **RESNET).state_dict().items()}
    bare = {name.removeprefix("backbone."): torch.full_like(value, 2) for name, value in torchvision.items()}
    torch.save({**bare, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "resnet18.pth")
    net = DeepPose(SimpleBaseline(18, **RESNET), 5)
    before = net.head.fc.weight.clone()
    report = load_weights(net, tmp_path / "resnet18.pth", fresh_head=True)
    assert set(report.missing) == {"head.fc.weight", "head.fc.bias"}
    assert all((value == 2).all() for value in net.backbone.state_dict().values())
    assert torch.equal(net.head.fc.weight, before)
