"""Draw poses, heatmaps, sheets of pictures and training curves: uint8 RGB arrays in, uint8 RGB arrays out."""

from hrpose.visualize.curves import draw_curves
from hrpose.visualize.images import save_image
from hrpose.visualize.poses import draw_poses
from hrpose.visualize.sheets import draw_crop_sheet, draw_heatmaps, draw_pose_sheet, tile

__all__ = ["draw_crop_sheet", "draw_curves", "draw_heatmaps", "draw_pose_sheet", "draw_poses", "save_image", "tile"]
