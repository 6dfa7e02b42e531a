"""The record of a lease: who has it, as a small file that is rewritten in place and may be found torn."""

# pathlib would be a fifth of the time this takes before every stage
# ruff: noqa: PTH116, PTH118, PTH123, PTH208

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, NamedTuple

from pipeline.running.family import started

_SIZE = 2048  # bytes of a record, always: rewriting it in place needs no space on a full disk
_NAME = 200  # characters of a file name
_RETRIES, _MOMENT = 5, 0.02  # s, for a record that is read while it is written


class Holder(NamedTuple):
    """Who has a lease."""

    name: str  # of the lease
    token: int
    host: str
    machine: str  # one boot of one kernel, one set of process ids
    pid: int
    started: int  # ticks, with ``pid`` one process for good
    group: int  # of the processes that work for it, 0 for none
    group_started: int
    begun: float  # Unix time
    what: str  # for people
    run: str  # mark of all processes that belong together
    state: str  # held; storing: done, and DVC is taking the result; free
    beat: int
    clock: float  # of its machine at the last beat, s

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return self.machine == machine()

    @property
    def lives(self) -> bool:
        """Whether its process, on this machine, is there."""
        return started(self.pid) == self.started

    def still(self) -> float:
        """Seconds since its last beat, on this machine."""
        return time.monotonic() - self.clock

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.begun))
        return f"{self.host}, process {self.pid}, since {since}" + (f" ({self.what})" if self.what else "")


def machine() -> str:
    """Name what process ids and the kernel's locks are common to: one boot of one kernel, one set of process ids.

    The environment variable ``CARTOON_MACHINE`` overrules it.
    """
    given = os.environ.get("CARTOON_MACHINE")
    if given:
        return safe_name(given)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip().replace("-", "")[:16]
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"


def safe_name(name: str) -> str:
    """Return a file name that no other name has."""
    safe = re.sub(r"[^A-Za-z0-9@_-]", lambda match: "".join(f"%{byte:02x}" for byte in match[0].encode()), name)
    if len(safe) <= _NAME:
        return safe
    from hashlib import sha256

    return f"{safe[: _NAME - 33]}.{sha256(name.encode()).hexdigest()[:32]}"


def new_holder(name: str, token: int, what: str, run: str) -> Holder:
    """Describe this process as the holder of a lease."""
    own = os.getpid()
    return Holder(
        name=name, token=token, host=os.uname().nodename, machine=machine(), pid=own, started=started(own) or 0,
        group=0, group_started=0, begun=time.time(), what=what[:200], run=run, state="held", beat=0,
        clock=time.monotonic(),
    )  # fmt: skip


def put(file: int, record: Holder) -> None:
    """Write a record over the one before.

    Raises: OSError; ValueError if it is too long.
    """
    text = json.dumps(record._asdict()).encode()
    if len(text) >= _SIZE:
        raise ValueError(f"{record.name}: the record of a lease has {_SIZE} bytes, this needs {len(text)}; shorten it")
    os.pwrite(file, text.ljust(_SIZE - 1) + b"\n", 0)
    os.fsync(file)  # other machines see it now


def file_name(token: int) -> str:
    """Return the name of the file of a token."""
    return f"{token:012d}"


def newest_token(place: str) -> int:
    """Return the token in force, 0 if there was none."""
    try:
        return max((int(name) for name in os.listdir(place) if name.isdigit()), default=0)
    except FileNotFoundError:
        return 0


def content_of(place: str, token: int) -> bytes | None:
    """Return the bytes of a record; None if it does not exist."""
    try:
        with open(os.path.join(place, file_name(token)), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def newest(place: str) -> tuple[int, Holder | None]:
    """Return the token in force, 0 if there was none, and its record, None if it cannot be read."""
    for _ in range(_RETRIES):
        token = newest_token(place)
        record = _parse(content_of(place, token)) if token else None
        if record is not None or token == 0:
            return token, record
        time.sleep(_MOMENT)
    return token, None


def _parse(content: bytes | None) -> Holder | None:
    try:
        told: Any = json.loads(content or b"")
    except ValueError:
        return None
    kinds = new_holder("", 0, "", "")._asdict()
    if not isinstance(told, dict) or {key: type(value) for key, value in told.items()} != {
        key: type(value) for key, value in kinds.items()
    }:
        return None
    return Holder(**told)
