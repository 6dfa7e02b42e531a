"""Run a command so that nothing of it outlives whoever wanted it: ``python -m pipeline.running.supervise -- COMMAND``.

Standard input is a life line: it must be a pipe that the caller holds open. When it closes, because the caller is done
or dead, the command and everything below it get SIGTERM, time to save, and SIGKILL. What the command itself leaves
behind is ended too. If this process is killed, the kernel sends the command SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Collection

from pipeline.running.family import adopt_orphans, below, die_with, end, parents, reap, started

GRACE = 30.0  # seconds between SIGTERM and SIGKILL
_TICK = 500  # ms between looks at what tells nobody when it ends
_LOOK = 2.0  # s between searches for processes whose parent was killed
_NOT_FOUND = 127  # exit code, as shells have it


def main() -> None:
    """Read the arguments, run, and exit with the command's code (128 + n after signal n)."""
    parser = argparse.ArgumentParser(prog="supervise", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--with", type=int, action="append", default=[], dest="companions", metavar="PID",
                        help="also end the command when this process is gone")  # fmt: skip
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    arguments = parser.parse_args()
    raise SystemExit(supervise(arguments.command, arguments.companions, arguments.grace))


def supervise(command: list[str], companions: Collection[int], grace: float) -> int:
    """Run ``command`` as a session of its own until it ends or nobody wants it any more.

    Args:
        command: program and arguments.
        companions: processes that want it, besides the one that holds standard input open.
        grace: seconds it has to end after SIGTERM.

    Returns: its exit code, 128 + n after signal n; 143 if a companion was gone before it began.
    """
    adopt_orphans()
    wake = _signals()
    since = {pid: started(pid) for pid in companions}
    if None in since.values():
        return 128 + signal.SIGTERM
    child, look = _start(command), 0.0
    codes: dict[int, int] = {}
    while child not in codes and not _unwanted(wake):
        if any(started(pid) != begun for pid, begun in since.items()):
            break
        codes |= reap()
        if child not in codes and time.monotonic() >= look:
            look = time.monotonic() + _LOOK
            end(lambda: _lost(child), grace)
    end(lambda: below(os.getpid()), grace)
    codes |= reap()
    if child not in codes:  # its main thread has ended and others have not: /proc calls it a zombie, waitpid does not
        os.kill(child, signal.SIGKILL)
        codes[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = codes[child]
    return code if code >= 0 else 128 - code


def _lost(child: int) -> dict[int, int]:
    """Return what is below this process and not below the command: whoever looked after it was killed."""
    every = parents()  # once: what the command starts between two looks would count as lost
    kept = below(child, every).keys() | {child}
    return {pid: parent for pid, parent in below(os.getpid(), every).items() if pid not in kept}


def _signals() -> int:
    """Turn signals into bytes; returns the end to read them from."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(write)
    return read


def _unwanted(wake: int) -> bool:
    """Wait for something to happen; say whether it was the wish that the command ends."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(wake, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(_TICK)}
    if 0 in ready and os.read(0, 4096) == b"":
        return True
    return wake in ready and bool(set(os.read(wake, 4096)) - {signal.SIGCHLD})


def _start(command: list[str]) -> int:
    own = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        die_with(own, signal.SIGTERM)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"error: {command[0]}: cannot be started: {error.strerror}\n")
    finally:
        sys.stderr.flush()
        os._exit(_NOT_FOUND)


if __name__ == "__main__":
    main()
