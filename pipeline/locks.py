"""Locks between processes of one machine; the kernel frees them when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL = 0.2  # s between tries


@contextmanager
def held(path: Path, wait_s: float) -> Iterator[bool]:
    """Hold the lock that a file stands for; its folder is made.

    Args:
        path: of the file, which stays.
        wait_s: seconds to wait for another holder; 0 is one try.

    Yields: whether the lock is held; False if another process kept it for as long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a") as file:
        mine = False
        while not mine:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(_POLL)
        yield mine
