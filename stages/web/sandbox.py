"""A child process that reads what strangers wrote: with little memory, little time, and no way to write files.

What it returns is JSON, which the parent checks: nothing that a broken parser sends is ever executed or unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

LARGEST = 10_000_000  # bytes of a page
SECONDS = 20.0  # for one page
_MEMORY = 2**30  # bytes, address space of the child
_ANSWER = 20_000_000  # bytes of JSON
_ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)


class SandboxError(Exception):
    """A page cannot be read: it breaks the parser, or takes too much time or memory."""


class Sandbox:
    """Runs ``python -m module``, which calls :func:`serve`; started when needed, and again after it died."""

    def __init__(self, module: str, seconds: float = SECONDS) -> None:
        """Set up; ``seconds`` of wall time for one page, after which the child is killed."""
        self.module, self.seconds = module, seconds
        self.restarts = -1  # of the child, after the first start
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Sandbox:
        """Use as a context: its end stops the child."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the child."""
        self.stop()

    def call(self, task: str, content: bytes) -> Any:
        """Return what the child's function ``task`` makes of ``content``, as JSON has it.

        Raises: SandboxError with the reason if it makes nothing of it.
        """
        if len(content) > LARGEST:
            raise SandboxError(f"{len(content)} bytes, the limit is {LARGEST}")
        if self._child is None or self._child.poll() is not None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(task.encode())
            self._pipe.send_bytes(content)
            if not self._pipe.poll(self.seconds):
                self.stop()
                raise SandboxError(f"takes more than {self.seconds:g} s to read")
            answer = json.loads(self._pipe.recv_bytes(_ANSWER))
        except (EOFError, OSError, ValueError, RecursionError) as error:
            self.stop()
            raise SandboxError(f"breaks the parser ({type(error).__name__})") from error
        if not isinstance(answer, dict) or "result" not in answer:
            raise SandboxError(
                str(answer.get("error", "unreadable"))[:300] if isinstance(answer, dict) else "unreadable"
            )
        return answer["result"]

    def stop(self) -> None:
        """Kill the child, if there is one."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._pipe = None

    def _start(self) -> None:
        self.stop()
        self.restarts += 1
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", self.module, str(theirs.fileno())],
                cwd=_ROOT,
                env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path[1:]])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._pipe = Connection(ours.detach())


def serve(tasks: Mapping[str, Callable[[bytes], Any]]) -> None:
    """Be the child: answer until the parent goes away."""
    pipe = Connection(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file can be written
    sys.setrecursionlimit(2000)
    while True:
        try:
            task, content = pipe.recv_bytes().decode(), pipe.recv_bytes()
        except EOFError:
            return
        spent = resource.getrusage(resource.RUSAGE_SELF)
        used = int(spent.ru_utime + spent.ru_stime)
        resource.setrlimit(resource.RLIMIT_CPU, (used + int(SECONDS) + 1, resource.RLIM_INFINITY))
        try:
            answer = {"result": tasks[task](content)}
        except (ValueError, RecursionError, MemoryError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        pipe.send_bytes(json.dumps(answer).encode())
