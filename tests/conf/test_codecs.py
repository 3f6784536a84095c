"""A codec and a size are two options; every combination that was one file before has that file's values."""

import dataclasses
import re

import pytest
from compositions import CONF, composed, options
from omegaconf import DictConfig, OmegaConf

from hrpose.codecs import DarkCodec, HeatmapCodec, IntegralCodec, RegressionCodec, SimccCodec, UdpCodec, UdpOffsetCodec
from hrpose.config import build, compose, unpublished
from hrpose.moved import GONE

# codec files of version 1, <codec>_<height>x<width>, and what they composed to
FORMER = {
    "dark_128x96": DarkCodec((96, 128), (24, 32), sigma=1.0, unbiased=True, blur_kernel=3, grid="dark"),
    "dark_160x96": DarkCodec((96, 160), (24, 40), sigma=0.9, unbiased=False, blur_kernel=3, grid="plain"),
    "dark_256x192": DarkCodec((192, 256), (48, 64), sigma=2.0, unbiased=True, blur_kernel=11, grid="dark"),
    "dark_256x256": DarkCodec((256, 256), (64, 64), sigma=2.0, unbiased=True, blur_kernel=11, grid="dark"),
    "dark_384x288": DarkCodec((288, 384), (72, 96), sigma=3.0, unbiased=True, blur_kernel=11, grid="dark"),
    "heatmap_128x96": HeatmapCodec((96, 128), (24, 32), sigma=1.0, rules="official"),
    "heatmap_160x96": HeatmapCodec((96, 160), (24, 40), sigma=0.9, rules="official"),
    "heatmap_256x192": HeatmapCodec((192, 256), (48, 64), sigma=2.0, rules="official"),
    "heatmap_256x256": HeatmapCodec((256, 256), (64, 64), sigma=2.0, rules="official"),
    "heatmap_384x288": HeatmapCodec((288, 384), (72, 96), sigma=3.0, rules="official"),
    "integral_128x96": IntegralCodec((96, 128), (24, 32), grid="udp"),
    "integral_160x96": IntegralCodec((96, 160), (24, 40), grid="udp"),
    "integral_256x192": IntegralCodec((192, 256), (48, 64), grid="udp"),
    "integral_256x256": IntegralCodec((256, 256), (64, 64), grid="udp"),
    "integral_384x288": IntegralCodec((288, 384), (72, 96), grid="udp"),
    "regression_128x96": RegressionCodec((96, 128)),
    "regression_160x96": RegressionCodec((96, 160)),
    "regression_256x192": RegressionCodec((192, 256)),
    "regression_384x288": RegressionCodec((288, 384)),
    "simcc_128x96": SimccCodec((96, 128), sigma=4.0, split_ratio=2),
    "simcc_160x96": SimccCodec((96, 160), sigma=4.0, split_ratio=2),
    "simcc_256x192": SimccCodec((192, 256), sigma=6.0, split_ratio=2),
    "simcc_384x288": SimccCodec((288, 384), sigma=6.0, split_ratio=2),
    "udp_128x96": UdpCodec((96, 128), (24, 32), sigma=1.0, blur_kernel=3, smoothing="official"),
    "udp_256x192": UdpCodec((192, 256), (48, 64), sigma=2.0, blur_kernel=7, smoothing="official"),
    "udp_256x256": UdpCodec((256, 256), (64, 64), sigma=2.0, blur_kernel=7, smoothing="official"),
    "udp_384x288": UdpCodec((288, 384), (72, 96), sigma=3.0, blur_kernel=7, smoothing="official"),
    "udp_offset_128x96": UdpOffsetCodec((96, 128), (24, 32), radius=4.0, disk_kernel=15, offset_kernel=7),
    "udp_offset_256x192": UdpOffsetCodec((192, 256), (48, 64), radius=4.0, disk_kernel=15, offset_kernel=7),
    "udp_offset_384x288": UdpOffsetCodec((288, 384), (72, 96), radius=4.0, disk_kernel=15, offset_kernel=7),
}
LOSSES = {
    "integral": "IntegralLoss",
    "regression": "CoordinateLoss",
    "simcc": "SimccLoss",
    "associative_embedding": "AssociativeEmbeddingLoss",
}  # the others leave the loss as it is


def codec_node(codec: str, size: str, rules: str = "official") -> DictConfig:
    """Return what `codec=<codec> size=<size>` composes to, from the two files alone: Hydra takes a hundred times as long."""
    node = OmegaConf.load(CONF / "codec" / f"{codec}.yaml")
    rest = {"size": OmegaConf.load(CONF / "size" / f"{size}.yaml"), "rules": rules}
    return OmegaConf.create({"codec": node.get("codec", node), **rest}).codec


@pytest.mark.parametrize("name", FORMER)
def test_a_former_codec_file_is_a_codec_and_a_size(name):
    codec, _, size = name.rpartition("_")
    assert GONE[f"codec={name}"] == f"codec={codec} size={size}"
    assert build(codec_node(codec, size)) == FORMER[name]


