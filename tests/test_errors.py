import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from hrpose.errors import ConfigError, DataError, MissingDataError, check_choice, check_counts, check_positive

MESSAGE = "Expected an image at a.jpg,\nbut got hrpose.errors.DataError: none."


class Broken(Dataset):
    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.kind(MESSAGE.partition("hrpose")[0])


@pytest.mark.parametrize("kind", [DataError, MissingDataError])
def test_an_error_of_a_loader_process_has_the_message_only(kind):
    with pytest.raises(kind) as caught:
        next(iter(DataLoader(Broken(kind), num_workers=1)))
    assert str(caught.value) == "Expected an image at a.jpg,\nbut got"


def test_a_message_with_the_name_of_an_error_is_not_cut():
    assert str(DataError(MESSAGE)) == MESSAGE


def test_one_fault_is_the_whole_message():
    assert str(ConfigError("optim.lr: too high")) == "optim.lr: too high"


def test_several_faults_are_counted_and_listed():
    error = ConfigError("a: first", "b: second\nof two lines")
    assert str(error) == "2 faults in the configuration:\n  - a: first\n  - b: second\n    of two lines"
    assert error.faults == ("a: first", "b: second\nof two lines")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ConfigError("a: first", "b: second")))
    assert error.faults == ("a: first", "b: second")


def test_a_config_error_is_a_value_error():
    assert issubclass(ConfigError, ValueError)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_an_invalid_count_is_refused_with_its_name(value):
    check_counts(width=1, num_blocks=10**6)
    with pytest.raises(ValueError, match=f"`num_blocks`.* 1.*{value!r}"):
        check_counts(width=4, num_blocks=value)


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), True, "3"])
def test_a_number_that_is_not_positive_is_refused_with_its_name(value):
    check_positive("sigma", 1e-9, "cells")
    with pytest.raises(ValueError, match=f"`sigma`.*cells.*{value!r}"):
        check_positive("sigma", value, "cells")


def test_an_unknown_choice_is_refused_with_the_choices():
    check_choice("depth", 18, (18, 34))
    with pytest.raises(ValueError, match=r"`depth`.*18, 34.*50"):
        check_choice("depth", 50, (18, 34))
