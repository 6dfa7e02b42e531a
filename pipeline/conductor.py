"""Conduct jobs: start each when what it needs is done, try again what can be, leave out what cannot. No Prefect."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.graph import Graph
from pipeline.jobs import Job, Outcome

log = logging.getLogger("run")

NETWORK, INTERRUPTED = 6, 75  # exit codes after which the same again can succeed
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
        failed = {outcome.exit_code for outcome in told.values() if outcome.state == "failed"}
        wait = self._wait_before(job, failed, attempt)
        again = {name for name, outcome in told.items() if wait is not None and self._is_worth(outcome, job, told)}
        for name, outcome in told.items():
            if name not in again:
                self.outcomes[name] = outcome
        if again and wait is not None:
            rest = Job(tuple(stage for stage in job.stages if stage.name in again))
            log.warning("%s: exit code %s, try %d in %.0f s", rest.title, sorted(failed), attempt + 1, wait)
            self.waiting.append(_Waiting(rest, attempt + 1, time.monotonic() + wait))

    def _wait_before(self, job: Job, failed: set[int], attempt: int) -> float | None:
        """Return the seconds before another try of what may be tried again, None if nothing may."""
        if NETWORK in failed and job.network and attempt <= len(self.patience.network_s):
            return self.patience.network_s[attempt - 1] * random.uniform(1.0, 1.5)
        if INTERRUPTED in failed and attempt <= self.patience.interrupted:
            return 0.0
        return None

    def _is_worth(self, outcome: Outcome, job: Job, told: dict[str, Outcome]) -> bool:
        """Whether a stage goes into the next try: what failed by such a class, and what was skipped because of it."""
        if outcome.state == "failed":
            return outcome.exit_code == INTERRUPTED or (outcome.exit_code == NETWORK and job.network)
        if outcome.state != "skipped":
            return False
        blockers = [told[name] for name in self.graph[outcome.stage].upstream if name in told]
        bad = [blocker for blocker in blockers if blocker.state in ("failed", "skipped")]
        return bool(bad) and all(self._is_worth(blocker, job, told) for blocker in bad)


def with_place(outcomes: Sequence[Outcome], where: str) -> list[Outcome]:
    """Return outcomes that say where they happened, where that is not known yet."""
    return [outcome if outcome.where else replace(outcome, where=where) for outcome in outcomes]
