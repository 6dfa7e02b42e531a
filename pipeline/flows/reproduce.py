"""The coordinator: submit what is out of date to agents, then make sure that one commit holds all of it."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run as own_run
from prefect.states import Cancelled

from pipeline.conductor import Patience, conduct
from pipeline.flows.afterwards import Ending, afterwards
from pipeline.flows.pools import HERE, Pools, RunCancelled, Task, clear_leftovers
from pipeline.flows.signals import Told, signals_reach_the_stages
from pipeline.graph import Graph, StageNode, narrow, read_graph, select, to_run
from pipeline.jobs import Job, Outcome, StagesFailed, judge, plan_jobs
from pipeline.profiles import dvcfile_of, name_of
from pipeline.running.desk import Desk, check_out_results, open_desk
from pipeline.running.exchange import Exchange
from pipeline.running.guard import Rules
from pipeline.running.lease import Lease
from pipeline.running.mend import mend
from pipeline.running.names import coordinator_lease, lease_folder
from pipeline.running.process import GROUPS, run_job
from pipeline.running.restoring import NotReproducedError, restore
from pipeline.running.trouble import ExchangeError
from pipeline.scheduling import Scheduling, read_scheduling
from pipeline.watching.contents import bring_content
from pipeline.watching.looks import settle

log = logging.getLogger("run")

_INTERRUPTED_TRIES = 5
_POLL_S = 1.0


@dataclass(frozen=True)
class Choice:
    """Which stages of a profile somebody wants."""

    profile: str | None
    dataset: str | None = None
    method: str | None = None
    targets: tuple[str, ...] = ()


def _title() -> str:
    """Name a run by what was asked for."""
    asked = own_run.parameters
    return " ".join(["reproduce", *(str(asked[name]) for name in ("profile", "dataset", "method") if asked.get(name))])


@flow(name="reproduce", flow_run_name=_title, persist_result=False)
def reproduce(
    profile: str | None = None,
    dataset: str | None = None,
    method: str | None = None,
    targets: list[str] | None = None,
    branch: str | None = None,
    digest: str | None = None,
    root: str | None = None,
) -> Any:
    """Bring a profile up to date on agents and commit its dvc.lock.

    Args:
        profile: whose stages; None is the root's own.
        dataset: only what this dataset needs, and the comparison.
        method: only what this method needs, and the comparison.
        targets: stages, or groups such as ``train``, with all they need.
        branch: newest commit of this branch of origin is reproduced, the result pushed to it; None: the commit that
            ``root`` is at, which gets the result.
        digest: of the dataset's content, that is noted as retrained at the end.
        root: the project; None is this agent's clone, or the current folder.

    Returns: names of the stages that ran.
    Raises: StagesFailed after everything that could run has run.
    """
    log.setLevel(logging.INFO)  # in an agent's process nothing else says so
    home = Path(root or os.environ.get("CARTOON_CLONE") or ".").resolve()
    choice = Choice(profile, dataset, method, tuple(targets or ()))
    try:
        return _Run(home, choice, branch, digest).to_the_end()
    except RunCancelled:
        return Cancelled(message="cancelled, with every job that was under way")


class _Run:
    """One coordinated run."""

    def __init__(self, root: Path, choice: Choice, branch: str | None, digest: str | None) -> None:
        self.root = root
        self.choice = choice
        self.branch = branch
        self.digest = digest
        self.profile = name_of(root, choice.profile)
        self.remote = os.environ.get("CARTOON_REMOTE") or None
        self.began = time.time()
        self.told = Told()
        self.pools: dict[str, str] = {}  # of every stage of the project, for messages

    def to_the_end(self) -> list[str]:
        with (
            Lease.acquire(lease_folder(self.root), coordinator_lease(self.profile), what="a coordinated run"),
            signals_reach_the_stages() as self.told,
        ):
            desk = open_desk(self.root, self.profile, self.branch, self.remote)
            mend(desk.folder)
            dvcfile = dvcfile_of(desk.folder, self.choice.profile)
            exchange = Exchange.of(desk.folder, self.remote)
            bring_content(desk.folder, self.remote)
            exchange.fetch([dvcfile])
            stages = read_graph(desk.folder)
            self.pools = {name: node.pool for name, node in stages.items()}
            whole = select(stages, dvcfile, self.choice.targets)
            graph, missing = self._missing(desk, dvcfile, whole)
            if missing:  # agents elsewhere cannot see what only this machine has
                exchange.push([name for name in graph if name not in to_run(graph, missing)], lambda: True)
            chosen = placed(to_run(graph, missing))
            outcomes = self._conduct(desk, dvcfile, chosen, missing, exchange) if missing else {}
            exchange.fetch([dvcfile])
            commit = self._publish(desk, dvcfile, graph)
        self._tell(desk, outcomes, commit, None)
        return [name for name, outcome in outcomes.items() if outcome.state == "ran"]

    def _missing(self, desk: Desk, dvcfile: str, whole: Graph) -> tuple[Graph, list[str]]:
        """Take from the cache what it has; return the chosen stages and those of them that it does not have."""
        refused = restore(desk.folder, dvcfile, list(whole) if self.choice.targets else [dvcfile])
        stale = set(to_run(whole, refused))
        graph = narrow(whole, self.choice.dataset, self.choice.method, stale)
        left = [name for name in refused if name not in graph]
        if left:
            log.info("out of date, but not asked for: %s", ", ".join(left))
        return graph, [name for name in refused if name in graph]

    def _conduct(
        self, desk: Desk, dvcfile: str, chosen: Graph, missing: Sequence[str], exchange: Exchange
    ) -> dict[str, Outcome]:
        scheduling = read_scheduling((desk.folder / dvcfile).with_name("params.yaml"))
        jobs = plan_jobs(chosen, scheduling.short)
        tags = ("cartoon", f"profile:{self.profile}")
        clear_leftovers(tags)
        log.info("%d stages to run, as %d jobs", len(chosen), len(jobs))
        kept = frozenset(name for name, node in chosen.items() if node.kept and name not in missing)
        task = Task(desk.rev, exchange.identity(), self.pools, tags, scheduling.start_s, kept)

        own = _Here(desk.folder, dvcfile, exchange)
        backend = Pools(task, own.run, own.find)
        try:
            outcomes = conduct(jobs, chosen, backend, patience_of(scheduling), self.told.pause)
        except BaseException:  # cancelled, SIGTERM, a mistake: agents would go on for nobody
            GROUPS.terminate()  # what runs here
            backend.stop()
            raise
        self._judge(desk, outcomes)
        return outcomes

    def _judge(self, desk: Desk, outcomes: dict[str, Outcome]) -> None:
        try:
            judge(outcomes)
        except StagesFailed as error:
            self._tell(desk, outcomes, None, str(error))
            raise

    def _publish(self, desk: Desk, dvcfile: str, graph: Graph) -> str | None:
        """One ``dvc repro`` over everything, which must run nothing; then one commit."""
        everything = not (self.choice.dataset or self.choice.method or self.choice.targets)
        refused = restore(desk.folder, dvcfile, [dvcfile] if everything else list(graph))
        if refused:
            raise NotReproducedError(
                f"not in the cache, though done or thought up to date: {', '.join(refused)}; nothing is committed. Do "
                "agents and coordinator use one cache (`cartoon-pipeline doctor`)? The same command tries again"
            )
        commit = desk.commit(f"Reproduce {self.profile}")
        if commit is None:
            log.info("dvc.lock was up to date")
            self._show(dvcfile)
            return None
        branch = desk.hand_over(commit)
        log.info("committed as %s on %s", commit[:12], branch)
        self._show(dvcfile)
        return commit

    def _show(self, dvcfile: str) -> None:
        if self.branch is None:
            check_out_results(self.root, dvcfile)

    def _tell(self, desk: Desk, outcomes: dict[str, Outcome], commit: str | None, failed: str | None) -> None:
        ending = Ending(outcomes, desk.rev, commit, failed, self.began)
        afterwards(self.root, desk.folder, self.profile, ending)
        if failed is None and self.digest is not None and self.choice.dataset is not None:
            settle(desk.folder, self.profile, self.choice.dataset, self.digest)


def placed(chosen: Graph) -> dict[str, StageNode]:
    """Move stages that git keeps outputs of, and what needs them, to the coordinator: no cache carries such outputs."""
    moved: dict[str, StageNode] = {}
    for name, node in chosen.items():
        stays = node.published or any(moved[up].pool == HERE for up in node.upstream if up in moved)
        moved[name] = replace(node, pool=HERE) if stays else node
    return moved


def patience_of(scheduling: Scheduling) -> Patience:
    """How often jobs are tried again by these settings."""
    return Patience(scheduling.retry_s, _INTERRUPTED_TRIES, _POLL_S)


@dataclass(frozen=True)
class _Here:
    """Jobs in the coordinator's clone."""

    folder: Path
    dvcfile: str
    exchange: Exchange

    def run(self, job: Job) -> Sequence[Outcome]:
        """Run a job."""
        with tempfile.TemporaryDirectory(prefix="job-") as notes:
            rules = Rules(job.names, HERE, {}, lease_folder(self.folder), Path(notes) / "ledger.jsonl")
            run = partial(run_job, job, self.folder, {}, rules, log.info)
            try:
                return self.exchange.around(job.names, run, lambda: True)
            except ExchangeError as error:
                log.error("%s: %s", job.title, error)
                return [Outcome(name, "failed", error.exit_code, 0.0, HERE, before_or_after=True) for name in job.names]

    def find(self, job: Job) -> bool:
        """Whether a job's results exist, so that nobody has to run it."""
        try:
            self.exchange.fetch(job.names)
        except ExchangeError as error:
            log.warning("%s: not looked for: %s", job.title, error)
            return False
        return not restore(self.folder, self.dvcfile, job.names)
