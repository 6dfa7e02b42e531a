"""What the watcher keeps on a real server: retrained versions, events, runs under way and failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.watching import digests
from pipeline.watching.digests import Change
from tests.orchestration.platform import Server, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]


@pytest.fixture
def asked(server: Server) -> Iterator[Server]:
    """This process asks that server too."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server.api}):
        yield server


def test_a_retrained_version_is_kept_by_exact_names(asked: Server) -> None:
    assert digests.known("state", "Night_Comics") is None
    digests.settle("state", "Night_Comics", "one")
    digests.settle("state", "night-comics", "two")
    assert digests.known("state", "Night_Comics") == "one"
    digests.settle("state", "Night_Comics", "three")
    assert [digests.known("state", name) for name in ("Night_Comics", "night-comics")] == ["three", "two"]
    assert digests.known("state", "x" * 300) is None  # longer than a variable's name may be
    digests.settle("state", "x" * 300, "four")
    assert digests.known("state", "x" * 300) == "four"


def test_an_event_is_on_the_server_when_emit_returns(asked: Server) -> None:
    change = Change("state", "comics", "d" * 40, "f" * 40)
    digests.emit(change)
    name = {"event": {"name": ["dataset.changed"]}, "resource": {"id": ["dataset.state.comics"]}}
    asks = {"filter": name, "limit": 10}
    (event,) = wait_for(lambda: asked.call("POST", "/events/filter", asks)["events"], 20, "the event")
    assert event["payload"] == {"profile": "state", "dataset": "comics", "digest": "d" * 40, "rev": "f" * 40}


def begin(server: Server, change: Change, name: str, *states: dict[str, Any]) -> None:
    flow = server.call("POST", "/flows/", {"name": "reproduce"})["id"]
    parameters = {"profile": change.profile, "dataset": change.dataset, "digest": change.digest, "branch": "main"}
    run = server.call("POST", "/flow_runs/", {"flow_id": flow, "name": name, "parameters": parameters})["id"]
    for state in states:
        server.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})


def test_runs_of_this_version_alone_count_by_how_they_stand(asked: Server) -> None:
    change = Change("state", "runs", "e" * 40, "f" * 40)
    before = datetime.now(UTC) - timedelta(seconds=5)
    running, failed = {"type": "RUNNING"}, {"type": "FAILED", "message": "a stage failed"}
    begin(asked, Change("state", "runs", "0" * 40, ""), "older version", running)
    begin(asked, Change("state", "other", "e" * 40, ""), "other dataset", running)
    begin(asked, change, "done", running, {"type": "COMPLETED"})
    begin(asked, change, "failed", running, failed)
    begin(asked, change, "died", running, {"type": "CRASHED"})
    begin(asked, change, "too many cooks", running, {"type": "FAILED", "message": "LeaseBusy: coordinator of state"})
    assert digests.under_way(change) is None
    assert digests.failures(change, before) == 1
    assert digests.failures(change, datetime.now(UTC) + timedelta(seconds=60)) == 0
    begin(asked, change, "waiting", {"type": "SCHEDULED"})
    assert digests.under_way(change) == "waiting"
