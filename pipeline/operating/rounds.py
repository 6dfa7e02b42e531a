"""The doctor's questions to servers: who listens, which versions answer, whether clocks agree."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pipeline.operating.api import Api, ServerError
from pipeline.operating.finding import RESOURCE, SETTING, Finding, ok, problem, warning
from pipeline.operating.settings import MLFLOW_PORT, PREFECT_PORT, find_servers

_PATIENCE = 3.0  # s for an answer
_SKEW, _TOO_MUCH = 2.0, 30.0  # s between two clocks: logs look odd; heartbeats are misjudged
_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def check_ports(root: Path, pool: str | None) -> list[Finding]:
    """Whether the ports that our servers listen on by default are free, or ours."""
    servers = find_servers(root)
    findings = []
    for name, port, url in (("prefect", PREFECT_PORT, servers.prefect), ("mlflow", MLFLOW_PORT, servers.mlflow)):
        what = f"port {port}"
        if url and urlsplit(url).hostname in _LOCAL and urlsplit(url).port == port:
            findings.append(ok(what, f"of {name}'s server that this project uses"))
        elif _free(port):
            findings.append(ok(what, "free"))
        elif url:
            findings.append(ok(what, f"taken by {_listener(port)}; {name}'s server of this project is elsewhere"))
        else:
            option = "--port" if name == "prefect" else "--mlflow-port"
            findings.append(problem(
                what, f"taken by {_listener(port)}",
                f"end it, or `cartoon-pipeline server {option} N` (or set the address of {name}'s server)", RESOURCE,
            ))  # fmt: skip
    return findings


def check_prefect(root: Path, pool: str | None) -> list[Finding]:
    """Whether Prefect's server answers and is of the version of this client."""
    url = find_servers(root).prefect
    if url is None:
        if pool:
            return [problem("prefect", "no server known", "`cartoon-pipeline server` starts one, PREFECT_API_URL names "
                            "one on another machine", SETTING)]  # fmt: skip
        return [ok("prefect", "no server; `cartoon-pipeline run` needs none")]
    try:
        theirs = str(Api(url, _PATIENCE).ask("GET", "/admin/version"))
    except (ServerError, ValueError) as error:
        return [problem("prefect", str(error), "is PREFECT_API_URL right?", SETTING)]
    ours = metadata.version("prefect")
    if theirs != ours:
        return [problem("prefect", f"{url} is {theirs}, this client is {ours}",
                        "bring both to what requirements.lock pins", SETTING)]  # fmt: skip
    return [ok("prefect", f"{theirs} at {url}")]


def check_clock(root: Path, pool: str | None) -> list[Finding]:
    """Whether this machine's clock is the server's: heartbeats and schedules are told by it."""
    url = find_servers(root).prefect
    if url is None:
        return [ok("clock", "nobody to compare with")]
    try:
        before = time.time()
        there = Api(url, _PATIENCE).now().timestamp()
        after = time.time()
    except (ServerError, KeyError, ValueError, TypeError):
        return [warning("clock", "not compared", "the server does not tell its time")]
    # The server tells whole seconds: the moment it meant lies between there and there + 1.
    skew = max(there - after, before - there - 1, 0.0)
    found = f"{skew:.0f} s from the server's" if skew else "as the server's"
    if skew > _TOO_MUCH:
        return [
            problem("clock", found, "set it (`timedatectl set-ntp true`): live runs would be taken for dead", SETTING)
        ]
    if skew > _SKEW:
        return [warning("clock", found, "set it: `timedatectl set-ntp true`")]
    return [ok("clock", found)]


def check_mlflow(root: Path, pool: str | None) -> list[Finding]:
    """Whether MLflow's server answers, if records are to go to one."""
    url = find_servers(root).mlflow
    if url is None or not url.startswith(("http://", "https://")):
        return [ok("mlflow", "no server; records wait in the journal and a file")]
    later = "runs go on without it, and `cartoon-pipeline republish` sends what it missed"
    try:
        with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
            healthy = client.get(f"{url.rstrip('/')}/health")
            told = client.get(f"{url.rstrip('/')}/version")
    except httpx.HTTPError as error:
        return [warning("mlflow", f"{_shown(url)} does not answer ({type(error).__name__})", later)]
    if healthy.status_code != httpx.codes.OK:
        return [warning("mlflow", f"{_shown(url)} answers {healthy.status_code}", later)]
    ours, theirs = metadata.version("mlflow"), told.text.strip()
    if theirs != ours:
        return [
            warning("mlflow", f"{_shown(url)} is {theirs[:20]}, this client is {ours}", "bring both to one version")
        ]
    return [ok("mlflow", f"{theirs} at {_shown(url)}")]


def _shown(url: str) -> str:
    """An address without password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just ended is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _listener(port: int) -> str:
    """Who listens, as far as this user may know."""
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _rows(table)
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(handle.readlink()) in wanted for handle in (folder / "fd").iterdir()):
                return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:
            continue  # another user's, or just gone
    return "another process"


def _rows(table: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path(table).read_text().splitlines()[1:]]
    except OSError:
        return []


QUESTIONS: tuple[Callable[[Path, str | None], list[Finding]], ...] = (
    check_ports, check_prefect, check_clock, check_mlflow,
)  # fmt: skip
