"""Download weight files, check them, and cache them locally."""

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

logger = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds without an answer


def fetch_weights(name_or_url: str, *, cache_dir: str | Path | None = None, attempts: int = 3, backoff: float = 1.0) -> Path:
    """Return the path of a weight file in the local cache, after downloading it if necessary.

    If a file name ends in the first digits of its SHA-256 (`hrnet_w32-36af842e.pth`), they are checked, also for cached files.
    An interrupted download is resumed.

    Args:
        name_or_url: name of a file in docs/weights.md, with or without digest, date and suffix, or a URL.
        cache_dir: folder of the cache; the default is $HRPOSE_CACHE, or ~/.cache/hrpose.
        attempts: number of consecutive attempts without a new byte before failing.
        backoff: seconds before the second attempt; doubles with each further attempt.

    Raises:
        ValueError: if the name is unknown, or the URL does not end in a file name.
        FileNotFoundError: if the file is not in the cache and cannot be downloaded, with instructions.

    Example:
        >>> load_weights(net, fetch_weights("hrnet_w32"))  # doctest: +SKIP
    """
    name, url, file = _locate(name_or_url, cache_dir)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        digest = digest_of(name)
        if file.is_file() and (digest is None or digest_of_file(file, "sha256").startswith(digest)):
            return file
        if url is None:
            raise FileNotFoundError(say_by_hand(name, file))
        file.unlink(missing_ok=True)
        logger.info("Downloading %s to %s; at most %d attempts of %.0f s without an answer.", url, file, attempts, _TIMEOUT)
        try:
            with progress_bars() as report_for:
                checksum = f"sha256:{digest}" if digest else None
                fetch(url, file, checksum=checksum, attempts=attempts, backoff=backoff, timeout=_TIMEOUT, report=report_for(name))
            _refuse_page(file, url)
        except DownloadError as error:
            raise FileNotFoundError(f"{error} Or download {url} in another way and save it as {file}.") from error
    return file


def find_weights(text: str, *, cache_dir: str | Path | None = None) -> Path:
    """Return the path of `weights=`: an existing file, a file from `fetch_weights`, or the path as given."""
    path = Path(text)
    known = is_address(text) or find_published(text) is not None
    return fetch_weights(text, cache_dir=cache_dir) if known and not path.is_file() else path


def _locate(name_or_url: str, cache_dir: str | Path | None) -> tuple[str, str | None, Path]:
    """Return the name of a file, its URL if it has one, and its path in the cache."""
    published = find_published(name_or_url)
    if published is not None:
        return published, PUBLISHED[published], cached_file(published, cache_dir)
    if not is_address(name_or_url):
        raise ValueError(
            "Expected the name of a published weight file (see docs/weights.md) or a URL that begins with https://, but got "
            f"{name_or_url!r}.{suggest(name_or_url)}"
        )
    name = Path(unquote(urlsplit(name_or_url).path)).name
    if not Path(name).suffix:
        raise ValueError(f"Expected a URL that ends in the name of a weight file (.pth, .safetensors), but got {name_or_url}.")
    folder = hashlib.sha256(name_or_url.encode()).hexdigest()[:8]  # two URLs can end in the same file name
    return name, name_or_url, cached_file(f"{folder}/{name}", cache_dir)


def _refuse_page(file: Path, url: str) -> None:
    """Delete the file and raise DownloadError if it is a web page, as file-sharing sites send, or empty."""
    with file.open("rb") as stream:
        first = stream.read(64).lstrip()[:1]
    if first in (b"<", b""):
        file.unlink()
        raise DownloadError(
            f"Expected a weight file at {url}, but got {'a web page' if first else 'an empty file'}, which was deleted."
        )


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Lock a file against downloads by other processes, which wait and then find it in the cache."""
    try:
        import fcntl  # missing on Windows, where several processes may download the file
    except ImportError:
        yield
        return
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
