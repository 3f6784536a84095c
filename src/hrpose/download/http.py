"""Download one large file over HTTP: resume after an interruption, verify, and rename the complete file.

A partial ``images.zip`` is named ``images.zip.part``; ``images.zip.part.json`` records which version of the file on the server
its bytes belong to. Uses the standard library only.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hrpose.files import dumps

logger = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_MAX_WAIT = 60.0  # seconds between two attempts
_BUSY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # a later attempt may succeed
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


Report: TypeAlias = Callable[[str, int, int | None], None]
"""Receives a step, the number of bytes that are processed, and their total, None if unknown."""


class DownloadError(RuntimeError):
    """A file could not be downloaded or unpacked."""


class _TransientError(Exception):
    """A failure that another attempt may not repeat."""


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
    """Download ``url`` to ``file``, or resume an interrupted download of it.

    An existing file (of ``size`` bytes, if given) is kept. An interrupted transfer is resumed with an HTTP range request; it
    restarts from byte 0 if the server does not support ranges or its file has changed (ETag, Last-Modified, length).

    Args:
        url: an ``http://`` or ``https://`` address.
        file: path to write; its folder is created.
        size: expected number of bytes.
        checksum: expected digest or its first digits, as ``"md5:<hex>"`` or ``"sha256:<hex>"``.
        attempts: number of consecutive attempts without a new byte after which the download fails.
        backoff: seconds before the second attempt; the wait doubles with each further attempt.
        timeout: seconds without data after which the connection is closed.
        report: called with ``("download" | "check", bytes processed, total bytes)``.

    Returns:
        ``file``.

    Raises:
        DownloadError: if the server cannot be reached or refuses, the size or digest is wrong, or the disk is full.
    """
    if file.is_file() and size in (None, file.stat().st_size):
        return file
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"Expected an address that starts with http:// or https://, but got {url!r}.")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(file.with_name(file.name + ".part"), url, size, report)
    furthest, failures = partial.num_bytes, 0
    while True:
        try:
            partial.transfer(timeout)
            break
        except _TransientError as error:
            failures = 0 if partial.num_bytes > furthest else failures + 1
            furthest = max(furthest, partial.num_bytes)
            if failures >= attempts:
                raise DownloadError(
                    f"Could not download {url} in {attempts} attempts: {error}. {partial.file} contains the first "
                    f"{partial.num_bytes:,} bytes; check the network and run the same command to resume."
                ) from error
            wait = min(backoff * 2 ** max(failures - 1, 0), _MAX_WAIT)
            logger.warning("%s: %s; next attempt in %.0f s", url, error, wait)
            time.sleep(wait)
    partial.check(checksum)
    partial.finish(file)
    return file


def require_space(folder: Path, num_bytes: int, purpose: str) -> None:
    """Raise DownloadError if the disk of ``folder`` has less than ``num_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise DownloadError(
            f"{purpose} needs {num_bytes / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free. "
            "Free some disk space or choose another folder."
        )


