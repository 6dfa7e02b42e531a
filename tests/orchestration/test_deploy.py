"""The real prefect.yaml on a real server: schedules fire, events start runs, repeating a deploy changes nothing."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from tests.orchestration.platform import PYTHON, ROOT, Server, agent, git, repository, stage, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

NIGHTLY = '{cron: "0 3 * * *", timezone: UTC, active: true}'
SOON = "{interval: 20, active: true}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project whose nightly run comes within seconds, and a bare repository for its commits."""
    text = (ROOT / "prefect.yaml").read_text()
    assert text.count(NIGHTLY) == 1
    place = tmp_path_factory.mktemp("deploy")
    folder = repository(
        place / "toy", stage("a") + stage("b", deps=("a",)), {"prefect.yaml": text.replace(NIGHTLY, SOON)}
    )
    git(place, "clone", "--quiet", "--bare", str(folder), str(place / "origin.git"))
    return folder


def deploy(server: Server, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PYTHON, "pipeline.cli", "--root", str(project), "deploy", *arguments]
    return subprocess.run(command, cwd=project, env=server.environment(), capture_output=True, text=True, check=False)


def known(server: Server) -> dict[str, list[str]]:
    """What the server knows, by name."""
    return {
        kind: sorted(one["name"] for one in server.call("POST", f"/{kind}/filter", {}))
        for kind in ("work_pools", "deployments", "automations")
    }


def test_deploying_again_changes_nothing(server: Server, project: Path) -> None:
    first = deploy(server, project, "--limit", "gpu=2")
    assert first.returncode == 0, first.stderr
    told = known(server)
    assert told["work_pools"] == ["coordinator", "cpu", "gpu"]
    assert told["deployments"] == ["cpu", "datasets", "gpu", "nightly", "on-change"]
    assert told["automations"] == [
        "cartoon-pipeline: a dataset has changed", "cartoon-pipeline: no heartbeat", "cartoon-pipeline: not started",
    ]  # fmt: skip
    again = deploy(server, project)
    assert "pool gpu: as it was" in again.stdout
    assert again.stdout.count(": unchanged") == 2
    assert known(server) == told
    assert server.call("GET", "/work_pools/gpu")["concurrency_limit"] == 2


def test_a_changed_dataset_starts_a_run_for_it(server: Server, project: Path) -> None:
    payload = {"profile": "demo", "dataset": "flat", "digest": "abc", "rev": "0"}
    event = {
        "id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": "dataset.changed",
        "resource": {"prefect.resource.id": "dataset.demo.flat"}, "payload": payload, "related": [],
    }  # fmt: skip
    server.call("POST", "/events", [event])
    deployment = server.call("GET", "/deployments/name/reproduce/on-change")["id"]
    wanted = {"flow_runs": {"deployment_id": {"any_": [deployment]}}}
    (run,) = wait_for(lambda: server.call("POST", "/flow_runs/filter", wanted), 30, "the run for the dataset")
    assert {name: run["parameters"][name] for name in ("profile", "dataset", "digest")} == {
        "profile": "demo", "dataset": "flat", "digest": "abc",
    }  # fmt: skip
    server.call("DELETE", f"/flow_runs/{run['id']}")


def test_the_scheduled_run_brings_its_results_to_the_branch(server: Server, project: Path) -> None:
    """Imports and ``pip check`` see neither of the two known breaks of Prefect's server; this does."""
    origin = project.parent / "origin.git"
    source = ["--source", str(origin)]
    with agent(server, project, "coordinator", "--slots", "1", *source), agent(server, project, "cpu", *source):
        wait_for(lambda: "dvc.lock" in git(origin, "ls-tree", "--name-only", "main"), 120, "the nightly commit")
    lock = git(origin, "show", "main:dvc.lock")
    assert "work/a.txt" in lock
    assert "work/b.txt" in lock


def test_what_the_server_does_not_take_is_said_in_one_line(server: Server, tmp_path: Path) -> None:
    broken = (ROOT / "prefect.yaml").read_text().replace("stages.py:stages", "stages.py:stagse")
    folder = repository(tmp_path / "toy", stage("a"), {"prefect.yaml": broken})
    result = deploy(server, folder)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: `prefect deploy --all` failed")
    assert "stagse" in line
