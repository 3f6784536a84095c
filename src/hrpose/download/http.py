"""Fetch one large file over HTTP: resumed where it broke off, checked, and renamed into place only when it is whole.

While it grows, ``photos.zip`` is called ``photos.zip.part``; ``photos.zip.part.json`` beside it says which version
of the file on the server those bytes belong to. Needs nothing but the standard library.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hrpose.files import dumps

logger = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_LONGEST_WAIT = 60.0  # seconds between two attempts
_BUSY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # a later attempt may succeed
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class DownloadError(RuntimeError):
    """A file could not be fetched or unpacked; the message names the file, the reason and the next step."""


class Report(Protocol):
    """Receives progress: the step at hand, the bytes done so far and the bytes in all, where known."""

    def __call__(self, step: str, done: int, total: int | None, /) -> None:
        """Take note that ``done`` of ``total`` bytes of ``step`` are done."""


class _TransientError(Exception):
    """A failure after which another attempt may succeed."""


def silent(step: str, done: int, total: int | None, /) -> None:
    """Ignore progress."""


def fetch(
    url: str,
    file: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    attempts: int = 6,
    backoff: float = 1.0,
    timeout: float = 30.0,
    report: Report = silent,
) -> Path:
    """Download ``url`` to ``file``, and resume an earlier call that was interrupted.

    A file that exists (and has ``size`` bytes, where given) is left alone. A broken transfer is resumed with an HTTP range
    request; if the server does not support ranges, or the file has changed there meanwhile (ETag, Last-Modified, length), it
    starts again from byte 0.

    Args:
        url: an ``http://`` or ``https://`` address.
        file: of the download; its folder is created.
        size: the expected number of bytes.
        checksum: the expected digest or its first digits, as ``"md5:<hex>"`` or ``"sha256:<hex>"``.
        attempts: consecutive attempts without a new byte before giving up.
        backoff: seconds before the second attempt; doubles with each further one.
        timeout: seconds of silence after which a connection counts as broken.
        report: called with ``("download" | "check", bytes done, bytes in all)``.

    Returns:
        ``file``.

    Raises:
        DownloadError: no connection, a refused request, a wrong size or digest, or a full disk.
    """
    if file.is_file() and size in (None, file.stat().st_size):
        return file
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"Expected an address that begins with http:// or https://, but got {url!r}.")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(file.with_name(file.name + ".part"), url)
    furthest, failures = partial.num_bytes, 0
    while True:
        try:
            _transfer(partial, size=size, timeout=timeout, report=report)
            break
        except _TransientError as error:
            failures = 0 if partial.num_bytes > furthest else failures + 1
            furthest = max(furthest, partial.num_bytes)
            if failures >= attempts:
                raise DownloadError(
                    f"Gave up on {url} after {attempts} attempts: {error}. {partial.num_bytes:,} bytes are kept in "
                    f"{partial.file}; check the network and run the same command again to go on from there."
                ) from error
            wait = min(backoff * 2 ** max(failures - 1, 0), _LONGEST_WAIT)
            logger.warning("%s: %s; trying again in %.0f s", url, error, wait)
            time.sleep(wait)
    _check(partial, size=size, checksum=checksum, report=report)
    partial.finish(file)
    return file


def require_space(folder: Path, num_bytes: int, purpose: str) -> None:
    """Raise DownloadError unless the disk of ``folder`` has ``num_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise DownloadError(
            f"{purpose} needs {num_bytes / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free. "
            "Make room or choose another folder."
        )


