"""Compare the networks with the outputs of the official ones for the same weights and images (tests/golden).

python scripts/compare_networks.py                     all networks: a minute, mostly for HRNet-W48
python scripts/compare_networks.py hrnet_tiny_w8_k3    one network
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "weights"))

from golden_weights import TINY, draw_images, draw_weights  # noqa: E402  (shared with the tests)

from hrpose.models import HRNet, SimpleBaseline  # noqa: E402

# name: (builder, shape of the images, file of the official outputs, prefix of the arrays in it)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int], str, str]] = {
    "hrnet_tiny_w8_k3": (lambda: HRNet(**TINY), (2, 3, 96, 64), "hrnet.npz", "tiny"),
    "hrnet_w32_256x192": (lambda: HRNet(width=32), (2, 3, 256, 192), "hrnet.npz", "w32"),
    "hrnet_w48_384x288": (lambda: HRNet(width=48), (1, 3, 384, 288), "hrnet.npz", "w48"),
    "pose_resnet50_256x192": (lambda: SimpleBaseline(50), (2, 3, 256, 192), "simple_baseline.npz", "r50"),
}


def main() -> int:
    """Print one line per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", help=f"networks to compare, all by default: {', '.join(CASES)}")
    names = parser.parse_args().network or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"Expected a network of this list, but got {unknown[0]}: {', '.join(CASES)}")
    for name in names:
        largest, height, count = compare(name)
        print(f"{name}: largest difference {largest:.1e} of heatmaps up to {height:.2g}, over {count} cells")
    return 0


def compare(name: str) -> tuple[float, float, int]:
    """Run a network with the golden weights.

    Returns:
        The largest difference from the official heatmaps, the highest value of these, and the number of compared cells.
    """
    build, shape, file, prefix = CASES[name]
    golden = np.load(ROOT / "tests" / "golden" / file)
    net = build().eval()
    draw_weights(net)
    with torch.no_grad():
        found = net(draw_images(name, shape)).numpy().ravel()
    want = golden[f"{prefix}_output"].ravel()
    found = found[golden[f"{prefix}_index"]] if f"{prefix}_index" in golden else found
    return float(np.abs(found - want).max()), float(np.abs(want).max()), len(want)


if __name__ == "__main__":
    sys.exit(main())
