import pickle

import pytest

from hrpose.config.errors import ConfigError, did_you_mean


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


@pytest.mark.parametrize(
    ("name", "choices", "advice"),
    [
        ("lrr", ["lr", "betas"], " Did you mean lr?"),
        ("optim.lrr", ["optim.lr", "optim.eps", "optim"], " Did you mean optim.lr?"),
        ("optm.lr", ["optim.lr", "optim.eps"], " Did you mean optim.lr?"),
        ("lr", ["optim.lr", "optim.eps"], " Did you mean optim.lr?"),
        ("w32", ["tiny", "w32_256x192", "w32_384x288"], " Did you mean w32_256x192, or w32_384x288?"),
        ("hrnet_w31", ["hrnet_w32", "hrnet_w18", "hrnet_tiny"], " Did you mean hrnet_w32, or hrnet_w18?"),
        ("nothing", ["lr", "betas"], ""),
        ("lr", [], ""),
    ],
)
def test_the_closest_choices_are_proposed(name, choices, advice):
    assert did_you_mean(name, choices) == advice


def test_a_prefix_goes_before_every_choice():
    assert did_you_mean("Adm", ["Adam"], prefix="torch.optim.") == " Did you mean torch.optim.Adam?"
