"""A server on 127.0.0.1 that does to answers what the web does to them; the address says what.

    with serving() as server: server.url("/f/cut?at=100&times=2")

Every fault takes ``times`` (how often, then the answer is good) and ``body`` (png, html, text). The same address gives
the same bytes in every process. Faults: ok, cut, lie_length, chunk_cut, gzip, gzip_bomb, wrong_encoding, drip,
drip_headers, reset, silent, loop, redirect, html_as_image, busy, status, much.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from PIL import Image

HTML = b"<!DOCTYPE html><html><head><title>Please log in</title></head><body><p>captcha</p></body></html>"


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]  # names in small letters
    at: float  # s, of a clock that never jumps


@dataclass(frozen=True)
class Reply:
    """One answer that is not at fault."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class FaultServer(ThreadingHTTPServer):
    """Notes what was asked; ``pages`` answers what is no fault, ``robots`` is its robots.txt (None: there is none)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, pages: Callable[[Asked], Reply] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = pages
        self.robots: Reply | None = None
        self.asked: list[Asked] = []
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def base(self) -> str:
        return f"http://{self.place}"

    def url(self, path: str) -> str:
        return self.base + path

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def handle_error(self, *_: object) -> None:
        """Be quiet: clients leave when they have had enough."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultServer

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, time.monotonic())
        with self.server.lock:
            self.server.asked.append(asked)
            self.server.counts[self.path] += 1
            self.times = self.server.counts[self.path]
        parts = urlsplit(self.path)
        self.options = dict(parse_qsl(parts.query))
        if parts.path == "/robots.txt":
            self.reply(self.server.robots or Reply(b"no", status=404))
        elif parts.path.startswith("/f/"):
            name = parts.path.removeprefix("/f/").partition("/")[0]
            good = name != "ok" and self.times > int(self.options.get("times", 10**9))
            getattr(self, "fault_ok" if good else f"fault_{name}")()
        elif self.server.pages is not None:
            self.reply(self.server.pages(asked))
        else:
            self.reply(Reply(b"no", status=404))

    def reply(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        given = {
            "Date": self.date_time_string(),
            "Content-Type": reply.kind,
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def content(self) -> Reply:
        body = self.options.get("body", "png")
        if body == "png":
            return Reply(png(int(self.options.get("seed", 0))), "image/png")
        return Reply(HTML) if body == "html" else Reply(b"good " * 1000, "text/plain")

    def fault_ok(self) -> None:
        self.reply(self.content())

    def fault_cut(self) -> None:
        """Say the whole length and end in the middle."""
        good = self.content()
        self.reply(Reply(good.body[: int(self.options["at"])], good.kind, 200, {"Content-Length": str(len(good.body))}))
        self.close_connection = True

    def fault_lie_length(self) -> None:
        """Say a smaller length than there is."""
        good = self.content()
        self.reply(Reply(good.body, good.kind, 200, {"Content-Length": str(len(good.body) // 2)}))
        self.close_connection = True

    def fault_chunk_cut(self) -> None:
        self.begin({"Transfer-Encoding": "chunked"})
        self.wfile.write(b"400\r\n" + self.content().body[:100])
        self.close_connection = True

    def fault_gzip(self) -> None:
        good = self.content()
        self.reply(Reply(gzip.compress(good.body), good.kind, 200, {"Content-Encoding": "gzip"}))

    def fault_gzip_bomb(self) -> None:
        """Send a few kilobytes that become many megabytes, in one or two layers."""
        bomb = gzip.compress(bytes(int(self.options.get("mb", 100)) * 10**6))
        layers = int(self.options.get("layers", 1))
        for _ in range(layers - 1):
            bomb = gzip.compress(bomb)
        self.reply(Reply(bomb, "text/html", 200, {"Content-Encoding": ", ".join(["gzip"] * layers)}))

    def fault_wrong_encoding(self) -> None:
        given = {"Content-Encoding": self.options.get("as", "gzip")}
        self.reply(Reply(self.content().body, self.content().kind, 200, given))

    def fault_drip(self) -> None:
        """Send a byte now and then, for ever."""
        self.begin({"Content-Length": "1000000"})
        self.drip(b"x")

    def fault_drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip(b"x")

    def drip(self, byte: bytes) -> None:
        with suppress(OSError):
            while not self.server.ended.wait(float(self.options.get("every", "0.02"))):
                self.wfile.write(byte)
        self.close_connection = True

    def fault_reset(self) -> None:
        self.begin({"Content-Length": "1000"})
        self.wfile.write(b"x" * 100)
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def fault_silent(self) -> None:
        self.server.ended.wait(30)
        self.close_connection = True

    def fault_loop(self) -> None:
        self.to(f"/f/loop?n={int(self.options.get('n', 0)) + 1}" if "n" in self.options else "/f/loop")

    def fault_redirect(self) -> None:
        self.to(self.options["to"])

    def to(self, where: str) -> None:
        self.reply(
            Reply(
                b"", status=int(self.options.get("code", 302)), headers={"Location": where.encode().decode("latin-1")}
            )
        )

    def fault_html_as_image(self) -> None:
        self.reply(Reply(HTML, self.options.get("type", "text/html")))

    def fault_busy(self) -> None:
        """Refuse for now; ``after`` in seconds, or ``date`` seconds from now by a clock that is ``skew`` off."""
        given = {}
        if "after" in self.options:
            given["Retry-After"] = self.options["after"]
        if "date" in self.options:
            now = time.time() + float(self.options.get("skew", 0))
            given["Date"] = email.utils.formatdate(now, usegmt=True)
            given["Retry-After"] = email.utils.formatdate(now + float(self.options["date"]), usegmt=True)
        self.reply(Reply(b"busy", "text/plain", int(self.options.get("code", 429)), given))

    def fault_status(self) -> None:
        self.reply(Reply(b"no", "text/plain", int(self.options["code"])))

    def fault_much(self) -> None:
        """Send ever more, without saying how much it will be."""
        self.begin({"Connection": "close"})
        with suppress(OSError):
            for _ in range(int(self.options.get("mb", "50"))):
                self.wfile.write(bytes(10**6))
        self.close_connection = True

    def begin(self, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "image/png", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving(pages: Callable[[Asked], Reply] | None = None) -> Iterator[FaultServer]:
    """Serve until the block ends."""
    server = FaultServer(pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def png(seed: int, width: int = 40, height: int = 50) -> bytes:
    """Return a picture; another seed is another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def sha(seed: int) -> str:
    """Return the SHA-256 of that picture."""
    return hashlib.sha256(png(seed)).hexdigest()
