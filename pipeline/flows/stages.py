"""The flow that agents run: one job, in this agent's clone, at the coordinator's commit."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from pipeline.flows.signals import signals_reach_the_stages
from pipeline.graph import StageNode
from pipeline.jobs import Job, Outcome, summary
from pipeline.running.clones import at_revision
from pipeline.running.exchange import Exchange
from pipeline.running.guard import Rules
from pipeline.running.mend import mend
from pipeline.running.names import lease_folder
from pipeline.running.process import run_job
from pipeline.watching.contents import bring_content

PROTOCOL = 1  # of the parameters below; agents and coordinators of different ones cannot work together
_WRONG_PLACE = 5


class AgentError(Exception):
    """This agent cannot run what it was given."""

    exit_code: ClassVar[int] = _WRONG_PLACE


@flow(name="stages", flow_run_name="{title}", persist_result=False)
def stages(  # noqa: D417 (``title`` is for the eyes)
    title: str, nodes: list[dict[str, Any]], rev: str, exchange: str, pools: dict[str, str], protocol: int
) -> State[Any]:
    """Run one job: restore what it needs from the cache, run its stages, share what they made.

    Args:
        nodes: the stages, as ``StageNode``'s fields.
        rev: commit whose files are used.
        exchange: identity of the cache or remote that the coordinator looks into.
        pools: stage -> pool of everything that these may need, for messages.
        protocol: of the coordinator.

    Returns: Completed or Failed; the outcome of every stage is a table artifact of this run.
    """
    job = Job(tuple(_node(entry) for entry in nodes))
    try:
        with signals_reach_the_stages():
            return _tell(_run(job, rev, exchange, pools, protocol))
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        get_run_logger().error("error: %s", error)
        return _tell([Outcome(name, "failed", code, before_or_after=True) for name in job.names])


def _run(job: Job, rev: str, exchange: str, pools: Mapping[str, str], protocol: int) -> Sequence[Outcome]:
    clone, pool = _place(job, protocol)
    at_revision(clone, rev)
    mend(clone)
    shared = Exchange.of(clone, os.environ.get("CARTOON_REMOTE") or None)
    if shared.identity() != exchange:
        raise AgentError(
            f"this agent exchanges results by {shared.identity()}, the coordinator by {exchange}; "
            "start both with the same --cache or --remote"
        )
    bring_content(clone, os.environ.get("CARTOON_REMOTE") or None)

    def run() -> Sequence[Outcome]:
        with tempfile.TemporaryDirectory(prefix="job-") as notes:
            rules = Rules(job.names, pool, pools, lease_folder(clone), Path(notes) / "ledger.jsonl")
            return run_job(job, clone, {}, rules, get_run_logger().info)

    return shared.around(job.names, run, _still_wanted)


def _node(entry: Mapping[str, Any]) -> StageNode:
    return StageNode(**{**entry, "upstream": tuple(entry["upstream"])})


def _place(job: Job, protocol: int) -> tuple[Path, str]:
    """Return the clone and pool of this agent, if the job belongs here."""
    if protocol != PROTOCOL:
        raise AgentError(
            f"the coordinator speaks protocol {protocol}, this agent {PROTOCOL}: bring both to one version of the "
            "project and start the agent again"
        )
    clone, pool = os.environ.get("CARTOON_CLONE"), os.environ.get("CARTOON_POOL", "")
    if clone is None:
        raise AgentError("no agent's clone here (CARTOON_CLONE is not set); start agents by `cartoon-pipeline agent`")
    if pool != job.pool:
        raise AgentError(f"{job.title}: belongs to pool {job.pool}, this agent serves {pool or 'none'}")
    os.chdir(clone)
    return Path(clone), pool


def _still_wanted() -> bool:
    """Whether the server has not given this run up: another may have taken its place."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run.id).state
    return state is None or not state.is_final()


def _tell(outcomes: Sequence[Outcome]) -> State[Any]:
    create_table_artifact(table=[asdict(outcome) for outcome in outcomes], description=f"on {socket.gethostname()}")
    said = ", ".join(f"{count} {state}" for state, count in summary(outcomes).items())
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if failed:
        worst = "; ".join(f"{outcome.stage}: exit code {outcome.exit_code}" for outcome in failed[:5])
        return Failed(message=f"{said} ({worst})")
    return Completed(message=said)
