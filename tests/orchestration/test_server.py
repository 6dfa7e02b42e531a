"""``cartoon-pipeline server``: both servers together, each back after a kill, none left when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.orchestration.platform import (
    PYTHON,
    ROOT,
    Server,
    agent,
    answers,
    find,
    free_port,
    started,
    sweep,
    toy_flows,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]


def head_of(mark: str, words: str) -> int:
    """The process itself, not the supervisor above it."""
    return next(pid for pid in find(mark, words) if "--grace" not in Path(f"/proc/{pid}/cmdline").read_text())


def test_servers_come_back_after_a_kill_and_are_gone_with_their_command(tmp_path: Path) -> None:
    project, other = toy_flows(tmp_path / "toy"), toy_flows(tmp_path / "other")
    server, mlflow = Server(tmp_path), f"http://127.0.0.1:{free_port()}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
    environment = {**inherited, "CARTOON_TEST": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ports = ["--port", str(server.port), "--mlflow-port", mlflow.rpartition(":")[2]]

    def command(root: Path) -> list[str]:
        return [*PYTHON, "pipeline.cli", "--root", str(root), "server", *ports]

    def refusal(root: Path) -> str:
        done = subprocess.run(command(root), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        return done.stderr

    try:
        with started(command(project), project, environment, tmp_path / "server.log") as process:
            state = project / "scratch" / "server.json"
            wait_for(state.exists, 200, "the start of both servers")
            told = json.loads(state.read_text())
            assert (told["prefect"], told["mlflow"], told["pid"]) == (server.api, mlflow, process.pid)
            assert answers(f"{server.api}/health")
            assert answers(f"{mlflow}/health")
            assert f"run already, as process {process.pid}" in refusal(project)
            assert f"127.0.0.1:{server.port}: address already in use; end what uses it" in refusal(other)
            _a_run_outlives_its_server(server, project)
            process.kill()
            wait_for(lambda: not find(server.marker), 30, "the end of both servers")
            assert not answers(f"{server.api}/health")
    finally:
        sweep(server.marker)
    from pipeline.operating.settings import read_state

    assert read_state(project) == {}  # although the file is still there


def _a_run_outlives_its_server(server: Server, project: Path) -> None:
    server.pool("cpu")
    server.pool("gpu")
    server.prefect("deploy", "--all", cwd=project)
    with agent(server, project, "cpu", "--slots", "1"):
        go = project.parent / "go"
        run = server.submit("stages/cpu", {"do": f"touch {go}.begun; while [ ! -e {go} ]; do sleep 0.1; done"})
        wait_for(go.with_suffix(".begun").exists, what="the start of the run")
        os.kill(head_of(server.marker, "prefect server start"), signal.SIGKILL)
        go.touch()  # it ends while nobody can be told
        wait_for(lambda: not answers(f"{server.api}/health"), 10, "the death of the server")
        wait_for(lambda: answers(f"{server.api}/health"), 60, "the return of the server")
        assert server.wait(run) == "COMPLETED"
