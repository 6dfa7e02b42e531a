"""Whole runs on agents while something dies: the run converges, and nothing that was finished is done again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.orchestration.plant import Plant
from tests.orchestration.platform import Server, agent, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]


@pytest.fixture(scope="module")
def plant(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    plant = Plant(tmp_path_factory.mktemp("faults"))
    done = plant.run(server, command="deploy")
    assert done.returncode == 0, done.stderr
    return plant


@pytest.fixture(scope="module")
def agents(server: Server, plant: Plant) -> Iterator[subprocess.Popen[bytes]]:
    with agent(server, plant.project, "cpu", "--slots", "2", **more(plant)) as process:
        yield process


def more(plant: Plant) -> dict[str, str]:
    """Variables of agents: where stages tell what they do."""
    return {"SEEN": str(plant.seen), "CARTOON_GRACE": "5"}


def jobs(server: Server, state: str) -> list[str]:
    """Ids of jobs in a state."""
    return [run["id"] for run in server.runs(state) if "cartoon" in run["tags"]]


def test_a_dead_coordinators_place_is_free_at_once_and_the_next_one_neither_doubles_nor_repeats_its_jobs(
    server: Server, plant: Plant, agents: subprocess.Popen[bytes]
) -> None:
    plant.change()
    plant.hold("b", "d")  # both slots are taken, so a third job waits
    with plant.running(server) as first:
        plant.until("begin", "b")
        plant.until("begin", "d")
        (waiting,) = wait_for(lambda: jobs(server, "SCHEDULED"))
        second = plant.run(server)
        assert second.returncode == 9
        assert f"process {first.pid}" in second.stderr
        os.kill(first.pid, signal.SIGKILL)
    old = jobs(server, "RUNNING")
    with plant.running(server) as third:
        wait_for(lambda: server.state(waiting) == "CANCELLED", what="taking back what the dead one had submitted")
        plant.release("d")
        busy = wait_for(lambda: [run for run in jobs(server, "RUNNING") if run not in old], what="a job for the third")
        wait_for(lambda: "being worked on" in server.log_of(busy[0]), what="waiting for the job of the first")
        plant.release("b")
        assert third.wait(200) == 0, plant.said()
    assert plant.times() == plant.once()
    assert plant.is_one_clean_commit()
