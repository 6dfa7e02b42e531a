"""Where the servers are, and the settings that server, agents and flows must share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.telemetry import QUIET

HEARTBEAT = 30  # seconds between two signs of life of a flow run, the least Prefect allows
PREFECT_PORT = 4200
MLFLOW_PORT = 5000
_STATE = Path("scratch") / "server.json"


@dataclass(frozen=True)
class Servers:
    """Addresses of the servers; None where there is none."""

    prefect: str | None  # with /api at its end, as PREFECT_API_URL wants it
    mlflow: str | None


def prefect_environment(root: Path) -> dict[str, str]:
    """Variables that every process that speaks Prefect gets: server, workers, flow runs, coordinator, commands.

    What the user has set wins, except for the heartbeat: a run that beats more slowly than the automations expect would
    be declared dead while it is well.
    """
    wanted = {
        **QUIET,
        "PREFECT_HOME": str((root / "scratch" / "prefect").resolve()),
        "PREFECT_CLIENT_MAX_RETRIES": "7",  # 2 + 4 + ... s: a flow run outlives a server that is away for minutes
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # migrations of the first start
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "run",  # what the coordinator says is on its run's page as well
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # it also speaks before and after
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",  # of runs that are claimed and have not started
    }
    servers = find_servers(root)
    if servers.prefect:
        wanted["PREFECT_API_URL"] = servers.prefect
    if servers.mlflow:
        wanted["MLFLOW_TRACKING_URI"] = servers.mlflow
    chosen = {name: os.environ.get(name, value) for name, value in wanted.items()}
    return {**chosen, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT)}


def find_servers(root: Path) -> Servers:
    """Addresses from the environment, else those of the server command that is running in this project.

    MLFLOW_TRACKING_URI may also name a database: then records go there, and there is no MLflow server.
    """
    running = read_state(root)
    mlflow = os.environ.get("MLFLOW_TRACKING_URI") or running.get("mlflow")
    return Servers(
        prefect=os.environ.get("PREFECT_API_URL") or running.get("prefect"),
        mlflow=mlflow if mlflow and mlflow.startswith(("http://", "https://")) else None,
    )


def read_state(root: Path) -> dict[str, str]:
    """What the server command of this project has written down; empty if it is not running."""
    try:
        state = json.loads((root / _STATE).read_text())
        alive = begun_at(int(state["pid"])) == str(state["begun"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: str(value) for name, value in state.items()} if alive else {}


def write_state(root: Path, servers: Servers) -> Path:
    """Write down where this process has its servers, for the other commands."""
    path = root / _STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    own = os.getpid()
    state = {"prefect": servers.prefect, "mlflow": servers.mlflow, "pid": own, "begun": begun_at(own)}
    fresh.write_text(json.dumps(state) + "\n")
    fresh.replace(path)
    return path


def forget_state(root: Path) -> None:
    """The servers of this process are ending; what another one wrote down stays."""
    if read_state(root).get("pid") == str(os.getpid()):
        (root / _STATE).unlink(missing_ok=True)


def begun_at(pid: int) -> str | None:
    """When a process began, in ticks since boot: tells it from a later one with its number; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
