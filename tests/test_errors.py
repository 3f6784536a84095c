import pytest
from torch.utils.data import DataLoader, Dataset

from hrpose.errors import DataError, MissingDataError

MESSAGE = "Expected a photo at a.jpg,\nbut got hrpose.errors.DataError: none."


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
    assert str(caught.value) == "Expected a photo at a.jpg,\nbut got"


def test_a_message_that_speaks_of_an_error_stays_whole():
    assert str(DataError(MESSAGE)) == MESSAGE
