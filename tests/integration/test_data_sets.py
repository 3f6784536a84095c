"""Other data sets than COCO: their measurements equal the reference on what their evaluation code looks at, and training runs."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from keypoint_oracle import coco_numbers
from specimen import draw_specimen, specimen_keypoints
from whole_body import FIELDS, whole_body_content

from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataWarning
from hrpose.report import analyse
from hrpose.report.protocol import Benchmark
from hrpose.skeletons import CROWDPOSE, WHOLEBODY, whole_body_parts
from hrpose.tasks.evaluate import read_evaluated

QUIET = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning"),
]


def write(file: Path, what: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(what))
    return file


def guesses(keypoints: np.ndarray, sigmas: tuple[float, ...], area: float, rng: np.random.Generator) -> list[float]:
    """Put keypoints (K, 2) off by about as much as annotators do; [x, y, score] * K."""
    noise = rng.normal(size=keypoints.shape) * np.array(sigmas)[:, None] * np.sqrt(area) * rng.choice([0.3, 1.0, 2.0])
    return np.column_stack([keypoints + noise, rng.random(len(keypoints))]).ravel().tolist()


@pytest.fixture(scope="module")
def whole_bodies() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations and results of COCO-WholeBody, keypoints in five fields in both."""
    rng = np.random.default_rng(0)
    told, results = whole_body_content(12), []
    for number, row in enumerate(told["annotations"]):
        row |= {"bbox": [4, 6, 55, 55], "area": float(rng.choice([900.0, 2500.0, 9500.0]))}
        joined = np.array([value for field in FIELDS for value in row[field]]).reshape(-1, 3)
        row["num_keypoints"] = int((joined[:17, 2] > 0).sum())
        found = iter(guesses(joined[:, :2], WHOLEBODY.sigmas, row["area"], rng))
        parts = {field: [next(found) for _ in range(3 * count)] for field, count in FIELDS.items()}
        results.append({"image_id": row["image_id"], "category_id": 1, "score": 0.9 - 0.05 * number, **parts})
        if number % 4 == 3:
            row["lefthand_kpts"] = [0.0] * 63
            row["lefthand_valid"] = False
    return told, results


def numbers_of(
    told: dict[str, Any], results: list[dict[str, Any]], sigmas: tuple[float, ...], indices: tuple[int, ...]
) -> list[float]:
    """What the reference says of some keypoints of whole bodies, joined as the evaluation code of the data set joins them.

    That code takes the size of a prediction from `keypoints`, the body, whatever part it looks at.
    """

    def join(row: dict[str, Any]) -> dict[str, Any]:
        triplets = np.array([value for field in FIELDS for value in row[field]]).reshape(-1, 3)
        low, high = triplets[:17, :2].min(axis=0), triplets[:17, :2].max(axis=0)
        part = triplets[list(indices)]
        labelled = int((part[:, 2] > 0).sum())
        box = [*low.tolist(), *(high - low).tolist()]
        return {"bbox": box, **row, "keypoints": part.ravel().tolist(), "num_keypoints": labelled}

    people = {**told, "annotations": [join(row) for row in told["annotations"]]}
    return coco_numbers(people, [join(row) for row in results], [sigmas[k] for k in indices])


def test_whole_body_ap_and_those_of_its_parts_are_the_benchmarks(whole_bodies, tmp_path) -> None:
    told, results = whole_bodies
    files = write(tmp_path / "gt.json", told), write(tmp_path / "res.json", results)
    evaluated = read_evaluated(*files, sigmas="wholebody", files=InstanceFiles(keypoint_fields=FIELDS))
    assert evaluated.protocol.sigmas == "wholebody"
    report = analyse(evaluated, title="whole bodies", num_samples=0)
    assert list(report.measurement.numbers.values()) == numbers_of(told, results, WHOLEBODY.sigmas, tuple(range(133)))
    assert 0.1 < report.measurement.numbers["AP"] < 0.9
    parts = whole_body_parts(WHOLEBODY.keypoint_names)
    assert list(report.parts) == list(parts)
    for name, indices in parts.items():
        assert list(report.parts[name].values()) == numbers_of(told, results, WHOLEBODY.sigmas, indices), name
    assert list(report.keypoints) == list(WHOLEBODY.keypoint_names)


def test_results_with_all_keypoints_under_one_key_are_the_same(whole_bodies, tmp_path) -> None:
    told, results = whole_bodies
    joined = [
        {"image_id": row["image_id"], "category_id": 1, "score": row["score"], "keypoints": [v for f in FIELDS for v in row[f]]}
        for row in results
    ]
    gt = write(tmp_path / "gt.json", told)
    five, one = (
        read_evaluated(
            gt, write(tmp_path / f"{number}.json", rows), sigmas="wholebody", files=InstanceFiles(keypoint_fields=FIELDS)
        )
        for number, rows in enumerate((results, joined))
    )
    assert five.detections.keypoints.tolist() == one.detections.keypoints.tolist()
    assert five.keypoint_scores.tolist() == one.keypoint_scores.tolist()
    assert five.detections.areas.tolist() == one.detections.areas.tolist()
    del results[3]["foot_kpts"][:3]
    with pytest.raises(ValueError, match=r"`foot_kpts`.*18 numbers.*1.*\[3\]"):
        read_evaluated(
            gt, write(tmp_path / "short.json", results), sigmas="wholebody", files=InstanceFiles(keypoint_fields=FIELDS)
        )


