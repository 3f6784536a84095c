"""The folder of the configuration files, found without Hydra, so that `hrpose <verb> --help` answers at once."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """Find the folder with the configuration files: the installed package's own, or that of the checkout.

    Raises:
        FileNotFoundError: there is neither.
    """
    places = (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")
    for place in places:
        if (place / "fit.yaml").is_file():
            return place
    raise FileNotFoundError(
        f"The conf folder is neither at {places[0]} nor at {places[1]}: the installation is incomplete."
    )
