"""One executor at a time: a lease in a folder that all machines share, with a token that only grows.

``FOLDER/NAME/`` holds one small file per token; the highest is in force. Whoever wants the lease claims the next token
by creating its file, which only one process in the world can do. The holder changes its file at least every third of
the time to live (its *beat*).

* Between machines, a beat that stands still for the time to live makes the lease free; no two clocks are compared. A
  holder that was only paused finds a newer token when it wakes, so what it did must not be used (``held``).
* On one machine a lock of the kernel decides too; the stage inherits it, so it is free only when no process that could
  still write is left. A holder whose beat stands still is killed before its lease is taken.

Light, because it is imported before every stage.
"""

# pathlib would be a fifth of the time this takes before every stage
# ruff: noqa: PTH103, PTH108, PTH112, PTH118, PTH208

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from pipeline.running.family import paused, started
from pipeline.running.record import (
    Holder,
    content_of,
    file_name,
    machine,
    new_holder,
    newest,
    newest_token,
    put,
    safe_name,
)

TTL = 60.0  # seconds without a beat after which another machine may take over
_KILLED = 5.0  # s until the kernel has cleared away what was killed
_MOMENT = 0.02  # s between looks meanwhile

Folder: TypeAlias = "str | os.PathLike[str]"


class LeaseBusy(Exception):  # noqa: N818 (a result, named by what happened)
    """Somebody else has the lease."""

    exit_code: ClassVar[int] = 9

    def __init__(self, name: str, holder: Holder | None) -> None:
        who = str(holder) if holder else "a process that has not yet said which"
        super().__init__(f"{name}: being worked on by {who}; wait for it, or stop it")
        self.holder = holder


