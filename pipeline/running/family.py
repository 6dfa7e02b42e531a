"""The processes below this one: found in /proc and ended together, whatever group they are in and whoever started them.

Linux only, and light: it is imported before every stage.
"""

# pathlib would be a fifth of the time this takes before every stage
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

_DIE_WITH_PARENT, _ADOPT_ORPHANS = 1, 36  # prctl(2)
_POLL = 0.03  # s, while processes are being ended


def adopt_orphans() -> None:
    """Make every process below this one its child when the one between dies, so that none can get lost."""
    _prctl(_ADOPT_ORPHANS, 1)


def die_with(parent: int, number: int) -> None:
    """Ask the kernel to signal this process when its parent ends; for use after a fork.

    Args:
        parent: the process that called fork; it may be gone already.
        number: the signal.
    """
    _prctl(_DIE_WITH_PARENT, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def started(pid: int) -> int | None:
    """When a process began, in ticks since boot; with ``pid`` it names one process for good. None if it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def paused(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    fields = _stat(pid)
    return fields is not None and fields[0] in "Tt"


def _stat(pid: int) -> list[str] | None:
    """Return what follows the name in /proc/PID/stat: state, parent, group, ...; None without such a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parents() -> dict[int, int]:
    """Every living process of this machine and its parent; those that only wait to be reaped are left out."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields is not None and fields[0] not in "ZX":
                found[int(name)] = int(fields[1])
    return found


def below(top: int, every: Mapping[int, int] | None = None) -> dict[int, int]:
    """Processes that descend from ``top``, each with its parent; ``every`` is ``parents()`` if it is known already."""
    every = parents() if every is None else every
    family = {top}
    while grown := {pid for pid, parent in every.items() if parent in family} - family:
        family |= grown
    return {pid: every[pid] for pid in family - {top} if pid in every}


def marked(mark: str) -> dict[int, int]:
    """Processes with ``mark`` (``NAME=value``) in the environment they were started with, each with its parent."""
    found = {}
    for pid, parent in parents().items():
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if mark.encode() in file.read().split(b"\0"):
                found[pid] = parent
    return found


def reap() -> dict[int, int]:
    """Collect the exit codes of all children that have ended, negative for a signal.

    Only for a process that has no other use for them: ``subprocess`` would miss those of its own.
    """
    statuses = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            statuses[pid] = os.waitstatus_to_exitcode(status)
    return statuses


def end(find: Callable[[], dict[int, int]], grace: float) -> None:
    """End a family: SIGTERM, time to save, SIGKILL.

    SIGTERM goes once to each of the uppermost, and to others only when nothing is above them any more: a stage takes a
    second signal for impatience, and its helpers belong to it.

    Args:
        find: the family as it is now (``below``, ``marked``).
        grace: seconds from the first signal to SIGKILL.
    """
    deadline, told = time.monotonic() + grace, set[int]()
    while family := find():
        if time.monotonic() >= deadline:
            _send(family, signal.SIGKILL)
        else:
            upper = {pid for pid, parent in family.items() if parent not in family} - told
            _send(upper, signal.SIGTERM)
            _send(upper, signal.SIGCONT)
            told |= upper
        time.sleep(_POLL)


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
