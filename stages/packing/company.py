"""One writer at a time for an output."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import LockedError, UsageError


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the right to write ``out``; it ends with the process.

    Raises: LockedError if another process has it; UsageError if nothing can be written there.
    """
    lock = out.parent / f".{out.name}.lock"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror}); free the place or name another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{out}: another process is writing it; wait for it, or stop it") from None
        yield