@dataclass(frozen=True)
class _Version:
    """The identity of a file on a server."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    @staticmethod
    def of(url: str, headers: Mapping[str, str]) -> _Version:
        length = headers.get("Content-Length")
        return _Version(url, headers.get("ETag"), headers.get("Last-Modified"), int(length) if length is not None else None)

    @property
    def validator(self) -> str | None:
        """The value of If-Range, which must not be a weak ETag (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


@dataclass(frozen=True)
class _Partial:
    """The bytes downloaded so far, and the version of the remote file that they belong to."""

    file: Path
    url: str
    size: int | None  # expected number of bytes
    report: Report

    @property
    def _version_file(self) -> Path:
        return self.file.with_name(f"{self.file.name}.json")

    @property
    def num_bytes(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def _version(self) -> _Version | None:
        """Return the version that the bytes belong to, or None if it is unknown or has another address."""
        try:
            version = _Version(**json.loads(self._version_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.url == self.url else None

    def _discard(self) -> None:
        self.file.unlink(missing_ok=True)
        self._version_file.unlink(missing_ok=True)

    def finish(self, file: Path) -> None:
        self.file.replace(file)
        self._version_file.unlink(missing_ok=True)

    def transfer(self, timeout: float) -> None:
        """Download the missing bytes in one request."""
        version = self._version()
        if version is None:
            self._discard()
        start = self.num_bytes
        if version is not None and start and start == version.total:
            return
        headers = {}
        if version is not None and start:
            headers = {"Range": f"bytes={start}-"} | ({"If-Range": version.validator} if version.validator else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=timeout) as response:
                if version is not None and response.status == http.client.PARTIAL_CONTENT:
                    self._require_same_file(version, response.headers, start)
                else:
                    version, start = _Version.of(self.url, response.headers), 0
                    self._discard()
                    self._version_file.write_text(dumps(vars(version)))
                self._require_size(version, start)
                self._receive(response, start, version.total)
        except urllib.error.HTTPError as error:
            self._refused(error, start)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                message = f"The disk of {self.file.parent} is full. Free some space and run the same command to resume."
                raise DownloadError(message) from error
            if isinstance(error, OSError) and error.filename is not None:  # a local file, not the network
                raise
            raise _TransientError(f"no answer from the server ({getattr(error, 'reason', None) or error})") from error

    def _receive(self, response: http.client.HTTPResponse, done: int, total: int | None) -> None:
        """Append the body of ``response`` to the first ``done`` bytes."""
        self.report("download", done, total)
        with self.file.open("ab") as stream:
            while chunk := response.read(_CHUNK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                self.report("download", done, total)
        if total is not None and done < total:
            raise _TransientError(f"the connection was closed after {done:,} of {total:,} bytes")

    def _require_same_file(self, version: _Version, headers: Mapping[str, str], start: int) -> None:
        """Discard the bytes and raise unless the range that the server sends continues it: some servers ignore If-Range."""
        content_range = headers.get("Content-Range", "")
        total = r"\d+" if version.total is None else str(version.total)
        same_range = re.fullmatch(rf"bytes 0*{start}-\d+/({total}|\*)", content_range) is not None
        same_etag = headers.get("ETag", version.etag) == version.etag
        same_date = headers.get("Last-Modified", version.last_modified) == version.last_modified
        if not (same_range and same_etag and same_date):
            self._discard()
            raise _TransientError(f"the file on the server has changed (range {content_range!r}); restarting from byte 0")

    def _require_size(self, version: _Version, start: int) -> None:
        """Raise if the file has the wrong length or does not fit on the disk, before its bytes are downloaded."""
        if self.size is not None and version.total not in (None, self.size):
            self._discard()
            raise DownloadError(
                f"Expected {self.size:,} bytes at {self.url}, but the server offers {version.total:,}. "
                "Check the address, and whether a proxy sends a web page instead."
            )
        total = version.total or self.size
        if total is not None:
            require_space(self.file.parent, total - start, f"The rest of {self.url}")

    def _refused(self, error: urllib.error.HTTPError, start: int) -> None:
        """Raise a transient or final error for an HTTP error status; return if it means that no byte is missing."""
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return
            self._discard()
            raise _TransientError(f"the server has no bytes after {start:,}; restarting from byte 0") from error
        if error.code in _BUSY_STATUS:
            raise _TransientError(f"the server answered {error.code} {error.reason}") from error
        message = f"The server answered {error.code} {error.reason} for {self.url}. Check the address."
        raise DownloadError(message) from error

    def check(self, checksum: str | None) -> None:
        """Compare the downloaded bytes with the expected size and digest; discard them and raise if they differ."""
        num_bytes = self.num_bytes
        if self.size not in (None, num_bytes):
            self._discard()
            raise DownloadError(
                f"Expected {self.size:,} bytes from {self.url}, but got {num_bytes:,}. "
                "Run the same command to download them again."
            )
        if checksum is None:
            return
        algorithm, _, expected = checksum.partition(":")
        digest = digest_of_file(self.file, algorithm, report=self.report)
        if not digest.startswith(expected.lower()):
            self._discard()
            raise DownloadError(
                f"Expected {algorithm} {expected} for {self.url}, but got {digest}. "
                "Run the same command to download it again, or use another mirror."
            )


def digest_of_file(file: Path, algorithm: str, *, report: Report = silent) -> str:
    """Compute the hexadecimal digest of a file with an algorithm of hashlib; ``report`` receives the step ``"check"``."""
    digest, done, total = hashlib.new(algorithm), 0, file.stat().st_size
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            report("check", done, total)
    return digest.hexdigest()
