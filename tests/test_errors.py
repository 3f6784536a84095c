import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from hrpose.errors import ConfigError, DataError, MissingDataError

MESSAGE = "Expected an image at a.jpg,\nbut got hrpose.errors.DataError: none."


class Broken(Dataset):
    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.kind(MESSAGE.partition("hrpose")[0])


@pytest.mark.parametrize("kind", [DataError, MissingDataError])
def test_an_error_in_a_process_of_a_loader_says_no_more_than_one_here(kind):
    with pytest.raises(kind) as caught:
        next(iter(DataLoader(Broken(kind), num_workers=1)))
    assert str(caught.value) == "Expected an image at a.jpg,\nbut got"


def test_a_message_that_speaks_of_an_error_stays_whole():
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


def test_it_is_a_value_error():
    assert issubclass(ConfigError, ValueError)
