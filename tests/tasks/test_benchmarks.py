"""The protocols of benchmarks give the numbers of the benchmarks' tools to the bit; `drawn_benchmarks` has the recipe."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_benchmarks import draw, draw_jhmdb
from scipy.io import savemat
from tiny_mpii import write_dataset as write_mpii

from hrpose.annotations.coco import forget_annotations
from hrpose.config import compose
from hrpose.errors import DataWarning
from hrpose.report import Report, analyse
from hrpose.skeletons import COCO
from hrpose.tasks.evaluate import ScoreResult, read_evaluated, read_options
from hrpose.tasks.evaluate import evaluate as evaluate_verb

TEN = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
OF_CROWDPOSE = ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard")
# xtcocotools 1.14.3 with numpy 1.26.4: see drawn_benchmarks.py
EXPECTED = {
    ("crowdpose", ""): [
        0.4839955945682236,
        0.6609277275782952,
        0.378545373334326,
        0.6204081632653061,
        0.7346938775510204,
        0.5510204081632653,
        0.3473,
        0.5785,
        0.523,
    ],
    ("ochuman", ""): [
        0.4370388104476489,
        0.6393535376051677,
        0.4486978941796619,
        0.5388358380762827,
        0.3224434261375989,
        0.5814814814814815,
        0.7222222222222222,
        0.5925925925925926,
        0.5973684210526315,
        0.5799999999999998,
    ],
    ("humanart", ""): [
        0.3384905280521256,
        0.548831842528901,
        0.3594506513456548,
        0.4774772244058054,
        0.07861016709298597,
        0.5777777777777778,
        0.7777777777777778,
        0.6,
        0.6342857142857143,
        0.3375,
    ],
    ("aic", ""): [
        0.1397052350319511,
        0.1835624250684178,
        0.1634416629922102,
        0.12633741945623134,
        0.2025303486870426,
        0.3307692307692308,
        0.40384615384615385,
        0.36538461538461536,
        0.303030303030303,
        0.32352941176470584,
    ],
    ("wholebody", "wholebody"): [
        0.10987606540021069,
        0.2011881188118812,
        0.1137113711371137,
        0.14222263572511096,
        0.09391708736090999,
        0.29811320754716986,
        0.4339622641509434,
        0.32075471698113206,
        0.2837837837837838,
        0.33125,
    ],
    ("wholebody", "body"): [
        0.2648364123318508,
        0.4533285981659391,
        0.25119829798406546,
        0.31212395286070294,
        0.22879925127544903,
        0.4603773584905661,
        0.6226415094339622,
        0.4528301886792453,
        0.44324324324324327,
        0.5,
    ],
    ("wholebody", "foot"): [
        0.3638834420317345,
        0.4562380975492507,
        0.37502897242187344,
        0.3670100374699124,
        0.40520687362853935,
        0.5542857142857143,
        0.6285714285714286,
        0.5714285714285714,
        0.5571428571428572,
        0.55,
    ],
    ("wholebody", "face"): [
        0.05656620472198706,
        0.11563394191081512,
        0.027734420500873613,
        0.039652094185705436,
        0.10297428062133944,
        0.190625,
        0.28125,
        0.15625,
        0.1318181818181818,
        0.32,
    ],
    ("wholebody", "lefthand"): [
        0.16546277251973507,
        0.24241894777713066,
        0.14884488448844885,
        0.1622598787098293,
        0.17173295060598495,
        0.3175,
        0.425,
        0.3,
        0.29642857142857143,
        0.36666666666666664,
    ],
    ("wholebody", "righthand"): [
        0.1289121590378199,
        0.24054834054834048,
        0.10936093609360938,
        0.12151675801064268,
        0.19954738330975957,
        0.2764705882352941,
        0.4411764705882353,
        0.2647058823529412,
        0.24230769230769228,
        0.3875,
    ],
}
PARTS = {"lefthand": "left hand", "righthand": "right hand"}


def measure(folder: Path, benchmark: str, *overrides: str, gt: Any = None, results: Any = None) -> Report:
    """Measure the drawn results with the options of `hrpose evaluate protocol=<benchmark>`."""
    drawn = draw(benchmark if benchmark != "auto" else "crowdpose")
    for name, content in (("gt", gt or drawn[0]), ("res", results or drawn[1])):
        (folder / f"{name}.json").write_text(json.dumps(content))
    files = [f"annotations={folder / 'gt.json'}", f"results={folder / 'res.json'}"]
    cfg = compose("evaluate", [*files, f"protocol={benchmark}", *overrides])
    return analyse(read_evaluated(cfg.annotations, cfg.results, **read_options(cfg)), title="", num_samples=0)


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
@pytest.mark.parametrize("benchmark", ["crowdpose", "ochuman", "humanart", "aic"])
def test_numbers_are_those_of_the_benchmarks_tool(benchmark: str, tmp_path: Path) -> None:
    numbers = measure(tmp_path, benchmark).measurement.numbers
    names = OF_CROWDPOSE if benchmark == "crowdpose" else TEN
    assert [numbers[name] for name in names] == EXPECTED[benchmark, ""]


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
def test_whole_body_and_its_parts_are_those_of_the_benchmarks_tool(tmp_path: Path) -> None:
    report = measure(tmp_path, "wholebody")
    found = {"wholebody": report.measurement.numbers, **{part: report.parts[part] for part in report.parts}}
    for (_, part), expected in list(EXPECTED.items())[4:]:
        row = found[PARTS.get(part, part)]
        assert [row[name] for name in TEN] == expected, part


JHMDB = {
    "Head PCK": 0.8333333333333334,
    "Sho PCK": 0.8583333333333334,
    "Ank PCK": 0.8229166666666667,
    "PCK": 0.8283003352856294,
    "Head tPCK": 0.7,
    "Sho tPCK": 0.6583333333333334,
    "Ank tPCK": 0.5645833333333333,
    "tPCK": 0.5914434258551906,
}


def evaluate(folder: Path, benchmark: str, gt: Any, results: Any) -> ScoreResult:
    """Run `hrpose evaluate protocol=<benchmark>` in this process; it opens no job."""
    for name, content in (("gt", gt), ("res", results)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    files = [f"annotations={folder / 'gt.json'}", f"results={folder / 'res.json'}", f"paths.run={folder / 'run'}"]
    return evaluate_verb(compose("evaluate", [*files, f"protocol={benchmark}"]))


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
def test_pck_of_jhmdb_is_that_of_mmpose(tmp_path: Path) -> None:
    result = evaluate(tmp_path, "jhmdb", *draw_jhmdb())
    assert {name: result.numbers[name] for name in JHMDB} == JHMDB
    assert result.score == JHMDB["PCK"]
    written = json.loads((tmp_path / "run/pck.json").read_text())
    assert (written["protocol"]["name"], written["numbers"]["tPCK"]) == ("jhmdb", JHMDB["tPCK"])


@pytest.mark.parametrize("form", ["rows", "mat"])
def test_pckh_of_mpii_is_that_of_the_hrnet_authors(form: str, golden_dir: Path, tmp_path: Path) -> None:
    golden = np.load(golden_dir / "pckh.npz")
    truth = tmp_path / "gt_valid.npz"
    np.savez(truth, joints_1based=golden["target"], missing=golden["missing"], headboxes=golden["head_boxes"])
    rows = [{"entry": k, "keypoints": [v for p in points for v in (*p, 1)]} for k, points in enumerate(golden["preds"].tolist())]
    results = tmp_path / ("pred.mat" if form == "mat" else "rows.json")
    if form == "mat":
        savemat(results, {"preds": golden["preds"] + np.float32(1)})
    else:
        results.write_text(json.dumps(rows[::-1]))
    files = [f"annotations={truth}", f"results={results}", f"paths.run={tmp_path / 'run'}"]
    result = evaluate_verb(compose("evaluate", [*files, "protocol=mpii"]))
    numbers = {name: value for name, value in result.numbers.items() if name != "Mean@0.10"}
    np.testing.assert_allclose(list(numbers.values()), golden["table"], rtol=1e-6)
    assert result.score == result.numbers["Mean"]


def test_pckh_names_the_rows_at_fault_and_finds_the_ground_truth_of_valid_json(tmp_path: Path) -> None:
    folder = write_mpii(tmp_path, count=3) / "annot"
    results = tmp_path / "rows.json"
    rows = [{"entry": k, "keypoints": [1.0, 2.0, 0.5] * 16} for k in range(3)]
    files = [f"annotations={folder / 'valid.json'}", f"results={results}", f"paths.run={tmp_path / 'run'}"]
    cfg = compose("evaluate", [*files, "protocol=mpii"])
    faults = {"every entry once": rows[:1] * 2, "entries from 0 to 2": [{**rows[0], "entry": 3}], "`keypoints`": [{"entry": 0}]}
    for message, content in faults.items():
        results.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            evaluate_verb(cfg)
    results.write_text(json.dumps(rows[:2]))
    evaluate_verb(cfg)
    assert json.loads((tmp_path / "run/pckh.json").read_text())["protocol"]["ground_truth"]["name"] == "gt_valid.npz"
    with pytest.raises(ValueError, match="head boxes"):
        evaluate_verb(compose("evaluate", [f"annotations={results}", *files[1:], "protocol=mpii"]))


@pytest.mark.parametrize(("benchmark", "words"), [("crowdpose", "0.53 of the box"), ("wholebody", "133 keypoints")])
def test_a_file_of_another_benchmark_is_one_warning(benchmark: str, words: str, tmp_path: Path) -> None:
    gt, results = draw(benchmark)
    sigmas = "sigmas=crowdpose" if benchmark == "crowdpose" else "sigmas=coco"
    for protocol, count in (("auto", 1), (benchmark, 0)):
        forget_annotations()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            measure(tmp_path, protocol, *([sigmas] if protocol == "auto" else []), gt=gt, results=results)
        lines = [str(warning.message) for warning in caught if f"protocol={benchmark}" in str(warning.message)]
        assert len(lines) == count
        assert all(words in line for line in lines)


@pytest.mark.filterwarnings("ignore:.*num_keypoints", "ignore:.*seems to be")
def test_missing_areas_of_crowdpose_suggest_its_protocol(tmp_path: Path) -> None:
    gt, results = draw("crowdpose")
    for row in gt["annotations"]:
        del row["area"]
    with pytest.warns(DataWarning, match=r"no `area`.*protocol=crowdpose.*\b0\.53\b"):
        measure(tmp_path, "auto", "sigmas=crowdpose", gt=gt, results=results)


@pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning")
def test_explicit_sigmas_and_areas_are_used_and_stated(tmp_path: Path) -> None:
    own = measure(tmp_path, "crowdpose").measurement
    other = measure(tmp_path, "crowdpose", "sigmas=aic", "area_from_bbox=0.7").measurement
    stamps = [(each.protocol.name, each.protocol.sigmas, each.protocol.areas) for each in (own, other)]
    assert stamps == [("crowdpose", "crowdpose", "0.53 of the box"), ("crowdpose", "aic", "0.7 of the box")]
    assert own.numbers["AP"] != other.numbers["AP"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda r: r * 3, "above 1"), (lambda r: r, "sigmas"), (None, "between 0 and 1")],
    ids=["scores", "sigmas", "coordinates"],
)
def test_implausible_numbers_are_one_warning(change: Any, words: str, tmp_path: Path) -> None:
    gt, results = draw("ochuman")
    for row in results:
        triplets = np.array(row["keypoints"]).reshape(-1, 3)
        if change is None:
            triplets[:, :2] = np.abs(triplets[:, :2] / 10_000)
        else:
            triplets[:, 2] = change(triplets[:, 2])
        row["keypoints"] = triplets.ravel().tolist()
    sigmas = f"sigmas=[{','.join(str(10 * s) for s in COCO.sigmas)}]" if words == "sigmas" else "sigmas=coco"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(tmp_path, "coco", sigmas, gt=gt, results=results)
    lines = [text for warning in caught if "num_keypoints" not in (text := str(warning.message))]
    assert len(lines) == 1
    assert words in lines[0]
