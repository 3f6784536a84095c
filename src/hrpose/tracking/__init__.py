"""Who is who from frame to frame, and steady keypoints: arrays in, arrays out, with numpy alone.

`OksTracker` gives people their numbers, `PoseSmoother` takes the jitter out of their keypoints. Neither sees a pixel.
"""

from hrpose.tracking.assignment import match_greedy, match_hungarian
from hrpose.tracking.smoothing import OneEuroFilter, PoseSmoother
from hrpose.tracking.tracker import OksTracker

__all__ = ["OksTracker", "OneEuroFilter", "PoseSmoother", "match_greedy", "match_hungarian"]
