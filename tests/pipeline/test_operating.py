"""Settings, refusals and small decisions of server, agent and deploy, without any server."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.flows.automations import Windows, _says, rules
from pipeline.operating import agent, versions
from pipeline.operating import deploy as deploying
from pipeline.operating.agent import AgentError, Place, Slot, default_home, environment_of, slots_of
from pipeline.operating.api import claimed_without_name
from pipeline.operating.deploy import DeployError, deploy, limits_of
from pipeline.operating.server import Listening, ServerStartError, serve
from pipeline.operating.settings import (
    Servers,
    find_servers,
    forget_state,
    prefect_environment,
    write_state,
)

VARIABLES = (
    "PREFECT_API_URL",
    "MLFLOW_TRACKING_URI",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
    "PREFECT_WORKER_QUERY_SECONDS",
)


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_servers_are_found_while_their_process_lives_and_variables_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_servers(tmp_path) == Servers(None, None)
    path = write_state(tmp_path, Servers("http://127.0.0.1:1/api", "http://127.0.0.1:2"))
    assert find_servers(tmp_path) == Servers("http://127.0.0.1:1/api", "http://127.0.0.1:2")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    assert find_servers(tmp_path) == Servers("http://elsewhere/api", "http://127.0.0.1:2")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////a/database")
    assert find_servers(tmp_path) == Servers("http://127.0.0.1:1/api", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "begun": "1"}))  # the same number, another process
    assert find_servers(tmp_path) == Servers(None, None)
    forget_state(tmp_path)
    assert path.exists()  # not this process's to remove
    path.write_text("{")
    assert find_servers(tmp_path) == Servers(None, None)


def test_the_heartbeat_is_the_same_for_all_and_everything_else_is_the_users_to_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "600")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "9")
    made = prefect_environment(tmp_path)
    assert made["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert made["PREFECT_WORKER_QUERY_SECONDS"] == "9"
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert made["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "PREFECT_API_URL" not in made


@pytest.mark.parametrize(
    ("devices", "count", "gpus", "slots"),
    [
        ("", None, 1, [None]),
        ("0,1,2", None, 1, ["0", "1", "2"]),
        ("0,1,2,3,4", None, 2, ["0,1", "2,3"]),
        ("0,1", None, "all", ["0,1"]),
        ("0,1", 3, 1, ["0", "1", "0"]),
        ("", 2, "all", [None, None]),
    ],
)
def test_a_gpu_agent_has_a_slot_for_each_training_that_fits(
    monkeypatch: pytest.MonkeyPatch, devices: str, count: int | None, gpus: int | str, slots: list[str | None]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert slots_of("gpu", count, gpus) == slots


def test_impossible_slots_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(AgentError, match=r"train\.gpus: 4 per training, but this machine has 1"):
        slots_of("gpu", None, 4)
    with pytest.raises(AgentError, match="--slots 0: expected 1 or more"):
        slots_of("cpu", 0, 1)
    assert slots_of("coordinator", None, 1) == [None, None]
    assert len(slots_of("cpu", None, 1)) == min(4, os.cpu_count() or 1)


def place(root: Path, home: Path, remote: str | None) -> Place:
    return Place(root, home, str(root), None if remote else root / "cache", remote, root / "scratch")


def test_slots_find_their_place_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOON_REMOTE", "somebody's")
    monkeypatch.delenv("CARTOON_LEASES", raising=False)
    first = environment_of(Slot("gpu", 0, "3", place(tmp_path, default_home(tmp_path), None)))
    assert first["CARTOON_CLONE"] == first["PYTHONPATH"] == str(tmp_path / "scratch" / "agents" / "gpu-0")
    assert (first["CARTOON_POOL"], first["CARTOON_AGENT"], first["CUDA_VISIBLE_DEVICES"]) == ("gpu", "gpu-0", "3")
    assert first["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert not {"CARTOON_REMOTE", "CARTOON_LEASES"} & first.keys()
    apart = environment_of(Slot("cpu", 1, None, place(tmp_path, tmp_path / "far", "s3")))
    assert apart["CARTOON_REMOTE"] == "s3"
    assert apart["CARTOON_LEASES"] == str(tmp_path / "far" / "leases")


def test_agents_of_one_machine_with_different_homes_have_different_workers(tmp_path: Path) -> None:
    usual = Slot("cpu", 0, None, place(tmp_path, default_home(tmp_path), None)).worker
    assert usual == f"{socket.gethostname()}-cpu-0"
    others = {Slot("cpu", 0, None, place(tmp_path, tmp_path / name, None)).worker for name in ("a", "b")}
    assert len(others | {usual}) == 3


def test_other_versions_of_what_machines_exchange_through_are_refused_and_others_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("dvc==3.67.1 \\\n    --hash=sha256:00\ntorch==2.15.0 ; python_version > '3'\nabsent==1\n")
    installed = {"dvc": "3.67.1", "torch": "2.11.0+cu130"}

    def version(name: str) -> str:
        if name not in installed:
            raise versions.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(versions.metadata, "version", version)
    assert versions.check(lock) == ["torch 2.11.0+cu130 is installed, requirements.lock pins 2.15.0"]
    installed["dvc"] = "3.60.0"
    with pytest.raises(versions.VersionError, match=r"dvc 3\.60\.0 \(pinned: 3\.67\.1\).*pip install"):
        versions.check(lock)
    assert versions.check(tmp_path / "none") == []


def run(kind: str, stamp: str, **labels: str) -> dict[str, Any]:
    return {"state_type": kind, "labels": labels, "state": {"timestamp": stamp}}


def test_only_a_claim_that_stays_nameless_is_taken_for_a_dead_workers() -> None:
    from datetime import UTC, datetime

    now = datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    old, new = "2030-01-01T00:00:00Z", "2030-01-01T00:00:58Z"
    assert claimed_without_name(run("PENDING", old), now, 15)
    assert not claimed_without_name(run("PENDING", new), now, 15)
    assert not claimed_without_name(run("RUNNING", old), now, 15)
    assert not claimed_without_name(run("PENDING", old, **{"prefect.worker.name": "x"}), now, 15)


@pytest.mark.parametrize(
    ("host", "password", "names", "said"),
    [
        ("0.0.0.0", "", ("render1.lan:5000",), "PREFECT_SERVER_API_AUTH_STRING"),
        ("0.0.0.0", "a:b", (), "--allowed-hosts"),
        ("render1.lan", "", (), "PREFECT_SERVER_API_AUTH_STRING"),
    ],
)
def test_servers_are_not_opened_to_others_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, password: str, names: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", password)
    with pytest.raises(ServerStartError, match=said):
        serve(tmp_path, Listening(host, 1, 2, names))


def test_without_a_server_agent_and_deploy_say_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="start `cartoon-pipeline server`"):
        agent.serve(place(tmp_path, tmp_path / "home", None), "cpu", [None])
    with pytest.raises(DeployError, match="start `cartoon-pipeline server`"):
        deploy(tmp_path, limits_of([]))


@pytest.mark.parametrize("word", ["gpu", "gpu=0", "gpu=x", "tpu=1"])
def test_limits_of_pools_are_checked(word: str) -> None:
    with pytest.raises(DeployError, match="expected POOL=N"):
        limits_of([word])
    assert limits_of(["gpu=2"]) == {"cpu": None, "gpu": 2, "coordinator": None}


def test_a_rule_is_the_same_whatever_the_server_adds_and_however_it_sorts() -> None:
    (silent, stuck), (longer, _) = rules(Windows(120, 300)), rules(Windows(121, 300))
    theirs = {**silent, "id": 1, "trigger": {**silent["trigger"], "expect": silent["trigger"]["expect"][::-1], "id": 2}}
    assert _says(theirs, silent)
    assert not _says(theirs, longer)
    assert not _says(theirs, stuck)


class AskedError(Exception):
    """A server is asked, with this patience."""


@pytest.mark.parametrize("module", [agent, deploying], ids=["agent", "deploy"])
def test_what_must_not_fail_outwaits_a_server_that_stands_still_for_sqlites_minute(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def api(url: str, timeout: float = 10.0) -> Any:
        raise AskedError(timeout)

    monkeypatch.setattr(module, "Api", api)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(AskedError) as caught:
        if module is agent:
            agent.serve(place(tmp_path, tmp_path / "home", None), "cpu", [None])
        else:
            deploy(tmp_path, {})
    assert caught.value.args[0] > 60
