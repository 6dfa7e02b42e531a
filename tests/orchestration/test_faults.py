"""Whole runs on agents while something dies: the run converges, and nothing that was finished is done again."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.plant import Agent, Plant
from tests.orchestration.platform import Server, answers, find, sweep, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

AWAY = 12.0  # s without a server


@pytest.fixture(scope="module")
def plant(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    plant = Plant(tmp_path_factory.mktemp("faults"))
    done = plant.run(server, command="deploy")
    assert done.returncode == 0, done.stderr
    return plant


@pytest.fixture(scope="module")
def agent(server: Server, plant: Plant) -> Iterator[Agent]:
    agent = Agent(server, plant)
    yield agent.start()
    agent.kill()


@pytest.fixture(autouse=True)
def alive(server: Server, agent: Agent) -> None:
    """Whatever the test before has left."""
    if not answers(f"{server.api}/health"):
        server.restart()
    if agent.process.poll() is not None:
        agent.start()


def jobs(server: Server, state: str) -> list[str]:
    """Ids of jobs in a state."""
    return [run["id"] for run in server.runs(state) if "cartoon" in run["tags"]]


def test_a_dead_coordinators_place_is_free_at_once_and_the_next_one_neither_doubles_nor_repeats_its_jobs(
    server: Server, plant: Plant
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


def test_a_server_that_is_away_delays_a_run_and_its_jobs_but_loses_neither(server: Server, plant: Plant) -> None:
    plant.change()
    plant.hold("b")
    with plant.running(server, "c") as run:
        plant.until("begin", "b")
        (long,) = jobs(server, "RUNNING")
        server.kill()
        try:
            plant.release("b")
            plant.until("end", "c")
            time.sleep(AWAY)
        finally:
            server.start()
        assert plant.ended(run) == 0, plant.said()
    assert server.state(long) == "COMPLETED"  # its end could not be told when it came
    assert plant.times() == plant.once("abc")
    assert plant.is_one_clean_commit("abc")


def test_a_job_outlives_its_machine_twice_and_its_stages_go_on_where_they_were(
    server: Server, plant: Plant, agent: Agent
) -> None:
    plant.change()
    plant.hold("b")
    with plant.running(server, "c") as run:
        plant.until("begin", "b")
        agent.process.terminate()
        assert agent.process.wait(60) == 0
        agent.start()
        plant.until("again", "b")  # from the state that it saved when it was told to end
        agent.kill()
        cut_locks(agent)
        agent.start()
        plant.until("again", "b", 2)
        plant.release("b")
        assert plant.ended(run) == 0, plant.said()
    assert plant.times() == {**plant.once("abc"), "b": 3}
    assert plant.is_one_clean_commit("abc")


def cut_locks(agent: Agent) -> None:
    """What a power failure may do to a file that DVC writes in place, and to git."""
    locks = list(agent.home.glob("cpu-*/dvc.lock"))
    assert locks
    for lock in locks:
        lock.write_text(lock.read_text()[:15])
        (lock.parent / ".git" / "index.lock").touch()


def test_sigterm_ends_a_run_with_its_jobs_and_a_lost_result_is_an_error_until_it_is_made_again(
    server: Server, plant: Plant
) -> None:
    plant.change()
    plant.hold("b")
    with plant.running(server, "c") as run:
        plant.until("begin", "b")
        run.terminate()
        assert plant.ended(run) == 143, plant.said()
        wait_for(lambda: not find(f"SEEN={plant.seen}", "dvc"), 30, "the end of the job's processes")
        wait_for(lambda: not jobs(server, "RUNNING"), 30, "the end of the jobs")
    assert plant.has_no_commit()
    plant.release("b")
    plant.last_act("c", f"rm {cached(plant, 'a')}")
    lost = plant.run(server, "c")
    assert lost.returncode == 4, lost.stderr
    assert "not in the cache, though done or thought up to date: a" in lost.stderr
    assert plant.has_no_commit()
    assert plant.times() == {**plant.once("abc"), "b": 2}
    assert plant.told("again") == ["b"]
    done = plant.run(server, "c")
    assert done.returncode == 0, done.stderr
    assert plant.times() == {**plant.once("abc"), "a": 2, "b": 2}
    assert plant.is_one_clean_commit("abc")


def cached(plant: Plant, name: str) -> Path:
    """Where DVC keeps the output of a stage without needs."""
    text = (plant.project / "one.yaml").read_text() + f"{name}\n"
    digest = hashlib.md5(text.encode()).hexdigest()
    return plant.project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def test_a_run_without_agents_continues_from_a_lock_that_was_cut_when_the_power_failed(
    server: Server, plant: Plant
) -> None:
    plant.change()
    plant.hold("b")
    with plant.running(server, "--here"):
        plant.until("begin", "b")
        wait_for(lambda: plant.noted() >= {"a", "d", "f"})
        sweep(f"PLANT_RUN={plant.seen}")
    lock = plant.project / "dvc.lock"
    lock.write_text(lock.read_text()[:15])
    plant.release("b")
    done = plant.run(server, "--here")
    assert done.returncode == 0, done.stderr
    assert plant.times() == {**plant.once(), "b": 2}
    assert plant.noted() == set(plant.graph)
