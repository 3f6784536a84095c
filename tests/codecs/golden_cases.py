"""Codecs and the results of the papers' code, for the tests of DARK and UDP."""

import numpy as np
import torch

from hrpose.geometry import input_from_image, invert_affine, transform_points

SIZES = {"48x64": ((192, 256), (48, 64), 2.0), "72x96": ((288, 384), (72, 96), 3.0)}


def heatmaps(golden_dir, name):
    """Return heatmaps with peaks at borders, double peaks and no positive cell, and a mask of those with a positive cell."""
    golden = np.load(golden_dir / "decode.npz")
    maps = torch.from_numpy(golden[f"{name}_heatmaps_int16_div4096"].astype(np.float32) / 4096)
    return maps, golden[f"{name}_maxvals"][..., 0] > 0


def keypoints(golden_dir, name):
    """Return keypoints in input pixels, those of the first instance near the borders, and their visibility."""
    golden = np.load(golden_dir / "targets.npz")
    return torch.from_numpy(golden[f"{name}_keypoints"]), torch.from_numpy(golden[f"{name}_visibility"])


def in_image(found, golden_dir, name, grid):
    """Map keypoints from input pixels to image pixels with the crop of a grid."""
    golden = np.load(golden_dir / "decode.npz")
    boxes = zip(golden[f"{name}_center"].astype(float), 200.0 * golden[f"{name}_scale"].astype(float), strict=True)
    crops = [input_from_image(center, scale, 0, SIZES[name][0], grid=grid) for center, scale in boxes]
    return np.stack([transform_points(one, invert_affine(crop)) for one, crop in zip(found.numpy(), crops, strict=False)])
