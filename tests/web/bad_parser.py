"""A child of the sandbox that does everything a child should not do."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from stages.web.sandbox import serve


def crash(_: bytes) -> Any:
    os.kill(os.getpid(), 11)


def hang(_: bytes) -> Any:
    time.sleep(60)


def spin(_: bytes) -> Any:
    while True:
        pass


def memory(_: bytes) -> Any:
    return len(bytearray(2 * 2**30))


def write(content: bytes) -> Any:
    Path(content.decode()).write_bytes(b"x" * 100)


def not_json(_: bytes) -> Any:
    json.dumps = lambda *_: "\x00 no JSON"  # type: ignore[assignment]


def flood(_: bytes) -> Any:
    return "x" * 30_000_000


def raises(_: bytes) -> Any:
    raise ValueError("this page")


def recursion(content: bytes) -> Any:
    return recursion(content)


if __name__ == "__main__":
    tasks = (crash, hang, spin, memory, write, not_json, flood, raises, recursion)
    serve({"pid": lambda _: os.getpid(), **{task.__name__: task for task in tasks}})
