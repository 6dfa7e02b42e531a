"""Cancel and status with a real server and real agents: everything of a run is gone, and the same run continues."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.orchestration.platform import PYTHON, Server, agent, alive, git, repository, stage, started, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

GRACE = 3.0  # s that a stage has to save its state
FAILS = "[ -e {0}/go ] || {{ echo error: the loss is not finite; exit 8; }}"
RUNS = "echo x >> {0}/{1}.ran; echo $$ > {0}/{1}.pid; [ -e {0}/go ] || while true; do sleep 0.1; done"


class Project:
    """A toy project of three jobs: one fails, one saves its state on SIGTERM, one ignores it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        saves = f"trap 'touch {self.notes}/saves.saved; exit 75' TERM; "
        self.root = repository(
            folder / "toy",
            stage("first")
            + stage("fails", FAILS.format(self.notes), ("first", "params.yaml"))
            + stage("quick", f"echo x >> {self.notes}/quick.ran")
            + stage("saves", saves + RUNS.format(self.notes, "saves"), ("quick", "params.yaml"))
            + stage("ignores", "trap '' TERM; " + RUNS.format(self.notes, "ignores")),
        )

    def command(self, *arguments: str) -> list[str]:
        return [*PYTHON, "pipeline.cli", "--root", str(self.root), *arguments]

    def call(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.server.environment(**more)
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    @contextmanager
    def running(self, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
        """A run with both long stages under way, and their processes."""
        environment = self.server.environment(CARTOON_GRACE=str(GRACE), **more)
        with started(self.command("run", *arguments), self.root, environment, self.notes / "run.log") as process:
            yield process, self.long_stages()

    def long_stages(self) -> list[int]:
        """Wait for both long stages; returns their processes."""
        files = [self.notes / f"{name}.pid" for name in ("saves", "ignores")]
        try:
            wait_for(lambda: all(file.exists() and file.read_text().strip() for file in files), 300, "the long stages")
        except AssertionError as error:
            runs = self.server.runs("RUNNING", "FAILED", "CRASHED", "PENDING")
            told = [f"{run['name']}: {run['state']['name']}, {self.server.log_of(run['id'])[-500:]}" for run in runs]
            raise AssertionError(f"{error}; {told}") from None
        return [int(file.read_text()) for file in files]

    def renew(self) -> None:
        """Make every stage out of date, and the long ones long."""
        for note in (*self.notes.glob("*.pid"), self.notes / "go"):
            note.unlink(missing_ok=True)
        params = self.root / "params.yaml"
        params.write_text(params.read_text() + "# new\n")
        git(self.root, "commit", "--quiet", "--all", "--message", "New settings")

    def times(self, name: str) -> int:
        """How often a stage was begun."""
        return len((self.notes / f"{name}.ran").read_text().splitlines())


@pytest.fixture(scope="module")
def deployed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("cancel"), server)
    done = project.call("deploy")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def agents(deployed: Project) -> Iterator[None]:
    with agent(deployed.server, deployed.root, "cpu", "--slots", "3", CARTOON_GRACE=str(GRACE)):
        yield


def unfinished(server: Server) -> list[str]:
    """Names of runs that have not ended; what is scheduled for some night does not count."""
    states = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
    return [run["name"] for run in server.runs(*states) if not run["auto_scheduled"]]


def test_a_cancelled_run_is_gone_with_all_its_jobs_and_the_same_command_continues(
    deployed: Project, agents: None
) -> None:
    nothing = deployed.call("cancel")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing runs for demo; nothing to cancel.\n")
    with deployed.running() as (coordinator, processes):
        wait_for(lambda: deployed.server.runs("FAILED"), what="the failure")
        told = json.loads(deployed.call("status", "--json").stdout)
        done = deployed.call("cancel")
        assert done.returncode == 0, done.stderr
        assert not any(alive(pid) for pid in processes)
        assert unfinished(deployed.server) == []
        assert coordinator.wait(30) == 130
    assert sorted(entry["name"] for entry in told["running"]) == ["ignores", "saves"]
    view, newest = told["server"], told["server"]["newest"]
    assert {job["title"]: job["state"] for job in view["jobs"]} == {"quick, saves": "running", "ignores": "running"}
    assert view["done"] == ["first"]
    assert newest["state"] == "running"
    (failed,) = newest["failed"]
    assert (failed["stage"], failed["exit_code"], failed["line"]) == ("fails", 8, "error: the loss is not finite")
    assert (deployed.notes / "saves.saved").exists()
    assert done.stdout.startswith("ended: reproduce, ")
    (deployed.notes / "go").touch()
    again = deployed.call("run")
    assert again.returncode == 0, again.stderr
    assert "3 stages are up to date now." in again.stdout
    assert [deployed.times(name) for name in ("quick", "saves", "ignores")] == [1, 2, 2]
    after = deployed.call("status").stdout
    assert "Last finished: " in after
    assert after.endswith("5 of 5 stages are up to date.\n")


def test_a_run_whose_coordinator_is_an_agent_is_cancelled_by_its_id(deployed: Project, agents: None) -> None:
    server = deployed.server
    deployed.renew()
    with agent(server, deployed.root, "coordinator", "--slots", "1", CARTOON_GRACE=str(GRACE)):
        run = server.submit("reproduce/on-change", {"branch": "main"})
        processes = deployed.long_stages()
        done = deployed.call("cancel", run[:13])
        assert done.returncode == 0, done.stderr
        assert not any(alive(pid) for pid in processes)
        assert unfinished(server) == []
        assert server.state(run) == "CANCELLED"
        again = deployed.call("cancel", run)
        assert (again.returncode, again.stdout) == (0, f"{run} has ended already; nothing to cancel.\n")
    unknown = deployed.call("cancel", "no-such-run")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: no-such-run: no run has this id or name")


def test_a_run_in_this_folder_is_cancelled_without_a_server(deployed: Project) -> None:
    deployed.renew()
    with deployed.running("--here") as (process, processes):
        done = deployed.call("cancel", PREFECT_API_URL="")
        assert done.returncode == 0, done.stderr
        assert not any(alive(pid) for pid in [process.pid, *processes])
        assert done.stdout.startswith(f"ended: process {process.pid}\n")
        assert process.wait(60) == 128 + signal.SIGTERM


def test_what_a_dead_coordinator_has_left_on_the_server_is_cleared_away(deployed: Project) -> None:
    """A run that nobody conducts any more, and a job that waits for an agent that nobody has started."""
    server = deployed.server
    run = server.submit("reproduce/on-change", {"branch": "main"})
    server.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    parameters = {"title": "train", "nodes": [], "rev": "0", "exchange": "", "pools": {}, "protocol": 1}
    job = server.submit("stages/gpu", parameters)
    server.call("PATCH", f"/flow_runs/{job}", {"tags": ["cartoon", "profile:demo", "gpu"]})
    other = server.submit("stages/gpu", parameters)
    server.call("PATCH", f"/flow_runs/{other}", {"tags": ["cartoon", "profile:another", "gpu"]})
    done = deployed.call("cancel")
    assert done.returncode == 0, done.stderr
    assert "whoever ran it does not answer; it counts as cancelled now" in done.stderr
    assert [server.state(number) for number in (run, job, other)] == ["CANCELLED", "CANCELLED", "SCHEDULED"]
    server.call("DELETE", f"/flow_runs/{other}")
