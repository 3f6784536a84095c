"""`hrpose bench codecs` prints a table and returns its rows."""

import pytest

from hrpose.codecs import HeatmapCodec, UdpCodec
from hrpose.tasks.bench_codecs import bench_codecs

SIZES = ((96, 128), (24, 32))


def test_the_table_tells_the_codecs_apart(capsys):
    codecs = {"paper": HeatmapCodec(*SIZES, sigma=2), "udp": UdpCodec(*SIZES)}
    rows = {row["codec"]: row for row in bench_codecs(codecs=codecs, num_points=200, repeats=1)}
    assert rows["paper"]["clean"] > 1 > 0.02 > rows["udp"]["clean"]
    for row in rows.values():
        assert row["noisy"] > row["clean"]
        assert row["decode_us"] > 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in codecs)
    assert "0.05 of the height" in printed


def test_repeats_are_checked():
    with pytest.raises(ValueError, match="`repeats` to be at least 1, but got 0"):
        bench_codecs(codecs={}, repeats=0)
