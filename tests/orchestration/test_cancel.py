"""Cancel and status with a real server and real agents: everything of a run is gone, and the same run continues."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.orchestration.platform import PYTHON, Server, agent, alive, repository, stage, started, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

GRACE = 3.0  # s that a stage has to save its state
RUNS = "echo x >> {0}/{1}.ran; echo $$ > {0}/{1}.pid; [ -e {0}/go ] || while true; do sleep 0.1; done"


class Project:
    """A toy project with a stage that is quick, one that saves on SIGTERM and one that ignores it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        saves = f"trap 'touch {self.notes}/saves.saved; exit 75' TERM; "
        self.root = repository(
            folder / "toy",
            stage("quick", f"echo x >> {self.notes}/quick.ran")
            + stage("saves", saves + RUNS.format(self.notes, "saves"), ("quick",))
            + stage("ignores", "trap '' TERM; " + RUNS.format(self.notes, "ignores"), ("quick",)),
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
        for note in self.notes.glob("*.pid"):
            note.unlink()
        environment = self.server.environment(CARTOON_GRACE=str(GRACE), **more)
        with started(self.command("run", *arguments), self.root, environment, self.notes / "run.log") as process:
            files = [self.notes / f"{name}.pid" for name in ("saves", "ignores")]
            wait_for(lambda: all(file.exists() and file.read_text().strip() for file in files), what="the long stages")
            yield process, [int(file.read_text()) for file in files]

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
    with agent(deployed.server, deployed.root, "cpu", "--slots", "2", CARTOON_GRACE=str(GRACE)):
        yield


def unfinished(server: Server) -> list[str]:
    names = {"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}
    return [run["name"] for run in server.runs(*names) if run["name"] != "reproduce" and not run["auto_scheduled"]]


def test_a_cancelled_run_is_gone_with_all_its_jobs_and_the_same_command_continues(
    deployed: Project, agents: None
) -> None:
    nothing = deployed.call("cancel")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing runs for demo; nothing to cancel.\n")
    with deployed.running() as (coordinator, processes):
        told = json.loads(deployed.call("status", "--json").stdout)
        assert [entry["name"] for entry in told["running"]] == ["saves", "ignores"] or len(told["running"]) == 2
        assert {job["state"] for job in told["server"]["jobs"]} == {"running"}
        assert told["server"]["newest"]["state"] == "running"
        done = deployed.call("cancel")
        assert done.returncode == 0, done.stderr
        assert not any(alive(pid) for pid in processes)
        assert unfinished(deployed.server) == []
        coordinator.wait(30)
    assert (deployed.notes / "saves.saved").exists()
    assert "reproduce demo" in done.stdout or "reproduce None" in done.stdout
    (deployed.notes / "go").touch()
    again = deployed.call("run")
    assert again.returncode == 0, again.stderr
    assert "2 stages are up to date now." in again.stdout
    assert [deployed.times(name) for name in ("quick", "saves", "ignores")] == [1, 2, 2]
    assert "Last finished: " in deployed.call("status").stdout
