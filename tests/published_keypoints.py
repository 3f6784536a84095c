"""What several data sets share: the pairs and sigmas of COCO; and how the edges of a skeleton hang together."""

from hrpose.skeletons import Skeleton

COCO_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


def pieces(skeleton: Skeleton, keypoints: set[int]) -> int:
    """Count the parts into which the edges among some keypoints leave them."""
    piece = {k: k for k in keypoints}
    for start, end in skeleton.edges:
        if start in keypoints and end in keypoints:
            old, new = piece[start], piece[end]
            piece = {k: new if name == old else name for k, name in piece.items()}
    return len(set(piece.values()))
