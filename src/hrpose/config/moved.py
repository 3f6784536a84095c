"""Names of earlier versions and what replaces them: one table for the messages and for docs/migration.md."""

from collections.abc import Mapping

MOVED: Mapping[str, str] = {
    "hrpose.backends": "hrpose.export",
    "hrpose.cli.speech": "hrpose.cli.messages",
    "hrpose.data.coco": "hrpose.annotations.coco",
    "hrpose.data.detections": "hrpose.annotations.detections",
    "hrpose.data.download": "hrpose.download.coco",
    "hrpose.data.errors": "hrpose.errors",
    "hrpose.data.fetch": "hrpose.download.http",
    "hrpose.data.images": "hrpose.media.images",
    "hrpose.data.load": "hrpose.media.load",
    "hrpose.data.mpii": "hrpose.annotations.mpii",
    "hrpose.data.mpii_truth": "hrpose.annotations.mpii_ground_truth",
    "hrpose.data.person_files": "hrpose.annotations.reader",
    "hrpose.data.photo_boxes": "hrpose.annotations.detected_boxes",
    "hrpose.data.synthetic": "hrpose.synthetic",
    "hrpose.data.video": "hrpose.media.video",
    "hrpose.data.weights": "hrpose.weights.fetch",
    "hrpose.estimator.checkpoints": "hrpose.estimator.from_weights",
    "hrpose.estimator.exported": "hrpose.estimator.exported_engine",
    "hrpose.models.load_weights": "hrpose.weights.load_weights",
    "hrpose.models.recognise": "hrpose.weights.architecture",
    "hrpose.models.save_weights": "hrpose.weights.save_weights",
    "hrpose.models.weight_files": "hrpose.weights.files",
    "hrpose.models.weight_writing": "hrpose.weights.convert",
    "hrpose.models.weights": "hrpose.weights.load",
    "hrpose.published": "hrpose.weights.published",
}
"""Dotted names of Python modules and functions, old to new; names below a module move with it."""


def new_name(target: str) -> str | None:
    """Return the present name of a moved module, class or function; None if it has not moved.

    Args:
        target: a dotted name, such as the `_target_` of a node.
    """
    for old, new in sorted(MOVED.items(), reverse=True):
        if target == old or target.startswith(f"{old}."):
            return new + target.removeprefix(old)
    return None
