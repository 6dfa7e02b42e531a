"""Jobs on agents: each a flow run of the deployment of its pool, watched through Prefect's API."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run as own_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Crashed

from pipeline.flows.stages import PROTOCOL
from pipeline.jobs import Job, Outcome

T = TypeVar("T")
log = logging.getLogger("run")

HERE = "coordinator"  # pool of stages whose outputs git keeps: the machine that commits runs them itself
_BUSY = StateType.RUNNING
_CANCELLED = 130
_PAGE = 200  # flow runs per question
_AHEAD = 32  # jobs of a pool that wait on the server; each agent's every poll reads them all, the others wait here
_SERVER_S = 900.0  # a server that is gone for longer is not waited for
_AGENTS_EVERY_S = 30.0  # between looks whether anybody serves a pool


class RunCancelled(Exception):  # noqa: N818 (a result, named by what happened)
    """Somebody cancelled this run."""

    exit_code: ClassVar[int] = _CANCELLED


class NoDeploymentError(Exception):
    """The server does not know the flows of this project."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Task:
    """What every job of one run has in common."""

    rev: str
    exchange: str  # identity of the cache or remote
    pools: Mapping[str, str]  # stage -> pool
    tags: tuple[str, ...]
    start_s: float
    maybe_kept: frozenset[str]  # stages whose last result may hold: looked for in the cache before an agent is asked


class Pools:
    """Start jobs as flow runs on agents; jobs of the pool ``coordinator`` in a thread here."""

    def __init__(self, task: Task, run_here: Callable[[Job], Sequence[Outcome]], find: Callable[[Job], bool]) -> None:
        """Make a backend.

        Args:
            task: what the jobs share.
            run_here: runs a job in the coordinator's own clone.
            find: takes a job's results from the cache, if it has all of them.
        """
        self._task = task
        self._run_here = run_here
        self._find = find
        self._client: SyncPrefectClient = get_client(sync_client=True)
        self._runs: dict[UUID, Job] = {}
        self._queue: list[tuple[Job, int]] = []  # ready, not submitted yet, with the number of the try
        self._ahead: Counter[str] = Counter()  # pool -> submitted jobs that no agent has taken
        self._local: list[tuple[Job, Any]] = []
        self._threads = ThreadPoolExecutor(max_workers=1)
        self._looked = 0.0

    def start(self, job: Job, attempt: int) -> None:
        """Submit a job, as soon as few of its pool wait on the server."""
        if job.pool == HERE:
            self._local.append((job, self._in_background(self._run_here, job)))
        elif attempt == 1 and self._task.maybe_kept.issuperset(job.names):
            self._local.append((job, self._in_background(self._found, job)))
        else:
            self._queue.append((job, attempt))
            self._submit_some()

    def _in_background(self, work: Callable[[Job], Sequence[Outcome]], job: Job) -> Future[Sequence[Outcome]]:
        """Start it; what it logs belongs to this flow run, which Prefect knows by the context."""
        return self._threads.submit(copy_context().run, work, job)

    def _found(self, job: Job) -> Sequence[Outcome]:
        """Return the outcomes of a job whose results the cache has, nothing if an agent must make them."""
        return [Outcome(name, "cached", where=HERE) for name in job.names] if self._find(job) else []

    def _submit_some(self) -> None:
        waiting, self._queue = self._queue, []
        for job, attempt in waiting:
            if self._ahead[job.pool] < _AHEAD:
                self._submit(job, attempt)
            else:
                self._queue.append((job, attempt))

    def _submit(self, job: Job, attempt: int) -> None:
        pools = {name: self._task.pools[name] for stage in job.stages for name in (stage.name, *stage.upstream)}
        parameters = {
            "title": job.title, "nodes": [asdict(stage) for stage in job.stages], "rev": self._task.rev,
            "exchange": self._task.exchange, "pools": pools, "protocol": PROTOCOL,
        }  # fmt: skip
        name = f"stages/{job.pool}"
        try:
            run: Any = patiently(
                lambda: run_deployment(name, parameters=parameters, timeout=0, tags=[*self._task.tags, job.pool])
            )
        except ObjectNotFound as error:
            raise NoDeploymentError(f"the server has no deployment {name}; run `cartoon-pipeline deploy`") from error
        self._runs[run.id] = job
        self._ahead[job.pool] += 1
        again = f", try {attempt}" if attempt > 1 else ""
        log.info("%s -> pool %s%s", job.title, job.pool, again)

    def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
        """Return the jobs that ended since the last call.

        Raises: RunCancelled if this run itself is to end.
        """
        here = [entry for entry in self._local if entry[1].done()]
        self._local = [entry for entry in self._local if entry not in here]
        done: list[tuple[Job, Sequence[Outcome]]] = [(job, future.result()) for job, future in here]
        self._queue += [(job, 1) for job, outcomes in done if not outcomes]
        done = [(job, outcomes) for job, outcomes in done if outcomes]
        found = self._look()
        own = own_id()
        if any(run.id == own and run.state_type in (StateType.CANCELLING, StateType.CANCELLED) for run in found):
            raise RunCancelled("cancelled")
        jobs = [run for run in found if run.id != own]
        self._ahead = Counter(self._runs[run.id].pool for run in jobs if run.state_type == StateType.SCHEDULED)
        ended = [run for run in jobs if run.state is not None and run.state.is_final()]
        told = self._tables(ended)
        for run in ended:
            done.append((self._runs[run.id], told.get(run.id) or self._untold(run)))
            del self._runs[run.id]
        for run in jobs:
            self._give_up_what_never_begins(run)
        self._submit_some()
        self._miss_agents()
        return done

    def stop(self) -> None:
        """Cancel what is under way; agents end it within seconds. A server that is away is not waited for."""
        self._queue = []
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            for run_id, job in self._runs.items():
                try:
                    self._client.set_flow_run_state(run_id, Cancelling())
                except httpx.TransportError as error:
                    log.warning("jobs go on, the next run waits for them: no server (%s)", type(error).__name__)
                    break
                except PrefectHTTPStatusError as error:
                    log.warning("could not cancel %s: %s", job.title, error)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> list[FlowRun]:
        """Read the runs of ours that are not simply running: waiting, just taken, ended."""
        ids = [*self._runs, *([own] if (own := own_id()) else [])]
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[kind for kind in StateType if kind != _BUSY]))
        found: list[FlowRun] = []
        for page in _pages(ids):
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=page), state=state)
            found += patiently(partial(_page_of, self._client, chosen))
        return found

    def _tables(self, runs: Sequence[FlowRun]) -> dict[UUID, list[Outcome]]:
        """Read what runs told about their stages."""
        told: dict[UUID, list[Outcome]] = {}
        for page in _pages([run.id for run in runs]):
            chosen = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=page), type=ArtifactFilterType(any_=["table"])
            )
            ask = partial(self._client.read_artifacts, artifact_filter=chosen, limit=_PAGE)
            for artifact in patiently(ask):
                rows: Any = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
                if artifact.flow_run_id is not None:
                    told[artifact.flow_run_id] = [Outcome(**row) for row in rows]
        return told

    def _untold(self, run: FlowRun) -> list[Outcome]:
        """Judge a run without a table by its state; nothing of one that was cut off, so its stages are interrupted."""
        job, state = self._runs[run.id], run.state
        said = "" if state is None else f"{state.name}: {state.message}"
        log.warning("%s: %s", job.title, said)
        if state is not None and state.type == StateType.CANCELLED:
            return [Outcome(name, "failed", _CANCELLED) for name in job.names]
        if state is not None and state.type == StateType.FAILED:
            return [Outcome(name, "failed", 1) for name in job.names]
        return []

    def _give_up_what_never_begins(self, run: FlowRun) -> None:
        """An agent that dies between taking a job and beginning it leaves it PENDING for ever, in a slot."""
        state = run.state
        if state is None or state.type != StateType.PENDING or state.timestamp is None:
            return
        waited = (datetime.now(UTC) - state.timestamp).total_seconds()
        if waited > self._task.start_s:
            message = f"taken by an agent, but not begun in {waited:.0f} s"
            patiently(lambda: self._client.set_flow_run_state(run.id, Crashed(message=message), force=True))

    def _miss_agents(self) -> None:
        """Say so if nobody serves a pool that jobs wait for."""
        if not self._runs or time.monotonic() - self._looked < _AGENTS_EVERY_S:
            return
        self._looked = time.monotonic()
        for pool in sorted({job.pool for job in self._runs.values()}):
            if not online_workers(self._client, pool):
                log.warning("nobody serves pool %s; start `cartoon-pipeline agent --pool %s`", pool, pool)


