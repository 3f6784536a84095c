"""Every network validates, its codec decodes its outputs, and its file says how large it is."""

import re

import pytest
import torch
from compositions import CONF, at_home, composed, options

from hrpose.codecs import is_bottom_up
from hrpose.config import build, validate
from hrpose.models import count_macs, count_parameters

SIZE = re.compile(r"([\d.]+) M parameters,? .*?([\d.]+) ([GM]) multiply-adds at (\d+)x(\d+)")


LARGE = ("_101", "_152", "_34", "_w48", "_w32", "_8")  # they differ from smaller ones in depth or width


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.endswith(LARGE) else ()) for name in options("model")]
)
def test_a_network_validates_fits_its_codec_and_has_the_size_that_its_file_says(name, tmp_path):
    parameters, work, unit, rows, columns = SIZE.search((CONF / "model" / f"{name}.yaml").read_text()).groups()
    experiment = "higher_hrnet_w32_512" if name.startswith("higher_hrnet") else "w32_256x192"
    cfg = at_home(composed(f"experiment={experiment}", f"model={name}"), tmp_path)
    validate(cfg)
    codec = build(cfg.codec)
    width, height = codec.input_size
    assert (height, width) == (int(rows), int(columns))
    with torch.device("meta"):
        net = build(cfg.model, num_keypoints=17).eval()
        outputs = net(torch.empty(1, 3, height, width))
    if is_bottom_up(codec):
        expected = [(1, 34, height // 4, width // 4), (1, 17, height // 2, width // 2)]
        assert [tuple(output.shape) for output in outputs] == expected
    else:
        assert codec.decode(outputs)[0].shape == (1, 17, 2)
        if outputs.ndim == 4:
            assert tuple(outputs.shape[2:]) == (height // 4, width // 4)
    assert f"{count_parameters(net) / 1e6:.{_decimals(parameters)}f}" == parameters
    macs = count_macs(net, codec.input_size) / {"G": 1e9, "M": 1e6}[unit]
    assert f"{macs:.{_decimals(work)}f}" == work


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])
