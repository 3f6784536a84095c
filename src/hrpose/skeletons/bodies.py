"""The keypoints of data sets of bodies, in the order of their files, with the sigmas that their evaluations use."""

from hrpose.skeletons.skeleton import Skeleton

COCO = Skeleton.from_names(
    (
        "nose",
        *("left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    name="coco",
    edges=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
)
"""The seventeen keypoints of COCO; OCHuman and Human-Art annotate the same."""

MPII = Skeleton.from_names(
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    name="mpii",
    edges=(
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
        *((8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15)),
    ),
)
"""The sixteen keypoints of MPII."""

CROWDPOSE = Skeleton.from_names(
    (
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "top_head", "neck"),
    ),
    name="crowdpose",
    # The files of the data set say "head" for its top, and carry the edges of COCO, of which some lead nowhere.
    edges=(
        *((10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1)),
        *((0, 2), (1, 3), (2, 4), (3, 5), (12, 13), (1, 13), (0, 13)),
    ),
    # crowdposetools/cocoeval.py of Jeff-sjtu/CrowdPose
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
)
"""The fourteen keypoints of CrowdPose (Li et al., CVPR 2019)."""

AIC = Skeleton.from_names(
    (
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck"),
    ),
    name="aic",
    edges=(
        *((2, 1), (1, 0), (0, 13), (13, 3), (3, 4), (4, 5), (8, 7), (7, 6), (6, 9)),
        *((9, 10), (10, 11), (12, 13), (0, 6), (3, 9)),
    ),
    # Evaluation/keypoint_eval/keypoint_eval.py of AIChallenger/AI_Challenger_2017, whose delta is twice these
    sigmas=(
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941),
        *(0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
    ),
)
"""The fourteen keypoints of AI Challenger (Wu et al., 2017). Its sigmas are a third of COCO's, so its APs are low."""

JHMDB = Skeleton.from_names(
    (
        *("neck", "belly", "head", "right_shoulder", "left_shoulder", "right_hip", "left_hip"),
        *("right_elbow", "left_elbow", "right_knee", "left_knee", "right_wrist", "left_wrist"),
        *("right_ankle", "left_ankle"),
    ),
    name="jhmdb",
    edges=(
        *((13, 9), (9, 5), (5, 1), (1, 6), (6, 10), (10, 14), (1, 0), (0, 2)),
        *((0, 3), (3, 7), (7, 11), (0, 4), (4, 8), (8, 12)),
    ),
    # MMPose, configs/_base_/datasets/jhmdb.py: taken over from COCO, for the data set itself is measured by PCK
    sigmas=(
        *(0.025, 0.107, 0.025, 0.079, 0.079, 0.107, 0.107, 0.072, 0.072, 0.087, 0.087, 0.062, 0.062),
        *(0.089, 0.089),
    ),
)
"""The fifteen keypoints of JHMDB (Jhuang et al., ICCV 2013)."""

HUMANART21 = Skeleton.from_names(
    (*COCO.keypoint_names, "left_finger", "right_finger", "left_toe", "right_toe"),
    name="humanart21",
    edges=(*COCO.edges, (15, 19), (16, 20), (9, 17), (10, 18)),
    # MMPose, configs/_base_/datasets/humanart21.py; the authors' own code measures the seventeen of COCO
    sigmas=(*COCO.sigmas, 0.089, 0.089, 0.089, 0.089),
)
"""The twenty-one keypoints of Human-Art (Ju et al., CVPR 2023), in its field `keypoints_21`."""
