"""Heads for other keypoints, matched by name."""

import pytest
import torch
from safetensors.torch import save_file

from hrpose.models import HigherHRNet, HRNet, StackedHourglass
from hrpose.skeletons import COCO, HALPE, HALPE26, MPII, WHOLEBODY
from hrpose.weights import WeightsError, load_weights
from hrpose.weights.heads import match_keypoints

SMALL = {"width": 4, "stem_width": 4, "stage1_width": 4, "stage1_blocks": 1, "num_modules": (1, 1, 1), "num_blocks": 1}
# MPII's twelve that COCO has too; its pelvis, thorax, upper neck and head top are nobody's there
SHARED = tuple(name for name in MPII.keypoint_names if name in COCO.keypoint_names)


def hrnet(num_channels):
    torch.manual_seed(num_channels)
    net = HRNet(num_keypoints=num_channels, **SMALL)
    torch.nn.init.normal_(net.final_layer.bias)
    return net


def saved(folder, net, names=None):
    """Write a checkpoint of hrpose with keypoint names, or only weights."""
    state = net.state_dict()
    content = {"state_dict": {f"net.{name}": value for name, value in state.items()}} if names else state
    if names:
        content["hyper_parameters"] = {"config": None, "skeleton": {"name": "mine", "keypoint_names": list(names)}}
    torch.save(content, folder / "weights.pth")
    return folder / "weights.pth"


def test_similar_names_are_matched_separately():
    match = match_keypoints(["a", "A", "鼻", "нос"], ["нос", "A", "a", "☆"], num_channels=4, num_file_channels=4)
    assert match.taken == {0: 2, 1: 1, 3: 0}
    assert match.fresh_names == ("鼻",)


def test_mpii_loads_the_twelve_common_keypoints_of_coco(tmp_path):
    coco, mpii = hrnet(17), hrnet(16)
    own = mpii.final_layer.weight.clone(), mpii.final_layer.bias.clone()
    report = load_weights(mpii, saved(tmp_path, coco), keypoint_names=MPII.keypoint_names, fresh_head=True)
    assert report.keypoints_by_name == SHARED
    assert len(SHARED) == 12
    assert report.fresh_keypoints == ("pelvis", "thorax", "upper_neck", "head_top")
    assert report.mismatched == report.missing == ()
    for index, name in enumerate(MPII.keypoint_names):
        source = (coco.final_layer.weight, coco.final_layer.bias) if name in SHARED else own
        place = COCO.keypoint_names.index(name) if name in SHARED else index
        assert torch.equal(mpii.final_layer.weight[index], source[0][place]), name
        assert torch.equal(mpii.final_layer.bias[index], source[1][place]), name
    assert torch.equal(mpii.conv1.weight, coco.conv1.weight)


def test_the_report_lists_the_keypoints_and_the_assumption(tmp_path):
    names = ("nose", "tail", "leftEye")
    report = load_weights(hrnet(3), saved(tmp_path, hrnet(17)), keypoint_names=names, fresh_head=True)
    assert str(report).splitlines()[1:] == [
        "  keypoints loaded by name (2): nose, leftEye",
        "  keypoints not loaded (1): tail",
        "  The file has no keypoint names; from their number they were assumed to be those of COCO.",
    ]


def test_mpii_is_recognised_by_its_number_of_keypoints(tmp_path):
    report = load_weights(hrnet(17), saved(tmp_path, hrnet(16)), keypoint_names=COCO.keypoint_names, fresh_head=True)
    assert sorted(report.keypoints_by_name) == sorted(SHARED)
    assert report.fresh_keypoints == COCO.keypoint_names[:5]


@pytest.mark.parametrize("skeleton", [HALPE26, WHOLEBODY, HALPE], ids=lambda skeleton: skeleton.name)
def test_coco_loads_all_keypoints_from_whole_bodies(skeleton, tmp_path):
    source, net = hrnet(skeleton.num_keypoints), hrnet(17)
    report = load_weights(net, saved(tmp_path, source), keypoint_names=COCO.keypoint_names, fresh_head=True)
    assert report.keypoints_by_name == COCO.keypoint_names
    assert torch.equal(net.final_layer.weight, source.final_layer.weight[:17])


def test_mmpose_counts_the_points_of_a_face(tmp_path):
    counted = [*WHOLEBODY.keypoint_names[:23], *(f"face-{k}" for k in range(68)), *WHOLEBODY.keypoint_names[91:]]
    source, net = hrnet(133), hrnet(133)
    torch.nn.init.normal_(source.final_layer.weight)
    report = load_weights(net, saved(tmp_path, source, counted), keypoint_names=WHOLEBODY.keypoint_names, fresh_head=True)
    assert report.fresh_keypoints == ()
    assert torch.equal(net.final_layer.weight, source.final_layer.weight)


