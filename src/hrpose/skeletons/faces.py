"""The 68 points of a face, as iBUG (300-W) annotates them and COCO-WholeBody and Halpe took over.

They go from the jaw line, from the person's right ear to the left, over the brows, the nose and the eyelids to the lips. The data
sets only count them; here each has a name, so that its mirror image follows from it.
"""

FACE = (
    *(f"right_jaw_{k}" for k in range(1, 9)),
    "chin",
    *(f"left_jaw_{k}" for k in range(8, 0, -1)),
    *(f"right_brow_{k}" for k in range(1, 6)),
    *(f"left_brow_{k}" for k in range(5, 0, -1)),
    *(f"nose_bridge_{k}" for k in range(1, 5)),
    *("right_nostril_1", "right_nostril_2", "nose_base", "left_nostril_2", "left_nostril_1"),
    *(f"right_eyelid_{k}" for k in range(1, 7)),
    *(f"left_eyelid_{k}" for k in (4, 3, 2, 1, 6, 5)),
    *("right_mouth_corner", "right_upper_lip_1", "right_upper_lip_2", "upper_lip"),
    *("left_upper_lip_2", "left_upper_lip_1", "left_mouth_corner"),
    *("left_lower_lip_1", "left_lower_lip_2", "lower_lip", "right_lower_lip_2", "right_lower_lip_1"),
    *("right_inner_mouth_corner", "right_inner_upper_lip", "inner_upper_lip", "left_inner_upper_lip"),
    *("left_inner_mouth_corner", "left_inner_lower_lip", "inner_lower_lip", "right_inner_lower_lip"),
)

# Lines of a face: those that are open, and those that end where they begin.
FACE_LINES = ((0, 16), (17, 21), (22, 26), (27, 30), (31, 35))
FACE_RINGS = ((36, 41), (42, 47), (48, 59), (60, 67))
