"""Noisy poses of drawn people who walk."""

import numpy as np

from hrpose.structures import Poses
from hrpose.synthetic import Frame

NOISE = 0.012  # standard deviation of a keypoint, in heights of the person's box: about 2 pixels of a person of 170


def network_poses(frame: Frame, rng: np.random.Generator, *, noise: float = NOISE, missed: float = 0.0) -> Poses:
    """Return the labelled people of a frame in random order, with noisy keypoints; `instance_ids` are the true ones."""
    rows = rng.permutation(np.flatnonzero((frame.visibility > 0).any(axis=1)))
    rows = rows[rng.random(len(rows)) >= missed]
    width, height = frame.bbox[rows, 2:].T * 1.25
    width = np.maximum(width, 0.75 * height)
    shifts = rng.normal(0, noise, (len(rows), frame.keypoints.shape[1], 2)) * frame.bbox[rows, 3, None, None]
    return Poses(
        keypoints=frame.keypoints[rows] + shifts,
        keypoint_scores=np.where(frame.visibility[rows] > 0, 0.9, 0.05).astype(np.float32),
        scores=np.full(len(rows), 0.9),
        bbox_scores=np.ones(len(rows), np.float32),
        center=frame.bbox[rows, :2] + frame.bbox[rows, 2:] / 2,
        scale=np.stack([width, width / 0.75], axis=1),
        image_ids=np.ones(len(rows), np.int64),
        instance_ids=frame.person_ids[rows],
    )
