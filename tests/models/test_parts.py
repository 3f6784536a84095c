import pytest
from torch import nn

from hrpose.models import DeepPose, HRNet, SimCC, SimpleBaseline, StackedHourglass, split_modules, split_parameters


def tiny(num_keypoints: int | None = 3) -> HRNet:
    return HRNet(width=4, stem_width=8, stage1_width=4, num_keypoints=num_keypoints)


@pytest.mark.parametrize(
    ("net", "head"),
    [
        (tiny(), {"final_layer"}),
        (SimpleBaseline(18, num_keypoints=3), {"deconv_layers", "final_layer"}),
        (StackedHourglass(num_stacks=2, num_keypoints=3, width=8), {"score", "score_"}),
        (DeepPose(tiny(None), num_keypoints=3), {"head"}),
        (SimCC(tiny(None), num_keypoints=3, input_size=(64, 64)), {"head"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_backbone_and_head_are_the_whole_network(net, head):
    backbone, found = split_modules(net)
    assert set(found) == head
    assert {*backbone, *found} == {name for name, _ in net.named_children()}
    of_backbone, of_head = split_parameters(net)
    assert sorted(map(id, [*of_backbone, *of_head])) == sorted(map(id, net.parameters()))
    names = {name.partition(".")[0] for name, parameter in net.named_parameters() if any(parameter is one for one in of_head)}
    assert names == head


@pytest.mark.parametrize("net", [nn.Sequential(nn.Linear(1, 1)), tiny(None)], ids=["foreign", "without a head"])
def test_a_network_without_a_head_is_refused(net):
    with pytest.raises(ValueError, match="head_modules"):
        split_modules(net)
