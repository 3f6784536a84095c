"""Convert a weight file between official, MMPose and hrpose: python scripts/convert_weights.py in.pth out.pth --to mmpose."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hrpose.weights import WeightsError, convert_weights


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Convert the weights of a pose network or a backbone. The source is recognised: an official, DarkPose, "
        "UDP-Pose, MMPose 0.x or 1.x or hrpose checkpoint, or an ImageNet backbone of the HRNet authors, torchvision or timm."
    )
    parser.add_argument("source", type=Path, help="file to read: .pth, .ckpt, .safetensors ...")
    parser.add_argument("target", type=Path, help="file to write: .pth, .pt, .ckpt or .safetensors")
    parser.add_argument(
        "--to",
        dest="form",
        choices=["official", "mmpose", "hrpose"],
        default="official",
        help="format of the target (default: %(default)s)",
    )
    parser.add_argument("--force", dest="overwrite", action="store_true", help="overwrite an existing target")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Convert the file; return the exit status."""
    try:
        print(convert_weights(**vars(parse_arguments(arguments))))
    except (WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