@pytest.mark.parametrize("style", [str.upper, lambda name: name.replace("left_", "l.").replace("right_", "r.")])
def test_stored_names_are_matched_regardless_of_spelling(style, tmp_path):
    stored = [style(name) for name in reversed(COCO.keypoint_names)] + ["neck"]
    source, net = hrnet(18), hrnet(17)
    report = load_weights(net, saved(tmp_path, source, stored), keypoint_names=COCO.keypoint_names, fresh_head=True)
    assert report.keypoints_by_name == COCO.keypoint_names
    assert torch.equal(net.final_layer.weight, source.final_layer.weight[:17].flip(0))
    assert report.remark == ""


def test_keypoint_names_of_mmpose_and_safetensors_are_used(tmp_path):
    state = hrnet(2).state_dict()
    wanted = state["final_layer.bias"][[1, 0]]
    inside = {f"head.{k}" if k.startswith("final") else f"backbone.{k}": v for k, v in state.items()}
    torch.save({"meta": {"dataset_meta": {"keypoint_id2name": {0: "a", 1: "b"}}}, "state_dict": inside}, tmp_path / "mm.pth")
    save_file(state, tmp_path / "bare.safetensors", {"keypoint_names": '["a", "b"]', "format": "pt"})
    for name in ("mm.pth", "bare.safetensors"):
        net = hrnet(3)
        report = load_weights(net, tmp_path / name, keypoint_names=("b", "a", "c"), fresh_head=True)
        assert report.keypoints_by_name == ("b", "a")
        assert torch.equal(net.final_layer.bias[:2], wanted)


def test_a_head_with_unknown_keypoints_is_not_loaded(tmp_path):
    net = hrnet(3)
    own = net.final_layer.weight.clone()
    report = load_weights(net, saved(tmp_path, hrnet(5)), keypoint_names=("a", "b", "c"), fresh_head=True)
    assert report.mismatched == ("final_layer.weight", "final_layer.bias")
    assert report.fresh_keypoints == ("a", "b", "c")
    assert "the 5 channels" in report.remark
    assert torch.equal(net.final_layer.weight, own)


def test_a_head_without_common_keypoints_is_not_loaded(tmp_path):
    report = load_weights(hrnet(3), saved(tmp_path, hrnet(17)), keypoint_names=("a", "b", "c"), fresh_head=True)
    assert report.mismatched == ("final_layer.weight", "final_layer.bias")
    assert "no common keypoint name" in report.remark


def test_a_head_with_another_kernel_is_not_loaded(tmp_path):
    net = HRNet(num_keypoints=16, final_kernel=3, **SMALL)
    report = load_weights(net, saved(tmp_path, hrnet(17)), keypoint_names=MPII.keypoint_names, fresh_head=True)
    assert report.mismatched == ("final_layer.weight", "final_layer.bias")
    assert report.fresh_keypoints == MPII.keypoint_names


def test_the_channels_of_a_keypoint_move_together(tmp_path):
    source, net = hrnet(51), hrnet(48)
    report = load_weights(net, saved(tmp_path, source), keypoint_names=MPII.keypoint_names, fresh_head=True)
    assert report.keypoints_by_name == SHARED
    wrist, place = MPII.keypoint_names.index("left_wrist"), COCO.keypoint_names.index("left_wrist")
    assert torch.equal(net.final_layer.weight[3 * wrist : 3 * wrist + 3], source.final_layer.weight[3 * place : 3 * place + 3])


def test_every_stack_of_an_hourglass_loads_its_keypoints(tmp_path):
    source, net = StackedHourglass(2, 17, width=8), StackedHourglass(2, 16, width=8)
    own = net.score_[0].weight.clone()
    report = load_weights(net, saved(tmp_path, source), keypoint_names=MPII.keypoint_names, fresh_head=True)
    assert report.mismatched == ()
    knee, place = MPII.keypoint_names.index("right_knee"), COCO.keypoint_names.index("right_knee")
    for stack in (0, 1):
        assert torch.equal(net.score[stack].weight[knee], source.score[stack].weight[place])
    assert torch.equal(net.score_[0].weight[:, knee], source.score_[0].weight[:, place])
    assert torch.equal(net.score_[0].weight[:, 6], own[:, 6])  # the pelvis
    assert torch.equal(net.score_[0].bias, source.score_[0].bias)


def test_without_a_fresh_head_another_number_is_an_error_even_if_all_names_are_known(tmp_path):
    with pytest.raises(WeightsError, match=r"2 keypoints.*17.*fresh_head=True"):
        load_weights(hrnet(2), saved(tmp_path, hrnet(17)), keypoint_names=("nose", "left_eye"))