class Lease:
    """The right to work on something; ``acquire`` gives it, leaving the ``with`` block ends it."""

    def __init__(self, place: str, lock: int, file: int, record: Holder, ttl: float) -> None:
        self._place, self._lock, self._file, self._record = place, lock, file, record
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._lost = False
        self._ttl = ttl
        self._beater = threading.Thread(target=self._keep_beating, name=f"lease {record.name}", daemon=True)
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        self._beater.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)

    @classmethod
    def acquire(cls, folder: Folder, name: str, ttl: float = TTL, what: str = "", run: str = "") -> Lease:
        """Take the lease of ``name``.

        Args:
            folder: of leases, shared by everyone who may want one.
            name: of what must not be worked on twice at once.
            ttl: seconds without a beat after which it is taken from a holder; the same for everyone.
            what: the purpose, for people.
            run: a mark that all processes of one run have.

        Raises: LeaseBusy, at once if the holder is on this machine, after its next beat if it is elsewhere.
        """
        place = os.path.join(folder, safe_name(name))
        os.makedirs(place, exist_ok=True)
        lock = os.open(os.path.join(place, f"lock-{machine()}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(lock, place, name, ttl)
            record = new_holder(name, _ended_token(place, name, ttl) + 1, what, run)
            return cls(place, lock, _claim(place, record), record, ttl)
        except BaseException:
            os.close(lock)
            raise

    @property
    def token(self) -> int:
        """Higher than any token before."""
        return self._record.token

    @property
    def lost(self) -> bool:
        """Whether a newer token was seen at the last beat; cheap, and late by a beat at most."""
        return self._lost

    def held(self) -> bool:
        """Look whether nobody has taken it; what was done must not be used if somebody has."""
        gone = os.fstat(self._file).st_nlink == 0  # the folder was cleared: counting may begin again
        self._lost = self._lost or gone or newest_token(self._place) != self.token
        return not self._lost

    def give_to(self, group: int) -> None:
        """Say which process group works for it; a child inherits the lock if it was made inheritable (``lock``)."""
        self._write(group=group, group_started=started(group) or 0)

    @property
    def lock(self) -> int:
        """The file descriptor that processes working under this lease must inherit."""
        return self._lock

    def leave_to(self, pid: int) -> None:
        """End working, and keep others away until ``pid`` has stored the result or died."""
        self._end(state="storing", pid=pid, started=started(pid) or 0, group=0, group_started=0)

    def release(self) -> None:
        """Give it back."""
        self._end(state="free")

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _end(self, **changes: Any) -> None:
        self._done.set()
        self._beater.join()
        if self.held():
            with contextlib.suppress(OSError):  # no disk: it ends for others when it stands still
                self._write(**changes)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # for all who inherited it too: they are done
        os.close(self._lock)
        os.close(self._file)

    def _keep_beating(self) -> None:
        while not self._done.wait(self._ttl / 4):
            if not self.held():
                return
            with contextlib.suppress(OSError):  # a disk that comes back in time does no harm
                self._write()

    def _write(self, **changes: Any) -> None:
        with self._guard:
            self._record = self._record._replace(beat=self._record.beat + 1, clock=time.monotonic(), **changes)
            put(self._file, self._record)


def holder(folder: Folder, name: str) -> Holder | None:
    """Say who has a lease, as far as can be seen from here; None if nobody has."""
    return _holder(os.path.join(folder, safe_name(name)))


def holders(folder: Folder) -> list[Holder]:
    """Return all who have a lease in a folder, longest first."""
    places = [entry.path for entry in os.scandir(folder)] if os.path.isdir(folder) else []
    found = [one for one in map(_holder, places) if one is not None]
    return sorted(found, key=lambda one: one.begun)


def wait_free(
    folder: Folder, name: str, poll: float = 1.0, ttl: float = TTL, stop: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until a lease can be taken; False if ``stop`` said so before."""
    seen, since = holder(folder, name), time.monotonic()
    while seen is not None and time.monotonic() - since <= ttl:
        if stop():
            return False
        time.sleep(poll)
        now = holder(folder, name)
        if now != seen:
            seen, since = now, time.monotonic()
    return not stop()


def settle(folder: Folder, name: str, run: str) -> None:
    """Free a lease under which a result of ``run`` was being stored."""
    _change(folder, name, run, state="free")


def beat(folder: Folder, name: str, run: str) -> None:
    """Keep a lease alive under which a result of ``run`` is being stored, unless whoever stores it is paused."""
    record = holder(folder, name)
    if record is not None and not paused(record.pid):
        _change(folder, name, run)


def _change(folder: Folder, name: str, run: str, **changes: Any) -> None:
    place = os.path.join(folder, safe_name(name))
    _, record = newest(place)
    if record is None or record.state != "storing" or record.run != run:
        return
    with contextlib.suppress(OSError):
        file = os.open(os.path.join(place, file_name(record.token)), os.O_WRONLY | os.O_CLOEXEC)
        try:
            put(file, record._replace(beat=record.beat + 1, clock=time.monotonic(), **changes))
        finally:
            os.close(file)


def _holder(place: str) -> Holder | None:
    _, record = newest(place)
    if record is None or record.state == "free":
        return None
    if record.here and not record.lives and (record.group == 0 or started(record.group) != record.group_started):
        return None
    return record


def _lock(lock: int, place: str, name: str, ttl: float) -> None:
    """Get the kernel's lock of this machine, if need be from a holder that stands still."""
    deadline, killed = time.monotonic(), False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _, record = newest(place)
            if not killed and record is not None and record.here and record.state == "held" and record.still() > ttl:
                _kill(record)
                deadline, killed = time.monotonic() + _KILLED, True
            elif time.monotonic() >= deadline:
                raise LeaseBusy(name, record) from None
            time.sleep(_MOMENT)


def _kill(record: Holder) -> None:
    """Kill a holder on this machine, and what works for it; ids that were used again are left alone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if record.lives:
            os.kill(record.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if record.group and started(record.group) in (None, record.group_started):
            os.killpg(record.group, signal.SIGKILL)


def _ended_token(place: str, name: str, ttl: float) -> int:
    """Make sure that the lease in force has ended, having this machine's lock, and return its token.

    Raises: LeaseBusy if it is in use.
    """
    token, record = newest(place)
    if token == 0 or (record is not None and record.state == "free"):
        return token
    if record is None or not record.here:
        return _stood_still(place, name, ttl, token)
    if record.state == "storing" and record.lives and record.pid != os.getppid():
        if not (paused(record.pid) and record.still() > ttl):
            raise LeaseBusy(name, record)
        _kill(record)
    return token  # its process ended without a word, and nothing of it is left


def _stood_still(place: str, name: str, ttl: float, token: int) -> int:
    """Watch the beat of a holder that cannot be seen from here until it has stood still for ``ttl``."""
    seen, deadline = content_of(place, token), time.monotonic() + ttl
    while time.monotonic() < deadline:
        time.sleep(min(ttl / 20, 1.0))
        if newest_token(place) != token or content_of(place, token) != seen:
            token, record = newest(place)
            if record is not None and record.state == "free":
                return token
            raise LeaseBusy(name, record)
    return token


def _claim(place: str, record: Holder) -> int:
    """Create the file of a token, which only one can, and take away those before it."""
    path = os.path.join(place, file_name(record.token))
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise LeaseBusy(record.name, newest(place)[1]) from None
    try:
        put(file, record)
    except OSError:
        os.unlink(path)
        os.close(file)
        raise
    for older in os.listdir(place):
        if older.isdigit() and int(older) < record.token:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(place, older))
    return file
