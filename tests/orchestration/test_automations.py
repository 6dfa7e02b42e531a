"""The two automations on a real server, with workers that nobody looks after: only the server can notice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.flows.automations import Windows, install
from pipeline.operating.api import PATIENT, Api
from tests.orchestration.platform import (
    PYTHON,
    Server,
    find,
    git,
    started,
    sweep,
    toy_flows,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

SILENT, START = 50.0, 15.0  # s; a flow run beats every 30 s, the least that Prefect allows
HEALTHY = 65  # s that a healthy run lasts: well beyond the window
BY_HAND = "import os, toy; toy.reproduce(do=os.environ['TOY_DO'])"


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    return Api(server.api, PATIENT)


@pytest.fixture(scope="module")
def project(server: Server, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy repository whose flows are deployed; one run at a time in each pool."""
    folder = toy_flows(tmp_path_factory.mktemp("automations") / "toy")
    for pool in ("cpu", "gpu"):
        api.pool(pool, 1)
    server.prefect("deploy", "--all", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def workers(server: Server, project: Path) -> Iterator[Workers]:
    with Workers(server, project) as crowd:
        yield crowd


class Workers(ExitStack):
    """Bare workers, without an agent."""

    def __init__(self, server: Server, project: Path) -> None:
        super().__init__()
        self._server = server
        self._project = project

    def start(self, pool: str, name: str) -> str:
        """Returns the mark that is in the environment of everything below the worker."""
        clone = self._project.parent / name
        if not clone.exists():
            git(self._project.parent, "clone", "--quiet", str(self._project), str(clone))
        command = [*PYTHON, "prefect", "worker", "start", "--pool", pool, "--name", name, "--type", "process"]
        environment = self._server.environment(CARTOON_CLONE=str(clone), PYTHONPATH=str(clone))
        mark = f"CARTOON_CLONE={clone}"
        self.callback(sweep, mark)
        self.enter_context(started(command, clone, environment, clone / "worker.log"))
        return mark


def states(server: Server, run: str) -> list[str]:
    """Names of all states that a run has been in."""
    told = server.call("GET", f"/flow_run_states/?flow_run_id={run}")
    return [state["name"] for state in sorted(told, key=lambda state: str(state["timestamp"]))]


def test_rules_are_installed_once_and_follow_their_settings(server: Server, api: Api) -> None:
    names = ["cartoon-pipeline: no heartbeat", "cartoon-pipeline: not started"]
    assert list(install(api, Windows(100.0, START)).values()) == ["created", "created"]
    assert list(install(api, Windows(100.0, START)).values()) == ["unchanged", "unchanged"]
    assert list(install(api, Windows(SILENT, START)).values()) == ["updated", "unchanged"]
    (rule,) = api.ask("POST", "/automations/filter", {"automations": {"name": {"any_": names[:1]}}})
    assert rule["trigger"]["within"] == SILENT
    del rule["id"], rule["created"], rule["updated"]
    api.ask("POST", "/automations/", rule)  # somebody's copy would fire beside it
    install(api, Windows(SILENT, START))
    there = api.ask("POST", "/automations/filter", {"automations": {"name": {"any_": names}}})
    assert sorted(one["name"] for one in there) == names


def test_silent_and_stuck_runs_are_called_crashed_and_healthy_ones_never(
    server: Server, api: Api, project: Path, workers: Workers, tmp_path: Path
) -> None:
    """All at once, because each is mostly waiting."""
    install(api, Windows(SILENT, START))
    doomed = workers.start("gpu", "doomed")
    zombie = server.submit("stages/gpu", {"do": "sleep 1000"})
    claiming = workers.start("cpu", "claiming")
    stuck = server.submit("stages/cpu", {"do": "true"})
    server.wait(stuck, "PENDING", seconds=60)
    for pid in find(claiming):
        os.kill(pid, signal.SIGKILL)
    assert server.state(stuck) == "PENDING"
    healthy = server.submit("stages/cpu", {"do": f"sleep {HEALTHY}"})
    workers.start("cpu", "second")
    server.wait(zombie, "RUNNING", seconds=60)
    with started(
        [*PYTHON[:1], "-c", BY_HAND], project,
        server.environment(TOY_DO=f"sleep {HEALTHY}", CARTOON_CLONE=str(project), PYTHONPATH=str(project)),
        tmp_path / "by-hand.log",
    ) as by_hand:  # fmt: skip
        wait_for(lambda: find(doomed, "sleep 1000"), 30, "the start of the doomed job")
        for pid in find(doomed):  # a machine that loses its power
            os.kill(pid, signal.SIGKILL)
        assert server.wait(stuck, seconds=START + 20) == "CRASHED"
        assert "not started within 15 s" in server.run(stuck)["state"]["message"]
        server.wait(healthy, "RUNNING", seconds=40)  # its place in the pool is free again
        assert server.wait(zombie, seconds=SILENT + 20) == "CRASHED"
        assert "No sign of life for 50 s" in server.run(zombie)["state"]["message"]
        assert server.wait(healthy, seconds=HEALTHY + 30) == "COMPLETED"
        assert by_hand.wait(60) == 0, (tmp_path / "by-hand.log").read_text()
    (coordinator,) = [run["id"] for run in server.runs("COMPLETED") if run["deployment_id"] is None]
    for run in (healthy, coordinator):
        assert states(server, run)[-2:] == ["Running", "Completed"], states(server, run)