@pytest.mark.parametrize("fresh_head", [True, False])
def test_keypoints_in_another_order_are_reordered(fresh_head, tmp_path):
    source, net = hrnet(17), hrnet(17)
    names = tuple(reversed(COCO.keypoint_names))
    report = load_weights(net, saved(tmp_path, source), keypoint_names=names, fresh_head=fresh_head)
    assert torch.equal(net.final_layer.bias, source.final_layer.bias.flip(0))
    assert report.keypoints_by_name == names


def test_keypoints_in_the_same_order_are_not_reported(tmp_path):
    report = load_weights(hrnet(17), saved(tmp_path, hrnet(17)), keypoint_names=COCO.keypoint_names)
    assert (report.keypoints_by_name, report.fresh_keypoints, report.remark) == ((), (), "")


@pytest.mark.parametrize(
    ("stored", "fresh_head", "remark"),
    [
        (None, False, "The file has no keypoint names; its keypoints were loaded in their order."),
        (None, True, "The file has no keypoint names; its keypoints were loaded in their order."),
        (
            ("a", "b", *COCO.keypoint_names[2:]),
            False,
            "The file has other keypoint names; its keypoints were loaded in their order.",
        ),
    ],
)
def test_other_names_of_the_same_number_keep_the_order_of_the_file(stored, fresh_head, remark, tmp_path):
    source, net = hrnet(17), hrnet(17)
    names = (*COCO.keypoint_names[::-1][:16], "tail")
    report = load_weights(net, saved(tmp_path, source, stored), keypoint_names=names, fresh_head=fresh_head)
    assert torch.equal(net.final_layer.weight, source.final_layer.weight)
    assert report.remark == remark


def test_a_wrong_number_of_names_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"17 channels.*16 names"):
        load_weights(hrnet(17), saved(tmp_path, hrnet(17)), keypoint_names=MPII.keypoint_names)


def test_names_with_the_same_key_are_not_matched():
    match = match_keypoints(("left_eye", "nose"), ("l_eye", "LeftEye", "nose"), num_channels=2, num_file_channels=3)
    assert match is not None
    assert (dict(match.taken), match.fresh_names) == ({1: 2}, ("left_eye",))


def higher_hrnet(names, num_deconvs):
    torch.manual_seed(len(names))
    net = HigherHRNet(num_keypoints=len(names), num_deconvs=num_deconvs, deconv_blocks=1, **SMALL).eval()
    for parameter in net.parameters():  # large enough for differences to show
        torch.nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize("num_deconvs", [0, 1, 2])
def test_higher_hrnet_gives_the_same_maps_in_another_order_of_keypoints(num_deconvs, tmp_path):
    names, order = ("nose", "tail", "left_ear", "right_ear"), [2, 0, 3, 1]
    source, net = higher_hrnet(names, num_deconvs), higher_hrnet(names, num_deconvs)
    reordered = [names[index] for index in order]
    report = load_weights(net, saved(tmp_path, source, names), keypoint_names=reordered)
    assert report.keypoints_by_name == tuple(reordered)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for level, (expected, found) in enumerate(zip(source(images), net(images), strict=True)):
            rows = order + [4 + index for index in order] if level == 0 else order  # heatmaps, then tags
            torch.testing.assert_close(found, expected[:, rows], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_higher_hrnet_loads_heatmaps_and_tags_of_the_common_keypoints(tmp_path):
    names = ("right_eye", "wing", "nose")
    source, net = higher_hrnet(COCO.keypoint_names, 1), higher_hrnet(names, 1)
    own = {name: value.clone() for name, value in net.state_dict().items()}
    report = load_weights(net, saved(tmp_path, source), keypoint_names=names, fresh_head=True)
    assert report.keypoints_by_name == ("right_eye", "nose")
    assert report.fresh_keypoints == ("wing",)
    assert report.mismatched == ()
    rows = [2, None, 0, 19, None, 17]  # of COCO's: right eye and nose, heatmaps and tags
    for name, first in (("final_layers.0.weight", 0), ("final_layers.0.bias", 0), ("deconv_layers.0.0.0.weight", 4)):
        found, file = net.state_dict()[name], source.state_dict()[name]
        assert torch.equal(found[:first], file[:first])  # features
        for index, row in enumerate(rows):
            expected = own[name][first + index] if row is None else file[first + row]
            assert torch.equal(found[first + index], expected), (name, index)
    assert torch.equal(net.final_layers[1].weight[[0, 2]], source.final_layers[1].weight[[2, 0]])
