import pytest

from hrpose.config import brought_along


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["experiment=w32_256x192", "model=hrnet_tiny"],
            "model=hrnet_tiny comes with codec=dark_160x96, crops of 96x160; experiment=w32_256x192 alone has "
            "codec=heatmap_256x192, crops of 192x256. ",
        ),
        (
            ["model=deeppose_tiny"],
            "model=deeppose_tiny comes with codec=regression_160x96, crops of 96x160; experiment=tiny ",
        ),
        (["model=hrnet_w32", "model.width=16"], "model=hrnet_w32 comes with codec=heatmap_256x192, crops of 192x256; "),
    ],
)
def test_a_network_that_brings_another_codec_says_so(words, told):
    (line,) = brought_along("fit", words)
    assert line.startswith(told)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["experiment=w32_256x192"],
        ["experiment=w32_256x192", "model=hrnet_w48"],
        ["experiment=w32_256x192", "model=hrnet_tiny", "codec=dark_160x96"],
        ["experiment=w32_256x192", "model=rle_w32", "loss.residual=false"],
    ],
)
def test_what_stays_or_was_asked_for_is_not_told(words):
    assert brought_along("fit", words) == []
