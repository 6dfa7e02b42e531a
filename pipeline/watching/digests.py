"""Which versions of datasets have been retrained, kept by Prefect's server, and the event that asks for more.

The digest of a dataset advances only when a retraining is done. Until then every look says the same again, so nothing
is lost by a death anywhere; a repetition finds everything in DVC's cache.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

EVENT = "dataset.changed"
FLOW = "reproduce"  # which retrains
_BUSY = "LeaseBusy"  # in the state of a run that found another one at work
_PAGE = 200  # runs per question; the server gives no more
_UNDER_WAY = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")


@dataclass(frozen=True)
class Change:
    """A version of a dataset that is to be retrained; what the event says."""

    profile: str
    dataset: str
    digest: str
    rev: str  # a commit that has it


def known(profile: str, dataset: str) -> str | None:
    """Return the digest that was retrained last; None if none was."""
    with _client() as client:
        variable = client.read_variable_by_name(_name(profile, dataset))
    value = variable.value if variable is not None else None
    return str(value["digest"]) if isinstance(value, dict) else None


def settle(profile: str, dataset: str, digest: str) -> None:
    """Note that a version has been retrained."""
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate
    from prefect.exceptions import ObjectAlreadyExists

    name = _name(profile, dataset)
    value: Any = {"profile": profile, "dataset": dataset, "digest": digest}
    with _client() as client:
        try:
            client.create_variable(VariableCreate(name=name, value=value))
        except ObjectAlreadyExists:
            client.update_variable(VariableUpdate(name=name, value=value))


def emit(change: Change) -> None:
    """Tell the server; returns when it has the event.

    Prefect's own ``emit_event`` queues events in this process, and would lose them with it.
    """
    from prefect.events import Event, Resource

    resource = {
        "prefect.resource.id": f"dataset.{change.profile}.{change.dataset}",
        "prefect.resource.name": change.dataset,
    }
    event = Event(event=EVENT, resource=Resource(resource), payload=asdict(change))
    with _client() as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


def under_way(change: Change) -> str | None:
    """Return the name of a retraining of this version that is scheduled or running."""
    for run in _runs(_UNDER_WAY, change):
        return str(run.name)
    return None


def failures(change: Change, since: datetime) -> int:
    """How many retrainings of this version have failed since a moment.

    Those that died are not counted, nor those that found another coordinator at work: both may do better next time.
    """
    counted = 0
    for run in _runs(("FAILED",), change):
        busy = _BUSY in str(run.state.message if run.state else "")
        counted += not busy and run.start_time is not None and run.start_time >= since
    return counted


def _runs(states: tuple[str, ...], change: Change) -> list[Any]:
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    flows = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    kinds: Any = list(states)
    runs = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
    with _client() as client:
        found = client.read_flow_runs(
            flow_filter=flows, flow_run_filter=runs, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_PAGE
        )
    wanted = {"profile": change.profile, "dataset": change.dataset, "digest": change.digest}
    return [run for run in found if wanted.items() <= run.parameters.items()]


def _name(profile: str, dataset: str) -> str:
    """Name the variable: small letters, digits and _ are allowed, so two names could become one without the hash."""
    exact = hashlib.sha256(f"{profile}/{dataset}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "_", f"{profile}_{dataset}".lower()).strip("_")
    return f"retrained_{plain[:200]}_{exact}"


def _client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)
