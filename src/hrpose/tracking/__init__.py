"""Track instances over frames (`OksTracker`) and smooth their keypoints (`PoseSmoother`)."""

from hrpose.tracking.assignment import match_greedy, match_hungarian
from hrpose.tracking.smoothing import OneEuroFilter, PoseSmoother
from hrpose.tracking.tracker import OksTracker

__all__ = ["OksTracker", "OneEuroFilter", "PoseSmoother", "match_greedy", "match_hungarian"]
