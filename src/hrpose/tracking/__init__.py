"""Identities from frame to frame (`OksTracker`) and steady keypoints (`PoseSmoother`): arrays in, arrays out, no pixels."""

from hrpose.tracking.assignment import match_greedy, match_hungarian
from hrpose.tracking.smoothing import OneEuroFilter, PoseSmoother
from hrpose.tracking.tracker import OksTracker

__all__ = ["OksTracker", "OneEuroFilter", "PoseSmoother", "match_greedy", "match_hungarian"]
