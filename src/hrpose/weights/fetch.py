"""Fetch weight files once, check them, and keep them in a local cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hrpose.download.coco import progress_bars
from hrpose.download.http import DownloadError, digest_of_file, fetch
from hrpose.weights.published import PUBLISHED, cached_file, digest_of, find_published, is_address, say_by_hand, suggest

_LOGGER = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds without an answer


def fetch_weights(
    name_or_url: str, *, cache_dir: str | Path | None = None, attempts: int = 3, backoff: float = 1.0
) -> Path:
    """Return a published weight file from the local cache, or download it; a broken transfer is resumed.

    The first digits of a file's SHA-256, where its name ends in them (`hrnet_w32-36af842e.pth`), are compared, also for cached
    files.

    Args:
        name_or_url: the name of a file of docs/weights.md, with or without digest, date and suffix, or an address.
        cache_dir: of the files; the default is $HRPOSE_CACHE, or ~/.cache/hrpose.
        attempts: consecutive attempts without a new byte before giving up.
        backoff: seconds before the second attempt; doubles with each further one.

    Returns:
        The file, for `load_weights`.

    Raises:
        ValueError: if the name is not known, or the address is not that of a file.
        FileNotFoundError: if the file is not in the cache and cannot be downloaded, or the download is not that file; with the
            steps to get it manually.

    Example:
        >>> load_weights(net, fetch_weights("hrnet_w32"))  # doctest: +SKIP
    """
    name, url, file = _locate(name_or_url, cache_dir)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        if file.is_file() and not _is_damaged(file):
            return file
        if url is None:
            raise FileNotFoundError(say_by_hand(PUBLISHED[name], file))
        file.unlink(missing_ok=True)
        _LOGGER.info(
            "Fetching %s to %s. hrpose gives up after %d attempts of %.0f s without an answer.",
            *(url, file, attempts, _TIMEOUT),
        )
        try:
            with progress_bars() as report_for:
                digest = digest_of(name)
                checksum = f"sha256:{digest}" if digest else None
                fetch(
                    url,
                    file,
                    checksum=checksum,
                    attempts=attempts,
                    backoff=backoff,
                    timeout=_TIMEOUT,
                    report=report_for(name),
                )
            _refuse_page(file, url)
        except DownloadError as error:
            raise FileNotFoundError(f"{error} Or fetch {url} in another way and put it at {file}.") from error
    return file


def find_weights(text: str, *, cache_dir: str | Path | None = None) -> Path:
    """Resolve `weights=`: an existing file, else one of `fetch_weights`; for any other name its path."""
    path = Path(text)
    known = is_address(text) or find_published(text) is not None
    return fetch_weights(text, cache_dir=cache_dir) if known and not path.is_file() else path


def _locate(name_or_url: str, cache_dir: str | Path | None) -> tuple[str, str | None, Path]:
    """Return the name of a file, its address if it has one, and its place in the cache."""
    published = find_published(name_or_url)
    if published is not None:
        return published.name, published.url, cached_file(published.name, cache_dir)
    if not is_address(name_or_url):
        raise ValueError(
            "Expected the name of a published weight file (docs/weights.md lists them) or an address that begins with https://, "
            f"but got {name_or_url!r}.{suggest(name_or_url)}"
        )
    name = Path(unquote(urlsplit(name_or_url).path)).name
    if not Path(name).suffix:
        raise ValueError(
            f"Expected an address that ends in the name of a weight file (.pth, .safetensors), but got {name_or_url}."
        )
    folder = hashlib.sha256(name_or_url.encode()).hexdigest()[:8]  # files of one name at two addresses are two files
    return name, name_or_url, cached_file(f"{folder}/{name}", cache_dir)


def _is_damaged(file: Path) -> bool:
    digest = digest_of(file.name)
    return digest is not None and not digest_of_file(file, "sha256").startswith(digest)


def _refuse_page(file: Path, url: str) -> None:
    """Raise if a web page was sent in place of weights, as file-sharing sites do, and discard it."""
    with file.open("rb") as stream:
        first = stream.read(64).lstrip()[:1]
    if first in (b"<", b""):
        file.unlink()
        raise DownloadError(
            f"Expected a weight file at {url}, but got {'a web page' if first else 'nothing'}; it was discarded."
        )


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process at a time fetch a file: the others of a run wait, and find it."""
    try:
        import fcntl  # not on Windows, where two processes that start together would both fetch
    except ImportError:
        yield
        return
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
