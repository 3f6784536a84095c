"""Track instances over frames (`OksTracker`) and smooth their keypoints (`PoseSmoother`)."""

from hrpose.tracking.smoothing import OneEuroFilter, PoseSmoother
from hrpose.tracking.tracker import OksTracker, match_greedy, match_hungarian

__all__ = ["OksTracker", "OneEuroFilter", "PoseSmoother", "match_greedy", "match_hungarian"]
