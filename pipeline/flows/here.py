"""Everything in this folder, without agents: jobs in threads, in lanes of their pools. No server is needed."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.conductor import conduct
from pipeline.flows.afterwards import Ending, afterwards
from pipeline.flows.reproduce import Choice, patience_of
from pipeline.flows.signals import Told, signals_reach_the_stages
from pipeline.graph import narrow, read_graph, select, stale_stages, to_run
from pipeline.jobs import Job, Outcome, StagesFailed, judge, plan_jobs
from pipeline.params import read_params
from pipeline.profiles import dvcfile_of, name_of
from pipeline.provenance import git_state
from pipeline.running.guard import Rules
from pipeline.running.lanes import Lanes, make_lanes
from pipeline.running.lease import Lease
from pipeline.running.mend import mend
from pipeline.running.names import folder_lease, lease_folder
from pipeline.running.process import run_job
from pipeline.scheduling import read_scheduling

_ALL_AT_ONCE = 10_000  # threads are only waiting rooms; lanes decide what runs
_RUNNER: Any = ThreadPoolTaskRunner(max_workers=_ALL_AT_ONCE)


@flow(name="reproduce here", task_runner=_RUNNER, persist_result=False)
def reproduce_here(
    root: str = ".",
    profile: str | None = None,
    dataset: str | None = None,
    method: str | None = None,
    targets: list[str] | None = None,
    gpu_slots: int | None = None,
) -> list[str]:
    """Bring a profile up to date in this folder, as it is.

    Args:
        root: the project, where ``dvc`` is started.
        profile: whose stages; None is the root's own.
        dataset: only what this dataset needs, and the comparison.
        method: only what this method needs, and the comparison.
        targets: stages (or groups such as ``train``) to bring up to date with all they need; None means everything.
        gpu_slots: how many ``gpu`` jobs run at a time; None means one per GPU, 1 without one.

    Returns: names of the stages that were run.
    Raises: StagesFailed after everything that could run has run.
    """
    _quiet_known_failures()
    folder = Path(root).resolve()
    choice = Choice(profile, dataset, method, tuple(targets or ()))
    with (
        Lease.acquire(lease_folder(folder), folder_lease(name_of(folder, profile), folder), what="without agents"),
        signals_reach_the_stages() as told,
    ):
        return _reproduce(folder, choice, gpu_slots, told)


def _reproduce(folder: Path, choice: Choice, gpu_slots: int | None, told: Told) -> list[str]:
    began = time.time()
    mend(folder)
    dvcfile = dvcfile_of(folder, choice.profile)
    whole = select(read_graph(folder), dvcfile, choice.targets)
    stale = stale_stages(folder, dvcfile)
    graph = narrow(whole, choice.dataset, choice.method, set(to_run(whole, stale)))
    chosen = to_run(graph, stale)
    scheduling = read_scheduling((folder / dvcfile).with_name("params.yaml"))
    jobs = plan_jobs(chosen, scheduling.short)
    get_run_logger().info("%d of %d stages to run, as %d jobs", len(chosen), len(graph), len(jobs))
    backend = _Threads(folder, make_lanes(gpu_slots, _gpus_of(folder / dvcfile)))
    outcomes = conduct(jobs, chosen, backend, patience_of(scheduling), told.pause)
    _tell(folder, name_of(folder, choice.profile), outcomes, began)
    judge(outcomes)
    return [name for name, outcome in outcomes.items() if outcome.state == "ran"]


def _tell(folder: Path, profile: str, outcomes: Mapping[str, Outcome], began: float) -> None:
    failed = None
    try:
        judge(outcomes)
    except StagesFailed as error:
        failed = str(error)
    afterwards(folder, folder, profile, Ending(outcomes, git_state(folder).get("git.rev", ""), None, failed, began))


def _gpus_of(dvcfile: Path) -> int | str:
    """Return how many GPUs one training of this profile uses; a graph without a params file has none to ask for."""
    params = dvcfile.with_name("params.yaml")
    train = read_params(params).get("train") if params.exists() else None
    gpus: int | str = train.get("gpus", 1) if isinstance(train, dict) else 1
    return gpus


class _Threads:
    """Jobs as Prefect tasks of this flow run."""

    def __init__(self, root: Path, lanes: Lanes) -> None:
        self._root = root
        self._lanes = lanes
        self._leases = lease_folder(root)
        self._told: dict[tuple[str, ...], list[Outcome]] = {}
        self._ended: SimpleQueue[Job] = SimpleQueue()

    def start(self, job: Job, attempt: int) -> None:
        """Run a job in a thread, when a lane of its pool is free."""
        future: PrefectFuture[None] = self._as_task(job).submit(return_state=False)
        future.add_done_callback(lambda _: self._ended.put(job))

    def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
        """Return the jobs that ended since the last call."""
        done: list[tuple[Job, Sequence[Outcome]]] = []
        while True:
            try:
                job = self._ended.get_nowait()
            except Empty:
                return done
            done.append((job, self._told.pop(job.names, [])))

    def _as_task(self, job: Job) -> Task[[], None]:
        def run() -> None:
            logger = get_run_logger()
            with self._lanes.lane(job.pool) as environment, tempfile.TemporaryDirectory(prefix="job-") as notes:
                rules = Rules(job.names, "", {}, self._leases, Path(notes) / "ledger.jsonl")
                outcomes = run_job(job, self._root, environment, rules, logger.info)
            self._told[job.names] = outcomes
            judge({outcome.stage: outcome for outcome in outcomes})

        title = job.title.replace("{", "(").replace("}", ")")
        return task(name=job.pool, task_run_name=title, cache_policy=NO_CACHE, persist_result=False)(run)


def _quiet_known_failures() -> None:
    """A stage that failed has said why in its own lines; Prefect's traceback through this file would bury them."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], StagesFailed):
        record.exc_info = None
    return True