def test_crowdpose_is_measured_as_its_evaluation_code_does(tmp_path) -> None:
    rng = np.random.default_rng(3)
    images = [
        {"id": 10 + i, "file_name": f"{i}.jpg", "width": 300, "height": 300, "crowdIndex": index}
        for i, index in enumerate((0.0, 0.1, 0.19, 0.2, 0.5, 0.79, 0.8, 1.0))
    ]
    people, results = [], []
    for number in range(24):
        points = rng.uniform(20, 250, 2) + rng.normal(size=(14, 2)) * 30
        corner, size = points.min(axis=0), np.ptp(points, axis=0)
        seen = rng.integers(0, 3, 14) * (number != 5)
        people.append(
            {
                "id": number + 1, "image_id": 10 + number % 8, "category_id": 1, "iscrowd": 0,
                "bbox": [*corner.tolist(), *size.tolist()], "num_keypoints": int((seen > 0).sum()),
                "keypoints": np.column_stack([points, seen]).ravel().tolist(),
            }
        )  # fmt: skip
        found = guesses(points, CROWDPOSE.sigmas, float(size.prod()), rng)
        results.append({"image_id": 10 + number % 8, "category_id": 1, "score": float(rng.random()), "keypoints": found})
    # as in the files of the data set: no area, and edges of COCO that lead to keypoints 15 to 17
    category = {"id": 1, "name": "person", "keypoints": list(CROWDPOSE.keypoint_names), "skeleton": [[16, 14], [14, 12]]}
    told = {"images": images, "annotations": people, "categories": [category]}
    files = write(tmp_path / "gt.json", told), write(tmp_path / "res.json", results)
    rules = Benchmark(name="crowdpose", use_area=False)
    evaluated = read_evaluated(*files, sigmas="crowdpose", files=InstanceFiles(area_from_bbox=0.53), rules=rules)
    assert (evaluated.protocol.sigmas, evaluated.protocol.areas) == ("crowdpose", "0.53 of the box")
    report = analyse(evaluated, title="crowds", num_samples=0)

    def reference(low: float, high: float) -> list[float]:
        chosen = {image["id"] for image in images if low <= image["crowdIndex"] < high}
        there = [{**row, "area": row["bbox"][2] * row["bbox"][3] * 0.53} for row in people if row["image_id"] in chosen]
        kept = {"images": [image for image in images if image["id"] in chosen], "annotations": there}
        return coco_numbers({**told, **kept}, [row for row in results if row["image_id"] in chosen], CROWDPOSE.sigmas)

    assert list(report.measurement.numbers.values()) == reference(0, 2)
    for name, (low, high) in {"easy": (0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, 2)}.items():
        assert list(report.crowding[name].values()) == reference(low, high), name
    assert report.crowding_images == {"easy": 3, "medium": 3, "hard": 2}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A folder in the layout of COCO-WholeBody: images of one drawn person each."""
    folder = tmp_path_factory.mktemp("whole_bodies")
    for part, count in (("train", 3), ("val", 2)):
        images, people = [], []
        for number in range(count):
            height = 130 + 10 * number
            picture, places = draw_specimen((160, height))
            keypoints = specimen_keypoints(places, WHOLEBODY).round(2)
            (folder / f"{part}2017").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{part}2017" / f"{number}.jpg"), picture[..., ::-1])
            images.append({"id": number, "file_name": f"{number}.jpg", "width": 160, "height": height})
            triplets = np.column_stack([keypoints, np.full(133, 2.0)]).ravel().tolist()
            row = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 40.0 * height}
            row["bbox"] = [30, 5, 100, height - 10]
            for field, size in FIELDS.items():
                row[field], triplets = triplets[: 3 * size], triplets[3 * size :]
            people.append({**row, "foot_valid": True, "face_valid": number > 0})
        category = whole_body_content(0)["categories"]
        told = {"images": images, "annotations": people, "categories": category}
        write(folder / "annotations" / f"coco_wholebody_{part}_v1.0.json", told)
    return folder


class TestFit:
    """`hrpose fit experiment=wholebody_w32_256x192`, with a small network for a moment."""

    pytestmark = QUIET

    @pytest.mark.trains
    def test_133_keypoints_are_learnt_measured_and_reported(self, fit, drawn, tmp_path) -> None:
        fit("experiment=wholebody_w32_256x192", f"paths.data={drawn}", "model=hrnet_tiny", "trainer.max_epochs=1")
        run = tmp_path / "run"
        rows = json.loads(next((run / "results").glob("*.json")).read_text())
        assert {len(row["keypoints"]) for row in rows} == {399}
        report = json.loads(next(run.rglob("report_gt.json")).read_text())
        assert report["protocol"]["sigmas"] == "wholebody"
        assert list(report["parts"]) == ["body", "foot", "face", "left hand", "right hand"]
        assert report["keypoints"]["right_jaw_1"]["labelled"] == 1  # the face of the other is not valid
        assert len(report["keypoints"]) == 133
