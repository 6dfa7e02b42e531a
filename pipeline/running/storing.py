"""The time between a stage's end and DVC having its result: nobody else may begin the stage in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.running.lease import beat, settle


class Storing:
    """Frees a stage's lease when DVC has stored the result, which it has when it goes on to something else."""

    def __init__(self, leases: Path, run: str) -> None:
        self._leases, self._run = leases, run
        self._stage = ""

    def at(self, stage: str) -> None:
        """DVC is at this stage now; empty when it has ended."""
        if stage != self._stage:
            before, self._stage = self._stage, stage
            if before:
                settle(self._leases, before, self._run)

    def beat(self) -> None:
        """Tell other machines that it goes on."""
        if self._stage:
            beat(self._leases, self._stage, self._run)


@contextmanager
def storing(leases: Path | None, run: str, ttl: float) -> Iterator[Storing | None]:
    """Look after the leases of one run of DVC; does nothing without leases."""
    if leases is None:
        yield None
        return
    watched, done = Storing(leases, run), threading.Event()

    def keep_beating() -> None:
        while not done.wait(ttl / 4):
            watched.beat()

    beater = threading.Thread(target=keep_beating, name="storing", daemon=True)
    beater.start()
    try:
        yield watched
    finally:
        done.set()
        beater.join()
        watched.at("")
