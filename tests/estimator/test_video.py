"""Instances are tracked through a video with a detector in every frame, in some frames, and without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.estimator.video import track_poses
from hrpose.media.video import VideoFrame
from hrpose.skeletons import COCO
from hrpose.structures import Poses
from hrpose.synthetic import draw_walk
from hrpose.tracking import OksTracker, PoseSmoother

WIDTH, HEIGHT = 192, 144


@pytest.fixture(scope="module")
def film():
    return list(draw_walk(num_frames=50, image_size=(WIDTH, HEIGHT), seed=0))


class Oracle:
    """A fake estimator: for each box the instance that fills it best, with noise; for an empty box a pose of low score."""

    skeleton = COCO

    def __init__(self, film):
        self.frames = {id(frame.image): frame for frame in film}
        self.num_boxes = []
        self.rng = np.random.default_rng(0)

    def __call__(self, image, *, bbox=None, bbox_xyxy=None, bbox_scores=None):
        frame = self.frames[id(image)]
        boxes = np.array([[0, 0, WIDTH, HEIGHT]]) if bbox is None else bbox
        self.num_boxes.append(None if bbox is None else len(bbox))
        rows = [self.look(frame, box) for box in boxes]
        sizes = np.maximum(boxes[:, 2], 0.75 * boxes[:, 3]) * 1.25
        points = np.array([points for points, _ in rows]).reshape(-1, 17, 2)
        scores = np.array([score for _, score in rows], np.float32).reshape(-1, 17)
        given = np.ones(len(boxes)) if bbox_scores is None else bbox_scores
        return Poses(
            keypoints=points + self.rng.normal(0, 0.8, points.shape),
            keypoint_scores=scores,
            scores=given * scores.mean(axis=1),
            bbox_scores=given.astype(np.float32),
            center=boxes[:, :2] + boxes[:, 2:] / 2,
            scale=np.stack([sizes, sizes / 0.75], axis=1),
            image_ids=np.zeros(len(boxes), np.int64),
            instance_ids=np.arange(len(boxes)),
            bbox=boxes,
            skeleton=COCO,
        )

    def look(self, frame, box):
        middles = frame.bbox[:, :2] + frame.bbox[:, 2:] / 2
        known = (frame.visibility > 0).any(axis=1)
        inside = known & (abs(middles - box[:2] - box[2:] / 2) < box[2:] / 2).all(axis=1)
        if not inside.any():
            return np.tile(box[:2] + box[2:] / 2, (17, 1)), np.full(17, 0.05)
        best = np.where(inside, -np.linalg.norm(middles - box[:2] - box[2:] / 2, axis=1), -np.inf).argmax()
        return frame.keypoints[best], np.where(frame.visibility[best] > 0, 0.9, 0.1)


def video(film):
    return [VideoFrame(frame.image, index, frame.time) for index, frame in enumerate(film)]


def detector_of(film, calls=None, limit=10**6):
    frames = {id(frame.image): frame for frame in film}

    def detect(image):
        frame = frames[id(image)]
        if calls is not None:
            calls.append(round(frame.time * 25))
        found = frame.bbox if round(frame.time * 25) < limit else np.zeros((0, 4))
        return found, np.full(len(found), 0.95)

    return detect


def who(frame, truth):
    """Return the true instance of each id, by the distance of the keypoints."""
    found = {}
    for pose in frame.poses:
        far = [
            np.linalg.norm((pose.keypoints[0] - points)[seen > 0], axis=1).mean() if (seen > 0).sum() > 4 else np.inf
            for points, seen in zip(truth.keypoints, truth.visibility, strict=True)
        ]
        if min(far, default=np.inf) < 8:
            found[int(pose.instance_ids[0])] = int(truth.person_ids[int(np.argmin(far))])
    return found


def check_identities(followed, film):
    """Check that both instances are found in most frames with the same ids."""
    people = {}
    for frame, truth in zip(followed, film, strict=True):
        for number, person in who(frame, truth).items():
            people.setdefault(number, []).append(person)
    assert all(len(set(seen)) == 1 for seen in people.values()), people
    long = {number: seen for number, seen in people.items() if len(seen) > 30}
    assert sorted(seen[0] for seen in long.values()) == [1, 2]


@pytest.mark.parametrize("matcher", ["greedy", "hungarian"])
def test_instances_are_tracked_with_a_detector(film, matcher):
    oracle = Oracle(film)
    followed = list(
        track_poses(oracle, video(film), detector=detector_of(film), tracker=OksTracker(COCO.sigmas, matcher=matcher))
    )
    check_identities(followed, film)
    assert [frame.index for frame in followed] == list(range(50))
    assert all((frame.poses.image_ids == frame.index).all() for frame in followed)
    assert max(oracle.num_boxes) <= 3  # detected and propagated boxes of one person are one box


def test_the_detector_may_run_in_some_frames_only(film):
    calls = []
    followed = list(track_poses(Oracle(film), video(film), detector=detector_of(film, calls), detect_every=5))
    check_identities(followed, film)
    assert set(range(0, 50, 5)) <= set(calls)
    assert len(calls) <= 15  # it also looks while one of the two hides the other


def test_instances_are_tracked_from_boxes_of_the_first_frame(film):
    """Later boxes are those of the tracked poses."""
    start = 8
    followed = list(track_poses(Oracle(film), video(film)[start:], bbox=film[start].bbox))
    check_identities(followed, film[start:])


def test_without_boxes_the_whole_frame_is_the_box(film):
    oracle = Oracle(film)
    followed = list(track_poses(oracle, video(film)[:3]))
    assert oracle.num_boxes[0] is None
    assert oracle.num_boxes[1:] == [1, 1]  # then an instance is tracked
    assert len({int(frame.poses.instance_ids[0]) for frame in followed}) == 1


def test_without_detections_there_are_no_poses(film):
    oracle = Oracle(film)
    followed = list(track_poses(oracle, video(film)[:2], detector=detector_of(film, limit=0)))
    assert oracle.num_boxes == [0, 0]
    assert [len(frame.poses) for frame in followed] == [0, 0]


def test_tracks_end_soon_after_an_instance_has_left(film):
    """A box without instance gives a pose of low score, which is dropped, and the track ends a second later."""
    gone = [VideoFrame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 10 + step, film[9].time + 0.1 * (step + 1)) for step in range(15)]
    oracle = Oracle(film)
    empty = film[0].keypoints[:0], film[0].visibility[:0]
    for frame in gone:
        oracle.frames[id(frame.image)] = type(film[0])(frame.image, frame.time, np.zeros(0, int), *empty, np.zeros((0, 4)))
    followed = list(track_poses(oracle, video(film)[:10] + gone, bbox=film[0].bbox))
    assert all(len(frame.poses) == 0 for frame in followed[10:])
    assert oracle.num_boxes[10:12] == [2, None]  # the boxes have no instance, so the whole frame is the box
    assert oracle.num_boxes[-1] is None


def test_returned_keypoints_are_smoothed(film):
    plain = list(track_poses(Oracle(film), video(film)[8:20], detector=detector_of(film)))
    smooth = list(track_poses(Oracle(film), video(film)[8:20], detector=detector_of(film), smoother=PoseSmoother()))
    np.testing.assert_array_equal(plain[0].poses.keypoints, smooth[0].poses.keypoints)
    assert (plain[5].poses.keypoints != smooth[5].poses.keypoints).any()
    for one, two in zip(plain, smooth, strict=True):
        np.testing.assert_array_equal(one.poses.instance_ids, two.poses.instance_ids)


def test_frames_are_read_one_at_a_time(film):
    taken = []

    def frames():
        for frame in video(film):
            taken.append(frame.index)
            yield frame

    followed = track_poses(Oracle(film), frames(), detector=detector_of(film))
    next(followed)
    next(followed)
    assert taken == [0, 1]


def test_invalid_arguments_and_detections_are_refused(film):
    with pytest.raises(ValueError, match=r"`detect_every`.*1"):
        next(track_poses(Oracle(film), video(film), detect_every=0))
    for found, message in (
        (None, "Expected the detector to return a pair"),
        ((None, None), "boxes of the detector, but got None"),
        ((np.zeros((2, 5)), np.zeros(2)), r"boxes cannot be used. Expected `bbox` to be \(N, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            next(track_poses(Oracle(film), video(film), detector=lambda image, found=found: found))


class Constant:
    """A fake network with the same score for every keypoint of an instance, and a low one for an empty box."""

    skeleton = COCO

    def __init__(self, score, hidden=(), moved_at=None):
        self.score, self.hidden, self.moved_at = score, hidden, moved_at
        self.pose = np.random.default_rng(0).uniform(0, 1, (17, 2)) * [40, 90]
        self.detected = []

    def corner(self, index):
        return np.array([120.0, 30.0] if self.moved_at is not None and index >= self.moved_at else [20.0, 30.0])

    def __call__(self, image, *, bbox=None, bbox_scores=None):
        boxes = np.array([[0.0, 0, WIDTH, HEIGHT]]) if bbox is None else bbox
        given = np.ones(len(boxes), np.float32) if bbox_scores is None else np.float32(bbox_scores)
        index = int(image[0, 0, 0])
        points = self.pose + self.corner(index)
        middle = points.mean(axis=0)
        inside = (abs(middle - boxes[:, :2] - boxes[:, 2:] / 2) < boxes[:, 2:] / 2).all(axis=1)
        score = np.where(inside & (index not in self.hidden), self.score, 0.01).astype(np.float32)
        return Poses(
            keypoints=np.tile(points, (len(boxes), 1, 1)),
            keypoint_scores=np.repeat(score[:, None], 17, axis=1),
            scores=given.astype(np.float64) * score,
            bbox_scores=given,
            center=boxes[:, :2] + boxes[:, 2:] / 2,
            scale=boxes[:, 2:] * 1.25,
            image_ids=np.zeros(len(boxes), np.int64),
            instance_ids=np.arange(len(boxes)),
            bbox=boxes,
            skeleton=COCO,
        )

    def detector(self, score):
        def detect(image):
            index = int(image[0, 0, 0])
            self.detected.append(index)
            there = index not in self.hidden
            box = np.array([[*self.corner(index), 40.0, 90.0]])[: int(there)]
            return box, np.array([score(index)])[: int(there)]

        return detect


def frames_numbered(count):
    return [VideoFrame(np.full((HEIGHT, WIDTH, 3), index, np.uint8), index, index / 25) for index in range(count)]


@settings(max_examples=25, deadline=None)
@given(
    score=st.floats(0.2, 1.0),
    box_score=st.none() | st.floats(0.3, 1.0),
    detect_every=st.integers(1, 12),
    given_boxes=st.booleans(),
)
def test_a_tracked_instance_has_the_same_score_in_every_frame(score, box_score, detect_every, given_boxes):
    network = Constant(score)
    detector = None if box_score is None else network.detector(lambda index: box_score)
    boxes = [[20, 30, 40, 90]] if given_boxes and detector is None else None
    followed = track_poses(network, frames_numbered(15), detector=detector, detect_every=detect_every, bbox=boxes, min_score=0.05)
    expected = np.float64(np.float32(1.0 if box_score is None else box_score)) * np.float32(score)
    for frame in followed:
        assert frame.poses.instance_ids.tolist() == [1]
        assert frame.poses.scores == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("detects", [False, True])
@pytest.mark.parametrize("score", [0.1, 0.2, 0.5])  # keypoints below 0.2 are not compared
def test_a_score_at_the_threshold_is_found_in_every_frame(detects, score):
    network = Constant(score)
    detector = network.detector(lambda index: 1.0) if detects else None
    followed = track_poses(network, frames_numbered(20), detector=detector, detect_every=7, min_score=score)
    assert [len(frame.poses) for frame in followed] == [1] * 20


def test_a_tracked_instance_keeps_the_last_score_of_the_detector():
    network = Constant(0.8)
    scores = {0: 0.9, 5: 0.5, 10: 0.7}
    followed = track_poses(network, frames_numbered(15), detector=network.detector(scores.get), detect_every=5)
    found = [float(frame.poses.bbox_scores[0]) for frame in followed]
    np.testing.assert_allclose(found, [0.9] * 5 + [0.5] * 5 + [0.7] * 5, rtol=1e-6)
    assert network.detected == [0, 5, 10]


@pytest.mark.parametrize("detects", [False, True])
@pytest.mark.parametrize("detect_every", [1, 10, 100])
def test_a_hidden_instance_is_found_in_the_first_frame_that_shows_it(detects, detect_every):
    network = Constant(0.44, hidden=range(13, 19))
    detector = network.detector(lambda index: 0.9) if detects else None
    followed = list(track_poses(network, frames_numbered(30), detector=detector, detect_every=detect_every))
    assert [len(frame.poses) for frame in followed] == [index not in range(13, 19) for index in range(30)]
    assert {number for frame in followed for number in frame.poses.instance_ids.tolist()} == {1}


def test_a_frame_with_a_lost_instance_is_detected_again():
    """The instance jumps out of its expected box."""
    network = Constant(0.44, moved_at=13)
    detector = network.detector(lambda index: 0.9)
    followed = list(track_poses(network, frames_numbered(30), detector=detector, detect_every=10))
    assert [len(frame.poses) for frame in followed] == [1] * 30
    assert followed[13].poses.keypoints[0].mean(axis=0)[0] > 100
    assert 13 in network.detected
    alone = list(track_poses(network, frames_numbered(30)))
    assert [len(frame.poses) for frame in alone] == [1] * 30
