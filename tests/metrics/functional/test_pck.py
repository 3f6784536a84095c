"""PCK by hand, PCKh against the official table."""

from pathlib import Path

import numpy as np
import pytest

from hrpose.metrics.functional import head_sizes, mean_pck, normalized_errors, pck, pckh_table


def test_official_table(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "pckh.npz")
    errors = normalized_errors(golden["preds"] + np.float32(1), golden["target"], head_sizes(golden["head_boxes"]))
    table = pckh_table(errors, golden["missing"] == 0)
    del table["Mean@0.10"]
    np.testing.assert_allclose(list(table.values()), golden["table"], rtol=1e-12)


@pytest.mark.data
def test_published_predictions_on_mpii_validation(shared_data: Path) -> None:
    data = np.load(shared_data / "mpii_pckh" / "mpii_valid_2958.npz")
    errors = normalized_errors(data["hourglass_preds_1based"], data["joints_1based"], head_sizes(data["headboxes"]))
    expected = [95.9413, 94.6841, 88.5291, 83.3823, 87.4848, 83.0944, 79.0504, 88.0354, 32.8051, 28.6469]
    np.testing.assert_allclose(list(pckh_table(errors, data["missing"] == 0).values()), expected, atol=1e-4)


def test_error_is_in_units_of_the_size() -> None:
    assert normalized_errors([[[3, 4]]], [[[0, 0]]], [10]).tolist() == [[0.5]]


def test_threshold_is_included_and_unlabelled_keypoints_are_not_counted() -> None:
    errors, labelled = [[0.5, 9.0], [0.51, 0.0]], [[True, False], [True, False]]
    np.testing.assert_array_equal(pck(errors, labelled, 0.5), [0.5, np.nan])
    assert mean_pck(errors, labelled, 0.5) == 0.5
    assert np.isnan(mean_pck(errors, np.zeros((2, 2)), 0.5))


def test_shapes_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"`sizes`.*\(N,\).*\(1, 3, 2\).*\(1,\)"):
        normalized_errors(np.zeros((1, 2, 2)), np.zeros((1, 3, 2)), [1])
    with pytest.raises(ValueError, match="`sizes` to be positive"):
        normalized_errors(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), [0])
    with pytest.raises(ValueError, match=r"`head_boxes` to be \(N, 2, 2\)"):
        head_sizes(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"\(N, 16\).*\(1, 3\)"):
        pckh_table(np.zeros((1, 3)), np.ones((1, 3)))
