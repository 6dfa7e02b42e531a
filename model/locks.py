"""One writer at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import LockedError, UsageError


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the right to write ``out``, a file or folder; it ends with the process, however that ends.

    An empty file ``.NAME.lock`` stays beside ``out``: taking it away would let two processes hold two files.

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
