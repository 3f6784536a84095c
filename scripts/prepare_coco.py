"""Download and unpack COCO 2017: python scripts/prepare_coco.py datasets/coco."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hrpose.download.coco import COCO_URL, DETECTIONS_LINKS, prepare_coco
from hrpose.download.http import DownloadError


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Download and unpack COCO 2017. It can be interrupted; the same command resumes it.",
        epilog=f"Download the person detections of the paper manually from {' or '.join(DETECTIONS_LINKS)}",
    )
    parser.add_argument("data_dir", type=Path, help="folder of the dataset, e.g. datasets/coco")
    parser.add_argument("--splits", nargs="+", choices=["val", "train"], default=["val", "train"], help="image sets to download")
    parser.add_argument("--base-url", default=COCO_URL, help="COCO server or a mirror (default: %(default)s)")
    parser.add_argument("--detections-url", help="direct URL of the person detections, if you have one")
    parser.add_argument("--keep-archives", action="store_true", help="keep the zip files after unpacking")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Prepare the dataset; return the exit status."""
    options = vars(parse_arguments(arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(prepare_coco(options.pop("data_dir"), **options))
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command resumes.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
