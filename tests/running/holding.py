"""A process that holds a lease until its standard input closes, and says then whether it still had it."""

from __future__ import annotations

import json
import sys
import time

from pipeline.running.lease import Lease, LeaseBusy

PAUSE = 0.002  # s of work under a lease


def hold(folder: str, name: str, ttl: float) -> None:
    """Say the token, wait, say whether the lease was held to the end."""
    lease = Lease.acquire(folder, name, ttl=ttl, what="a test")
    sys.stdout.write(f"{lease.token}\n")
    sys.stdout.flush()
    sys.stdin.read()
    sys.stdout.write(f"{lease.held()}\n")
    lease.release()


def work(folder: str, name: str, ttl: float, times: int, log: str) -> None:
    """Take the lease a number of times, each time appending its beginning and end to a log."""
    with open(log, "a", buffering=1) as file:  # noqa: PTH123
        while times:
            try:
                with Lease.acquire(folder, name, ttl=ttl) as lease:
                    file.write(json.dumps(["begin", lease.token]) + "\n")
                    time.sleep(PAUSE)
                    file.write(json.dumps(["end", lease.token]) + "\n")
                times -= 1
            except LeaseBusy:
                time.sleep(PAUSE)


if __name__ == "__main__":
    how, folder, name, ttl, *rest = sys.argv[1:]
    if how == "hold":
        hold(folder, name, float(ttl))
    else:
        work(folder, name, float(ttl), int(rest[0]), rest[1])
