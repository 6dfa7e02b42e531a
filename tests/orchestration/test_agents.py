"""Agents with real workers: what a job finds, and who notices when something of an agent dies."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.platform import (
    PYTHON,
    Server,
    agent,
    agent_home,
    alive,
    find,
    git,
    toy_flows,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

SAVES = "trap 'touch {0}.saved; exit 75' TERM; echo $$ > {0}.pid; while true; do sleep 0.1; done"
MEET = "touch {me}.here; n=0; while [ ! -e {other}.here ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done"


@pytest.fixture(scope="module")
def project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy repository whose flows are deployed."""
    folder = toy_flows(tmp_path_factory.mktemp("agents") / "toy")
    for pool in ("cpu", "gpu"):
        if pool not in {there["name"] for there in server.call("POST", "/work_pools/filter", {})}:
            server.pool(pool)
    server.prefect("deploy", "--all", cwd=folder)
    return folder


@pytest.fixture
def clone(project: Path) -> Path:
    """Where the first slot of the cpu agent works."""
    return agent_home(project, "cpu") / "cpu-0"


@pytest.fixture
def cpu_agent(server: Server, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    with agent(server, project, "cpu", "--slots", "1") as process:
        yield process


def begin(server: Server, clone: Path, name: str) -> tuple[str, int]:
    """Start a job that saves its state when it is told to end; returns its run and its process."""
    run = server.submit("stages/cpu", {"do": SAVES.format(name)})
    note = clone / f"{name}.pid"
    wait_for(lambda: note.exists() and note.read_text().strip(), what=f"the start of {name}")
    return run, int(note.read_text())


def claim(server: Server) -> str:
    """Claim a run as a worker does; the only slot is busy, so that nobody else does."""
    run = server.submit("stages/cpu", {"do": "true"})
    server.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "PENDING"}})
    return run


def worker_of(clone: Path) -> int:
    """The worker itself, not the supervisor above it."""
    (pid,) = [pid for pid in find(f"CARTOON_CLONE={clone}", "prefect worker") if supervisor_of(clone) != pid]
    return pid


def supervisor_of(clone: Path) -> int:
    (pid,) = find(f"CARTOON_CLONE={clone}", "--grace=45")
    return pid


def crashed(server: Server, run: str, clone: Path, name: str, process: int) -> str:
    """The run is called crashed at once, its process saved its state and is gone; returns the server's message."""
    assert server.wait(run, seconds=30) == "CRASHED"
    wait_for(lambda: not alive(process), 10, "the end of the job")
    assert (clone / f"{name}.saved").exists()
    return str(server.run(run)["state"]["message"])


def test_each_slot_has_its_own_clone_and_its_own_gpu(server: Server, project: Path, tmp_path: Path) -> None:
    script = "echo $CARTOON_POOL $CARTOON_AGENT $CUDA_VISIBLE_DEVICES $CARTOON_CLONE $PWD > {place}/{me}; cd {place}; "
    with agent(server, project, "gpu", CUDA_VISIBLE_DEVICES="GPU-aa,GPU-bb"):
        runs = [
            server.submit("stages/gpu", {"do": script.format(me=me, place=tmp_path) + MEET.format(me=me, other=other)})
            for me, other in (("left", "right"), ("right", "left"))
        ]
        assert [server.wait(run) for run in runs] == ["COMPLETED", "COMPLETED"]
        told = sorted((tmp_path / name).read_text().split() for name in ("left", "right"))
        places = [agent_home(project, "gpu") / f"gpu-{number}" for number in (0, 1)]
        assert told == [
            ["gpu", "gpu-0", "GPU-aa", str(places[0]), str(places[0])],
            ["gpu", "gpu-1", "GPU-bb", str(places[1]), str(places[1])],
        ]
        assert {git(place, "rev-parse", "HEAD") for place in places} == {git(project, "rev-parse", "HEAD")}
        assert server.call("GET", "/work_pools/gpu")["base_job_template"]  # what the UI needs to show the pool


def test_a_dead_worker_is_replaced_and_its_run_reported_at_once(
    server: Server, project: Path, clone: Path, cpu_agent: subprocess.Popen[bytes]
) -> None:
    nameless = None
    for name, victim in (("worker", worker_of), ("supervisor", supervisor_of)):
        run, process = begin(server, clone, name)
        nameless = nameless or claim(server)  # what a worker leaves that dies before it has put its name on a run
        os.kill(victim(clone), signal.SIGKILL)
        assert crashed(server, run, clone, name, process).endswith("its worker died")
    assert server.wait(server.submit("stages/cpu", {"do": "true"})) == "COMPLETED"
    command = [*PYTHON, "pipeline.cli", "--root", str(project), "agent", "--pool", "cpu"]
    second = subprocess.run(
        [*command, "--home", str(clone.parent)], env=server.environment(), capture_output=True, text=True, check=False
    )
    assert second.returncode == 9
    assert f"process {cpu_agent.pid} serves pool cpu from here" in second.stderr
    assert nameless is not None
    assert server.wait(nameless, seconds=40) == "CRASHED"
    assert server.run(nameless)["state"]["message"].endswith("a worker died while claiming it")


def test_an_agent_that_is_told_to_end_takes_everything_with_it(
    server: Server, clone: Path, cpu_agent: subprocess.Popen[bytes]
) -> None:
    run, process = begin(server, clone, "told")
    cpu_agent.terminate()
    assert cpu_agent.wait(30) == 0
    assert find(f"CARTOON_CLONE={clone}") == []
    assert crashed(server, run, clone, "told", process)


def test_what_a_killed_agent_left_is_settled_by_the_next(server: Server, project: Path, clone: Path) -> None:
    with agent(server, project, "cpu", "--slots", "1") as first:
        run, process = begin(server, clone, "left")
        first.kill()
        wait_for(lambda: not find(f"CARTOON_CLONE={clone}"), 30, "the end of everything below the agent")
    assert (clone / "left.saved").exists()
    with agent(server, project, "cpu", "--slots", "1"):
        assert crashed(server, run, clone, "left", process).endswith("the agent was started again")
        assert server.wait(server.submit("stages/cpu", {"do": "true"})) == "COMPLETED"
