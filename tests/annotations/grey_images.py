"""Small grey images for tests of the converters, and access to converted files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = (160, 120)  # width, height


def write_images(folder: Path, *names: str, size: tuple[int, int] = SIZE) -> list[Path]:
    """Write an image for each name, and create its folder."""
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((size[1], size[0], 3), 128, np.uint8))
    return files


def instances(folder: Path, split: str = "train") -> dict[str, list[dict[str, Any]]]:
    """Return the annotations of a written file by the names of their images."""
    content = json.loads((folder / f"{split}.json").read_text())
    return {
        image["file_name"]: [row for row in content["annotations"] if row["image_id"] == image["id"]]
        for image in content["images"]
    }


def category(folder: Path, split: str = "train") -> dict[str, Any]:
    """Return the first category of a written file."""
    return json.loads((folder / f"{split}.json").read_text())["categories"][0]
