import pytest
import torch
from golden_weights import draw_images
from torch import nn
from torch.nn import functional as F

from hrpose.losses import HeatmapMSELoss
from hrpose.models import StackedHourglass, count_macs, count_parameters
from hrpose.models.hourglass import Hourglass

SMALL = {"num_stacks": 2, "num_keypoints": 5, "width": 16}


@pytest.fixture
def small():
    torch.manual_seed(0)
    return StackedHourglass(**SMALL)


def _on_meta(**arguments):
    with torch.device("meta"):
        return StackedHourglass(**arguments)


# 14 bottlenecks of 214,528, a 1x1 convolution with batch norm of 66,304 and a head of 4,369 to a stack, links of 65,792 and
# 4,608 between two, and a stem of 513,152
@pytest.mark.parametrize("num_stacks", [1, 2, 4, 8])
def test_parameters_are_the_sum_of_the_parts(num_stacks):
    expected = 513_152 + num_stacks * (14 * 214_528 + 66_304 + 4_369) + (num_stacks - 1) * (65_792 + 4_608)
    assert count_parameters(_on_meta(num_stacks=num_stacks)) == expected


def test_parameters_are_about_the_published():
    assert count_parameters(_on_meta(num_stacks=8)) == pytest.approx(25.1e6, rel=0.02)  # the HRNet paper's table
    assert count_parameters(_on_meta(num_stacks=4)) == pytest.approx(13.0e6, rel=0.004)  # DarkPose's table


def test_macs_are_the_published_ones():
    """DarkPose lists 4.9 and 2.7 G for 8 and 4 stacks at 128x96."""
    for num_stacks, published in ((8, 4.9), (4, 2.7)):
        macs = count_macs(_on_meta(num_stacks=num_stacks), (96, 128))
        assert macs / 2**30 == pytest.approx(published, abs=0.05)


def test_names_are_those_of_the_published_weights():
    names = _on_meta(num_stacks=2).state_dict()
    tops = list(dict.fromkeys(name.split(".")[0] for name in names))
    assert tops == ["conv1", "bn1", "layer1", "layer2", "layer3", "hg", "res", "fc", "score", "fc_", "score_"]
    for name, shape in {
        "layer1.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.0.bias": (256,),
        "hg.1.hg.0.3.0.conv2.weight": (128, 128, 3, 3),
        "hg.0.hg.3.2.0.bn1.running_var": (256,),
        "res.1.0.conv3.weight": (256, 128, 1, 1),
        "fc.1.1.running_mean": (256,),
        "score.1.weight": (17, 256, 1, 1),
        "fc_.0.weight": (256, 256, 1, 1),
        "score_.0.weight": (256, 17, 1, 1),
    }.items():
        assert tuple(names[name].shape) == shape
    assert "hg.0.hg.1.3.0.conv1.weight" not in names
    assert "fc_.1.weight" not in names


def test_initial_heatmaps_are_nearly_empty():
    """PyTorch's initial weights give heatmaps with a spread of 0.4, which hardly change in 770 steps."""
    torch.manual_seed(0)
    net = StackedHourglass(4, num_keypoints=17, width=64)
    assert net(draw_images("start", (2, 3, 128, 96))).std(dim=(0, 2, 3, 4)).max() < 0.02
    for head in net.score:
        assert head.weight.std().item() == pytest.approx(0.001, rel=0.1)
        assert not head.bias.any()


@pytest.mark.parametrize(("num_stacks", "size"), [(1, (256, 256)), (2, (256, 192)), (3, (256, 192))])
def test_training_mode_returns_all_stacks_and_eval_mode_the_last(num_stacks, size):
    net = _on_meta(num_stacks=num_stacks, width=16)
    images = torch.empty(2, 3, *size, device="meta")
    assert net(images).shape == (2, num_stacks, 17, size[0] // 4, size[1] // 4)
    assert net.eval()(images).shape == (2, 17, size[0] // 4, size[1] // 4)


def test_the_last_stack_of_training_mode_is_the_output_of_eval_mode(small):
    images = draw_images("any", (3, 3, 64, 128))
    small.eval()
    with torch.no_grad():
        predicted = small(images)
        small.training = True  # all stacks, and the batch norms as in prediction
        stacks = small(images)
    assert torch.equal(stacks[:, -1], predicted)
    assert not torch.equal(stacks[:, 0], predicted)


def test_features_are_the_input_of_the_last_head(small):
    images = draw_images("any", (1, 3, 64, 128))
    small.eval()
    with torch.no_grad():
        (features,) = small.forward_features(images)
        assert features.shape == (1, 16, 16, 32)
        assert torch.equal(small.score[-1](features), small(images))


def test_an_hourglass_is_the_papers_recursion():
    torch.manual_seed(0)
    net = Hourglass(8, 2).eval()

    def recursion(depth, features):
        places = net.hg[depth - 1]
        low = places[1](F.max_pool2d(features, 2, stride=2))
        low = recursion(depth - 1, low) if depth > 1 else places[3](low)
        return places[0](features) + F.interpolate(places[2](low), scale_factor=2, mode="nearest")

    features = torch.randn(2, 8, 32, 16)
    with torch.no_grad():
        assert torch.equal(net(features), recursion(4, features))


def test_every_stack_has_a_gradient(small):
    stacks = small(draw_images("any", (2, 3, 64, 64)))
    HeatmapMSELoss()(stacks, torch.ones(2, 5, 16, 16), torch.ones(2, 5, 1)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in small.parameters())
    lone = StackedHourglass(**SMALL)
    lone.load_state_dict(small.state_dict())
    HeatmapMSELoss()(lone(draw_images("any", (2, 3, 64, 64)))[:, :1], torch.ones(2, 5, 16, 16), torch.ones(2, 5, 1)).backward()
    assert lone.score[0].weight.grad.abs().sum() > 0
    assert lone.score[1].weight.grad.abs().sum() == 0  # a stack without loss has no gradient


def test_images_are_not_changed(small):
    images = draw_images("any", (2, 3, 64, 64))
    before = images.clone()
    small(images).sum().backward()
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_stacks": 0}, "`num_stacks`.*got 0"),
        ({"num_keypoints": 2.0}, "`num_keypoints`.*got 2.0"),
        ({"num_blocks": True}, "`num_blocks`"),
        ({"width": 18}, r"`width`.*4.*18"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        StackedHourglass(**arguments)


def test_a_wrong_input_size_is_refused_with_the_nearest_valid_one(small):
    with pytest.raises(ValueError, match=r"32.*64.*96 x 64.*\(24, 16\)"):
        small(torch.zeros(1, 3, 32, 100))


def test_an_odd_row_is_upsampled_as_in_darkpose():
    torch.manual_seed(0)
    net = Hourglass(8, 1).eval()
    features = torch.randn(2, 8, 32, 24)  # of a crop 128 high and 96 wide: 4x3 cells before the last pooling, 2x1 after it

    def recursion(depth, features):
        places = net.hg[depth - 1]
        low = places[1](F.max_pool2d(features, 2, stride=2))
        low = places[2](recursion(depth - 1, low) if depth > 1 else places[3](low))
        up = nn.Upsample(scale_factor=2) if depth > 1 else nn.Upsample(size=[4, 3])
        return places[0](features) + up(low)

    with torch.no_grad():
        assert torch.equal(net(features), recursion(4, features))


@pytest.mark.slow
def test_export_keeps_the_batch_free(small):
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(small.eval(), (torch.zeros(2, 3, 64, 64),), dynamic_shapes=({0: batch},))
    images = draw_images("any", (5, 3, 64, 64))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), small(images))
