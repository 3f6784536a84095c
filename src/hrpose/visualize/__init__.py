"""Draw poses, heatmaps, sheets of pictures and training curves: uint8 RGB arrays in, uint8 RGB arrays out."""

from hrpose.visualize.curves import draw_curves
from hrpose.visualize.pictures import save_image, tile
from hrpose.visualize.poses import PosePainter, draw_poses
from hrpose.visualize.sheets import draw_crop_sheet, draw_heatmaps, draw_pose_sheet

__all__ = [
    "PosePainter",
    "draw_crop_sheet",
    "draw_curves",
    "draw_heatmaps",
    "draw_pose_sheet",
    "draw_poses",
    "save_image",
    "tile",
]
