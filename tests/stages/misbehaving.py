"""An HTTP server on 127.0.0.1 that does what servers do to downloads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 1000
PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"
CONFIRM = (
    '<html><form id="download-form" action="{action}" method="get"><input type="hidden" name="id" value="x"/>'
    '<input type="hidden" name="confirm" value="t"/><input type="hidden" name="uuid" value="u-1"/></form>'
    '<form id="other"><input type="hidden" name="not" value="this"/></form></html>'
)


class Server(ThreadingHTTPServer):
    """Counts what was asked, and how often."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.place}/{path}"


@contextmanager
def misbehaving() -> Iterator[Server]:
    """Serve until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        name = self.path.strip("/").partition("?")[0]
        self.server.asked[name] += 1
        self.server.ranges.append(self.headers.get("Range", ""))
        getattr(self, f"_{name.replace('-', '_')}")(self.server.asked[name])

    def _answer(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        usual = {"Content_Length": str(len(body)), "Content_Type": "application/octet-stream"}
        for key, value in (usual | headers).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, etag: str = '"one"', cut: int | None = None, content: bytes = CONTENT) -> None:
        """Serve the content, with ranges; ``cut`` breaks the body off after so many bytes."""
        asked, start = self.headers.get("Range", ""), 0
        if asked and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = cut is not None

    def _ok(self, _: int) -> None:
        self._file()

    def _other(self, _: int) -> None:
        self._file(content=CONTENT[::-1])

    def _cut(self, times: int) -> None:
        self._file(cut=50_000 if times <= 3 else None)

    def _cut_always(self, _: int) -> None:
        self._file(cut=10_000)

    def _cut_changing(self, times: int) -> None:
        self._file(etag=f'"{times}"', cut=100_000 if times == 1 else None)

    def _cut_nameless(self, times: int) -> None:
        self._file(etag='W/"weak"', cut=100_000 if times == 1 else None)

    def _absent(self, _: int) -> None:
        self._answer(b"no", 404)

    def _busy_once(self, times: int) -> None:
        if times == 1:
            self._answer(b"", 429, Retry_After="7")
        else:
            self._file()

    def _busy_long(self, _: int) -> None:
        self._answer(b"", 429, Retry_After="3600")

    def _page(self, _: int) -> None:
        self._answer(PAGE, Content_Type="text/html; charset=utf-8")

    def _hidden_page(self, _: int) -> None:
        self._answer(PAGE)

    def _redirect(self, _: int) -> None:
        self._answer(b"", 302, Location="/ok")

    def _loop(self, _: int) -> None:
        self._answer(b"", 302, Location="/loop")

    def _inward(self, _: int) -> None:
        self._answer(b"", 302, Location="https://localhost/secret")

    def _plain(self, _: int) -> None:
        self._answer(b"", 302, Location="http://example.org/ok")

    def _packed(self, _: int) -> None:
        self._answer(CONTENT, Content_Encoding="gzip")

    def _download(self, _: int) -> None:
        if "uuid=u-1" in self.path:
            self._file()
        else:
            self._answer(CONFIRM.format(action=self.server.url("download")).encode(), Content_Type="text/html")
