"""What the guard's script does for one stage: allow or refuse it, hold its lease, run it, end all of it, write it down.

DVC starts this before every stage, so it imports little. ``pipeline.running.guard`` writes the script and reads the
ledger.
"""

# pathlib would be a fifth of the time this takes before every stage
# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

from pipeline.running.family import adopt_orphans, below, end, reap, started
from pipeline.running.lease import Lease, LeaseBusy

REFUSED, BUSY, INTERRUPTED = 5, 9, 75  # exit codes, as everywhere in this project
MARK = "CARTOON_RUN"  # environment variable that all processes of one run of DVC share
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TICK = 0.25  # s between looks at whether DVC still lives


def main() -> None:
    """Do what ``sh -c COMMAND`` would, by the rules; called as ``script RULES -c COMMAND``."""
    with open(sys.argv[1], encoding="utf-8") as file:
        rules = json.load(file)
    stage = os.environ.get("DVC_STAGE", "")
    if rules["allowed"] is not None and stage not in rules["allowed"]:
        note(rules["ledger"], stage, "refused", code=REFUSED)
        leave(REFUSED, _why_refused(stage, rules))
    leave(run(sys.argv[-1], stage, rules))


def _why_refused(stage: str, rules: dict[str, Any]) -> str:
    pool = rules["pools"].get(stage)
    belongs = f"belongs to pool {pool}" if pool else "is not among the stages of this run"
    serves = f"this agent serves {rules['pool']}" if rules["pool"] else "this run may not start it"
    return (
        f"{stage}: {belongs} and is not in the cache; {serves}; run it where it belongs first, "
        "then this one again"
    )  # fmt: skip


def run(command: str, stage: str, rules: dict[str, Any]) -> int:
    """Run one command of a stage to its end, alone in the world if there are leases.

    Returns: the exit code for DVC, which takes the result if it is 0.
    """
    if rules["leases"] is None:
        return _execute(command, stage, rules, None)
    agent, mark = os.environ.get("CARTOON_AGENT", ""), os.environ.get(MARK, "")
    dvc = os.getppid()
    try:
        lease = Lease.acquire(rules["leases"], stage, rules["ttl"], agent, mark)
    except LeaseBusy as busy:
        note(rules["ledger"], stage, "busy", code=BUSY)
        leave(BUSY, str(busy))
    except OSError as error:
        note(rules["ledger"], stage, "failed", code=REFUSED)
        leave(REFUSED, f"{rules['leases']}: a lease cannot be written ({error.strerror}); free the place, or "
                     "name another folder by CARTOON_LEASES")  # fmt: skip
    os.set_inheritable(lease.lock, True)  # whoever could still write holds the lease
    code = _execute(command, stage, rules, lease)
    if code == 0 and os.getppid() == dvc:
        lease.leave_to(dvc)
    else:
        lease.release()
    return code


def _execute(command: str, stage: str, rules: dict[str, Any], lease: Lease | None) -> int:
    adopt_orphans()
    dvc = os.getppid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    begun, clock = time.time(), time.monotonic()
    note(rules["ledger"], stage, "running", begun=begun)
    environment = {**os.environ, "SHELL": rules["shell"]}
    shell = [rules["shell"], *rules["options"], "-c", command]
    child = os.posix_spawn(shell[0], shell, environment, setpgroup=0, setsigmask=before)
    if lease:
        lease.give_to(child)
    codes: dict[int, int] = {}
    stopped = lost = False
    while child not in codes and not stopped and not lost:
        caught = signal.sigtimedwait(_SIGNALS, _TICK)
        stopped = (caught is not None and caught.si_signo != signal.SIGCHLD) or os.getppid() != dvc
        lost = lease is not None and lease.lost
        codes |= reap()
    end(lambda: below(os.getpid()), 0.0 if lost else rules["grace"])  # what another has now must not be written to
    codes |= reap()
    # What a stage says that was told to end means nothing: its helpers may have died before it.
    code = INTERRUPTED if stopped else _as_shells_do(codes[child])
    state = "failed" if code else "ran"
    if lease and not lease.held():
        code, state = BUSY, "lost"
        sys.stderr.write(f"error: {stage}: its lease was taken over meanwhile; what this run made is not used\n")
    note(rules["ledger"], stage, state, begun=begun, code=code, seconds=time.monotonic() - clock)
    return code


def _as_shells_do(code: int) -> int:
    return code if code >= 0 else 128 - code


def note(ledger: str, stage: str, state: str, **more: float) -> None:
    """Append one line to the ledger, whole or not at all."""
    line = {
        "stage": stage, "state": state, "code": 0, "seconds": 0.0, "begun": time.time(), **more,
        "pid": os.getpid(), "started": started(os.getpid()), "run": os.environ.get(MARK, ""),
    }  # fmt: skip
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def leave(code: int, why: str = "") -> NoReturn:
    """Exit without the interpreter's long goodbye."""
    if why:
        sys.stderr.write(f"error: {why}\n")
        sys.stderr.flush()
    os._exit(code)
