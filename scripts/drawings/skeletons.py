"""Draw every known skeleton of a person on a synthetic person, for docs/datasets.md.

python scripts/drawings/skeletons.py [folder]
"""

import argparse
from pathlib import Path

import numpy as np
from callouts import draw_callouts, draw_numbers
from specimen import PERSONS, draw_specimen, specimen_keypoints

from hrpose.skeletons import WHOLEBODY, Skeleton, whole_body_parts
from hrpose.visualize import save_image

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images" / "skeletons"
HEIGHT, HAND_HEIGHT = 540, 430  # pixels


def main() -> None:
    """Write one picture per skeleton of a person; Halpe has its own body keypoints and, renumbered, those of COCO-WholeBody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"folder of the pictures (default: {FOLDER})")
    folder = parser.parse_args().folder
    for name, skeleton in PERSONS.items():
        if not whole_body_parts(skeleton.keypoint_names):
            save_image(folder / f"{name}.jpg", draw_body(skeleton, list(range(skeleton.num_keypoints))))
    save_image(folder / "wholebody.jpg", draw_whole_body(WHOLEBODY))


def draw_body(skeleton: Skeleton, indices: list[int]) -> np.ndarray:
    """Draw the whole person with the names of some keypoints in columns."""
    picture, places = draw_specimen((HEIGHT * 7 // 10, HEIGHT))
    return draw_callouts(picture, specimen_keypoints(places, skeleton), skeleton, indices=indices)


def draw_whole_body(skeleton: Skeleton) -> np.ndarray:
    """Draw body and feet with their names, and face and hands enlarged with their numbers."""
    parts = whole_body_parts(skeleton.keypoint_names)
    body = draw_body(skeleton, [*parts["body"], *parts["foot"]])
    enlarged = {}
    for part, height in (("face", HEIGHT), ("right hand", HAND_HEIGHT), ("left hand", HAND_HEIGHT)):
        picture, places = draw_specimen((body.shape[1], height), part=part)
        keypoints = specimen_keypoints(places, skeleton)
        enlarged[part] = draw_numbers(picture, keypoints, skeleton, indices=parts[part])
    above, below = [body, enlarged["face"]], [enlarged["right hand"], enlarged["left hand"]]
    return np.vstack([np.hstack(above), np.hstack(below)])


if __name__ == "__main__":
    main()