def _pages(ids: Sequence[UUID]) -> list[list[UUID]]:
    return [list(ids[first : first + _PAGE]) for first in range(0, len(ids), _PAGE)]


def online_workers(client: SyncPrefectClient, pool: str) -> list[str]:
    """Return the names of the workers of a pool that are alive."""
    try:
        workers = patiently(lambda: client.read_workers_for_work_pool(pool))
    except ObjectNotFound:
        return []
    return [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]


def clear_leftovers(tags: Sequence[str]) -> None:
    """Take back jobs that an earlier coordinator submitted and nobody has begun: they are of its commit."""
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=list(tags)),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled", "Late"])),
    )
    asked: set[UUID] = set()
    with get_client(sync_client=True) as client:
        while new := {run.id for run in patiently(partial(_page_of, client, chosen))} - asked:
            for run_id in new:
                _cancel(client, run_id)
            asked |= new


def _page_of(client: SyncPrefectClient, chosen: FlowRunFilter) -> list[FlowRun]:
    return client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE)


def _cancel(client: SyncPrefectClient, run_id: UUID) -> None:
    patiently(lambda: client.set_flow_run_state(run_id, Cancelling()))


def own_id() -> UUID | None:
    """Id of the flow run that this process is in."""
    return UUID(str(own_run.id)) if own_run.id else None


def patiently(ask: Callable[[], T], patience_s: float = _SERVER_S) -> T:
    """Ask the server until it answers: one that is started again has forgotten nothing.

    Raises: the last error after ``patience_s`` seconds; at once what asking again cannot mend.
    """
    begun = time.monotonic()
    told = False
    while True:
        try:
            return ask()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            status = error.response.status_code if isinstance(error, PrefectHTTPStatusError) else 503
            if status < 500 or time.monotonic() - begun > patience_s:
                raise
            if not told:
                log.warning("Prefect's server does not answer (%s); waiting for it", type(error).__name__)
                told = True
            time.sleep(2.0)
