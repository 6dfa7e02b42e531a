"""Conduct jobs: start each when what it needs is done, try again what can be, leave out what cannot. No Prefect."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.graph import Graph
from pipeline.jobs import Job, Outcome

log = logging.getLogger("run")

NETWORK, INTERRUPTED = 6, 75  # exit codes after which the same again can succeed
_CUT_OFF = (INTERRUPTED, 128 + signal.SIGKILL, 128 + signal.SIGTERM)  # killed alone: by the kernel, or a person
_DONE = ("ran", "cached")


class Backend(Protocol):
    """Where jobs run."""

    def start(self, job: Job, attempt: int) -> None:
        """Begin a job; returns at once."""

    def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
        """Return the jobs that ended since the last call; one whose machine vanished has failed with 75."""


@dataclass(frozen=True)
class Patience:
    """How often and when jobs are tried again."""

    network_s: Sequence[float]  # s before each further try after network trouble
    interrupted: int  # further tries of a stage that was cut off; each continues what was saved
    poll_s: float  # between looks at what goes on


@dataclass
class _Waiting:
    job: Job
    attempt: int
    due: float


def conduct(
    jobs: Sequence[Job], graph: Graph, backend: Backend, patience: Patience, pause: Callable[[float], None] = time.sleep
) -> dict[str, Outcome]:
    """Run jobs in the order their stages need, side by side as far as they are independent.

    Args:
        jobs: of the stages to run.
        graph: those stages, upstream first.
        backend: where they run.
        patience: about tries.
        pause: how to wait; for tests.

    Returns: what became of every stage, in the graph's order.
    """
    conductor = _Conductor(graph, backend, patience)
    conductor.waiting = [_Waiting(job, 1, 0.0) for job in jobs]
    while conductor.waiting or conductor.running:
        if not conductor.step():
            pause(patience.poll_s)
    return {name: conductor.outcomes[name] for name in graph if name in conductor.outcomes}


class _Conductor:
    def __init__(self, graph: Graph, backend: Backend, patience: Patience) -> None:
        self.graph = graph
        self.backend = backend
        self.patience = patience
        self.waiting: list[_Waiting] = []
        self.running: dict[tuple[str, ...], int] = {}  # names of a job's stages -> attempt
        self.outcomes: dict[str, Outcome] = {}

    def step(self) -> bool:
        """Start what can start, take in what has ended; returns whether anything happened."""
        moved = False
        for entry in list(self.waiting):
            if entry.due <= time.monotonic() and self._ready(entry.job):
                self.waiting.remove(entry)
                self._start(entry)
                moved = True
        for job, outcomes in self.backend.finished():
            self._take_in(job, outcomes, self.running.pop(job.names))
            moved = True
        return moved

    def _ready(self, job: Job) -> bool:
        own = set(job.names)
        needed = {upstream for stage in job.stages for upstream in stage.upstream} - own
        return all(name in self.outcomes for name in needed if name in self.graph)

    def _start(self, entry: _Waiting) -> None:
        possible = []
        for stage in entry.job.stages:
            if all(self._fine(upstream) for upstream in stage.upstream):
                possible.append(stage)
            else:
                self.outcomes[stage.name] = Outcome(stage.name, "skipped")
        if possible:
            job = Job(tuple(possible))
            self.running[job.names] = entry.attempt
            self.backend.start(job, entry.attempt)

    def _fine(self, name: str) -> bool:
        """Whether a needed stage is done, or will be by the same job."""
        return name not in self.graph or name not in self.outcomes or self.outcomes[name].state in _DONE

    def _take_in(self, job: Job, outcomes: Sequence[Outcome], attempt: int) -> None:
        told = {outcome.stage: outcome for outcome in outcomes}
        missing = [name for name in job.names if name not in told]
        told |= {name: Outcome(name, "failed", INTERRUPTED) for name in missing}
        waits = self._waits(told, attempt)
        for name, outcome in told.items():
            if name not in waits:
                self.outcomes[name] = outcome
        if waits:
            wait = max(waits.values())
            failed = {told[name].exit_code for name in waits if told[name].state == "failed"}
            rest = Job(tuple(stage for stage in job.stages if stage.name in waits))
            log.warning("%s: exit code %s, try %d in %.0f s", rest.title, sorted(failed), attempt + 1, wait)
            self.waiting.append(_Waiting(rest, attempt + 1, time.monotonic() + wait))

    def _waits(self, told: dict[str, Outcome], attempt: int) -> dict[str, float]:
        """Return the stages of a job that go into another try, upstream first, and the seconds each waits before it."""
        waits: dict[str, float] = {}
        for stage in (self.graph[name] for name in self.graph if name in told):
            outcome = told[stage.name]
            if outcome.state == "failed":
                wait = self._wait(outcome, stage.network, attempt)
            elif outcome.state == "skipped":
                bad = [name for name in stage.upstream if name in told and told[name].state not in _DONE]
                again = bool(bad) and all(name in waits for name in bad)
                wait = max(waits[name] for name in bad) if again else None
            else:
                wait = None
            if wait is not None:
                waits[stage.name] = wait
        return waits

    def _wait(self, outcome: Outcome, network: bool, attempt: int) -> float | None:
        """Return the seconds before another try of a stage that failed, None if it has no further one.

        Network trouble is one only where a network is used: by the stage, or to bring and share results.
        """
        if outcome.exit_code in _CUT_OFF and attempt <= self.patience.interrupted:
            return 0.0
        reaches_out = network or outcome.before_or_after
        if outcome.exit_code == NETWORK and reaches_out and attempt <= len(self.patience.network_s):
            return self.patience.network_s[attempt - 1] * random.uniform(1.0, 1.5)
        return None
