"""A small HTTP server on 127.0.0.1 whose manners a test chooses: ranges or none, cut connections, error statuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server offers, how it behaves, and what was asked of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    honours_if_range: bool = True
    sends_length: bool = True
    etag: str | None = '"1"'
    last_modified: str | None = None
    cut_after: list[int] = field(default_factory=list)  # bytes of the body after which each next answer breaks off
    statuses: list[int] = field(default_factory=list)  # answers of the next requests in place of the file
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range header)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        if site.statuses:
            self.send_error(site.statuses.pop(0))
            return
        body = site.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
        validators = (site.etag, site.last_modified)
        if site.honours_if_range and self.headers.get("If-Range") not in (None, *validators):
            start = 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self._send(body, start)

    def _send(self, body: bytes, start: int) -> None:
        site = self.site
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in (("ETag", site.etag), ("Last-Modified", site.last_modified)):
            if value is not None:
                self.send_header(name, value)
        if site.sends_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: site.cut_after.pop(0)] if site.cut_after else rest)


@contextmanager
def serve() -> Iterator[Site]:
    """Serve a site in a thread for as long as the context lasts."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
