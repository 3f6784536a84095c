import pytest

from hrpose.config import brought_along


@pytest.mark.parametrize(
    ("words", "selected", "alone"),
    [
        (["experiment=w32_256x192", "model=hrnet_tiny"], "codec=dark size=160x96", "codec=heatmap size=256x192"),
        (["experiment=w32_256x192", "model=hrnet_tiny", "codec=udp"], "size=160x96", "size=256x192"),
        (["experiment=w32_384x288", "model=rle_w32"], "codec=regression", "codec=heatmap"),
        (["model=hrnet_w32", "model.width=16"], "codec=heatmap size=256x192", "codec=dark size=160x96"),
    ],
)
def test_a_network_that_selects_another_codec_or_size_says_so(words, selected, alone):
    (line,) = brought_along("fit", words)
    assert f"selects {selected};" in line
    assert f"alone has {alone}." in line


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["experiment=w32_256x192"],
        ["experiment=w32_256x192", "model=hrnet_w48"],
        ["experiment=w32_256x192", "model=hrnet_tiny", "codec=dark", "size=160x96"],
        ["experiment=w32_256x192", "model=rle_w32", "loss.residual=false"],
    ],
)
def test_what_stays_or_was_asked_for_is_not_told(words):
    assert brought_along("fit", words) == []