def test_no_former_codec_is_without_a_replacement():
    assert set(FORMER) == {key.partition("=")[2] for key in GONE if key.startswith("codec=")}


@pytest.mark.parametrize("codec", options("codec"))
def test_an_option_composes_to_its_file_and_selects_its_loss(codec):
    cfg = composed(f"codec={codec}", "size=384x288", "rules=mmpose")
    assert cfg.codec == codec_node(codec, "384x288", "mmpose")
    assert cfg.codec.get("rules", cfg.codec.get("smoothing", "mmpose")) == "mmpose"
    assert cfg.loss._target_ == f"hrpose.losses.{LOSSES.get(codec, 'HeatmapMSELoss')}"


@pytest.mark.parametrize("size", options("size"))
@pytest.mark.parametrize("codec", [codec for codec in options("codec") if codec != "associative_embedding"])
def test_a_codec_has_the_size_that_is_named(codec, size):
    node = codec_node(codec, size)
    built = build(node)
    width, height = built.input_size
    assert size == f"{height}x{width}"
    assert getattr(built, "heatmap_size", (width // 4, height // 4)) == (width // 4, height // 4)
    assert set(node) - {"_target_"} == {field.name for field in dataclasses.fields(built)}


def test_a_combination_without_a_publication_says_so():
    assert unpublished(composed("codec=dark", "size=256x192"), {"codec": "dark", "size": "256x192"}) == []
    (line,) = unpublished(composed("codec=udp", "size=128x96"), {"codec": "udp", "size": "128x96"})
    assert "codec=udp size=128x96" in line
    own_size = composed("codec=udp", "size=128x96", "codec.input_size=[64,64]")
    assert unpublished(own_size, {"codec": "udp", "size": "128x96"}) == []
    own_file = composed("codec=udp", "size=128x96", "~size.published")
    assert unpublished(own_file, {"codec": "udp", "size": "my_size"}) == []
    assert unpublished(compose("predict", ["source=0"]), {"codec": None, "size": "256x192"}) == []


@pytest.mark.parametrize("size", options("size"))
def test_published_codecs_exist(size):
    assert set(OmegaConf.load(CONF / "size" / f"{size}.yaml").published) <= set(options("codec"))


def test_a_network_selects_its_size_and_an_override_wins():
    tiny = composed("experiment=w32_256x192", "model=hrnet_tiny")
    assert (tiny.codec._target_, list(tiny.codec.input_size)) == ("hrpose.codecs.DarkCodec", [96, 160])
    larger = composed("experiment=w32_256x192", "model=hrnet_tiny", "size=256x192")
    assert (larger.codec._target_, list(larger.codec.input_size)) == ("hrpose.codecs.DarkCodec", [192, 256])
    other = composed("experiment=w32_384x288", "model=rle_w32")
    assert (other.codec._target_, list(other.codec.input_size)) == ("hrpose.codecs.RegressionCodec", [288, 384])


def test_the_page_has_the_values_of_the_files():
    page = (CONF.parent / "docs" / "codecs.md").read_text()
    lines = re.findall(r"^\| ((?:sigma|blur|published).*?) \| (.*) \|$", page, re.MULTILINE)
    rows = {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}
    assert all(len(cells) == len(options("size")) for cells in rows.values())
    for column, size in enumerate(options("size")):
        values = OmegaConf.load(CONF / "size" / f"{size}.yaml")
        sigma = float(rows["sigma of `heatmap`, `dark` and `udp`, cells"][column])
        assert (values.heatmap.sigma, values.dark.sigma, values.udp.sigma) == (sigma, sigma, sigma)
        assert values.dark.blur_kernel == int(rows["blur of `dark`, cells"][column])
        assert values.udp.blur_kernel == int(rows["blur of `udp`, cells"][column])
        assert values.simcc.sigma == float(rows["sigma of `simcc`, bins"][column])
        cell = rows["published with"][column]
        named = set(re.findall(r"`(\w+)`", cell))
        of_crops = set(options("codec")) - {"associative_embedding"}
        assert set(values.published) == (of_crops - named if "all but" in cell else named)


def test_a_size_of_the_users_own(tmp_path):
    (tmp_path / "size").mkdir()
    text = (CONF / "size" / "256x192.yaml").read_text().replace("[192, 256]", "[144, 192]").replace("[48, 64]", "[36, 48]")
    (tmp_path / "size" / "192x144.yaml").write_text(text.partition("published")[0])
    cfg = compose("fit", [f"hydra.searchpath=[file://{tmp_path}]", "size=192x144", "codec=dark"])
    assert (list(cfg.codec.input_size), list(cfg.codec.heatmap_size)) == ([144, 192], [36, 48])
    assert unpublished(cfg, {"codec": "dark", "size": "192x144"}) == []