@dataclass(frozen=True)
class _Version:
    """What identifies a file on a server: address, ETag, date and length."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """The value for If-Range; a weak ETag may not stand there (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class _Partial:
    """The bytes fetched so far, and the version of the remote file that they belong to."""

    def __init__(self, file: Path, url: str) -> None:
        self.file = file
        self.url = url
        self._version_file = file.with_name(file.name + ".json")

    @property
    def num_bytes(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def version(self) -> _Version | None:
        """Return what the bytes belong to, or None where that is unknown or another address."""
        try:
            version = _Version(**json.loads(self._version_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.url == self.url else None

    def begin(self, version: _Version) -> None:
        self.discard()
        self._version_file.write_text(dumps(asdict(version)))

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)
        self._version_file.unlink(missing_ok=True)

    def finish(self, file: Path) -> None:
        self.file.replace(file)
        self._version_file.unlink(missing_ok=True)


def _transfer(partial: _Partial, *, size: int | None, timeout: float, report: Report) -> None:
    """Fetch what is missing of ``partial`` in one request."""
    version = partial.version()
    if version is None:
        partial.discard()
    start = partial.num_bytes
    if version is not None and start and start == version.total:
        return
    headers = {}
    if version is not None and start:
        headers = {"Range": f"bytes={start}-"} | ({"If-Range": version.validator} if version.validator else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(partial.url, headers=headers), timeout=timeout) as response:
            if version is not None and response.status == http.client.PARTIAL_CONTENT:
                _require_same_file(partial, version, response.headers, start)
            else:
                version, start = _version_of(partial.url, response.headers), 0
                partial.begin(version)
            _require_size(partial, version, size, start)
            _receive(response, partial, start, version.total, report)
    except urllib.error.HTTPError as error:
        _refused(error, partial, start)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise DownloadError(f"The disk of {partial.file.parent} is full. Make room and run it again.") from error
        if isinstance(error, OSError) and error.filename is not None:  # a local file, not the network
            raise
        raise _TransientError(f"no answer from the server ({getattr(error, 'reason', None) or error})") from error


def _receive(
    response: http.client.HTTPResponse, partial: _Partial, done: int, total: int | None, report: Report
) -> None:
    """Append the body of ``response`` to the ``done`` bytes of ``partial``."""
    report("download", done, total)
    with partial.file.open("ab") as stream:
        while chunk := response.read(_CHUNK_BYTES):
            stream.write(chunk)
            done += len(chunk)
            report("download", done, total)
    if total is not None and done < total:
        raise _TransientError(f"the connection broke after {done:,} of {total:,} bytes")


def _version_of(url: str, headers: Mapping[str, str]) -> _Version:
    length = headers.get("Content-Length")
    return _Version(url, headers.get("ETag"), headers.get("Last-Modified"), int(length) if length is not None else None)


def _require_same_file(partial: _Partial, version: _Version, headers: Mapping[str, str], start: int) -> None:
    """Discard ``partial`` unless the range that the server sends continues it. Servers exist that ignore If-Range."""
    content_range = headers.get("Content-Range", "")
    matches = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    same_range = matches is not None and int(matches[1]) == start
    same_total = matches is not None and (version.total is None or matches[2] in ("*", str(version.total)))
    same_etag = headers.get("ETag", version.etag) == version.etag
    same_date = headers.get("Last-Modified", version.last_modified) == version.last_modified
    if not (same_range and same_total and same_etag and same_date):
        partial.discard()
        raise _TransientError(f"the file has changed on the server (range {content_range!r}); it starts again")


def _require_size(partial: _Partial, version: _Version, size: int | None, start: int) -> None:
    """Refuse a file of the wrong length, or one that does not fit on the disk, before its bytes are fetched."""
    if size is not None and version.total not in (None, size):
        partial.discard()
        raise DownloadError(
            f"Expected {size:,} bytes at {partial.url}, but the server offers {version.total:,}. "
            "The address is wrong, or a proxy answers with a page of its own."
        )
    total = version.total or size
    if total is not None:
        require_space(partial.file.parent, total - start, f"The rest of {partial.url}")


def _refused(error: urllib.error.HTTPError, partial: _Partial, start: int) -> None:
    """Turn an HTTP error status into a transient or a final failure; return where it means that nothing is missing."""
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return
        partial.discard()
        raise _TransientError(f"the server has no bytes after {start:,}; the file starts again") from error
    if error.code in _BUSY_STATUS:
        raise _TransientError(f"the server answered {error.code} {error.reason}") from error
    message = f"The server answered {error.code} {error.reason} for {partial.url}. Check the address."
    raise DownloadError(message) from error


def _check(partial: _Partial, *, size: int | None, checksum: str | None, report: Report) -> None:
    """Compare the fetched bytes with the expected size and digest; wrong ones are thrown away."""
    if size is not None and partial.num_bytes != size:
        num_bytes = partial.num_bytes
        partial.discard()
        raise DownloadError(
            f"Expected {size:,} bytes from {partial.url}, but got {num_bytes:,}. They were discarded; run it again."
        )
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    digest = digest_of_file(partial.file, algorithm, report=report)
    if not digest.startswith(expected.lower()):
        partial.discard()
        raise DownloadError(
            f"Expected {algorithm} {expected} for {partial.url}, but got {digest}. The bytes were discarded; "
            "run the command again, or try another mirror."
        )


def digest_of_file(file: Path, algorithm: str, *, report: Report = silent) -> str:
    """Compute the hexadecimal digest of a file: ``"md5"``, ``"sha256"``, or another algorithm of hashlib."""
    digest, done, total = hashlib.new(algorithm), 0, file.stat().st_size
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            report("check", done, total)
    return digest.hexdigest()
