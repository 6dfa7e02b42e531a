"""Prefect's and MLflow's servers for this project: kept alive, found by the other commands, gone together."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx

from pipeline.mirror import is_server, store_address
from pipeline.operating.keeping import Command, Kept, keep_all, own_tools, until_told
from pipeline.operating.settings import Servers, forget_state, prefect_environment, read_state, write_state

log = logging.getLogger("server")

_GRACE = 10.0  # s to end
_START = 300.0  # s for a first start, which creates or migrates databases
_TICK = 0.3  # s
_HOPELESS = 3  # deaths before a first healthy moment


class ServerStartError(Exception):
    """The servers cannot be started like this."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Listening:
    """Where the servers listen."""

    host: str
    prefect_port: int
    mlflow_port: int
    allowed_hosts: tuple[str, ...]  # names by which others call this machine


def serve(root: Path, where: Listening) -> None:
    """Run both servers until SIGTERM or Ctrl-C; one that dies comes back with its port and database.

    Raises: ServerStartError for a port in use, an address that is open to others without a password, or a server that
        does not get healthy.
    """
    _check_host(where)
    running = read_state(root)
    if running:
        raise ServerStartError(
            f"the servers of this project run already, as process {running['pid']}: {_urls(running)}"
        )
    store = store_address(root)
    elsewhere = store if is_server(store) else None
    mine = _reachable(where.host)
    servers = Servers(f"http://{mine}:{where.prefect_port}/api", elsewhere or f"http://{mine}:{where.mlflow_port}")
    _check_port(where.host, "--port", where.prefect_port)
    kept = {f"{servers.prefect}/health": Kept(_prefect(root, where, servers))}
    if elsewhere is None:
        _check_port(where.host, "--mlflow-port", where.mlflow_port)
        (root / "mlruns").mkdir(exist_ok=True)
        kept[f"{servers.mlflow}/health"] = Kept(_mlflow(root, where, store))
    with until_told() as stop:
        threads = keep_all(list(kept.values()), stop)
        try:
            if healthy(kept, stop):
                write_state(root, servers)
                _tell(servers, where)
                stop.wait()
        finally:
            forget_state(root)
            stop.set()
            for thread in threads:
                thread.join()


def _urls(running: dict[str, str]) -> str:
    return f"{running['prefect'].removesuffix('/api')} and {running['mlflow']}"


def _check_host(where: Listening) -> None:
    if _is_loopback(where.host):
        return
    if not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise ServerStartError(
            f"--host {where.host}: everyone who reaches this address could start processes on your agents; set "
            "PREFECT_SERVER_API_AUTH_STRING=name:password here and PREFECT_API_AUTH_STRING to the same for agents"
        )
    if not where.allowed_hosts:
        raise ServerStartError(
            f"--host {where.host}: MLflow answers only to names it knows; give them by --allowed-hosts NAME[,NAME] "
            "as others type them into a browser, with the port (render1.lan:5000)"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reachable(host: str) -> str:
    """Return an address under which this machine itself reaches what listens at ``host``."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_port(host: str, option: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ServerStartError(
            f"{host}:{port}: {(error.strerror or str(error)).lower()}; end what uses it or give another {option}"
        ) from error


def _prefect(root: Path, where: Listening, servers: Servers) -> Command:
    words = [
        sys.executable, "-m", "prefect", "server", "start", "--host", where.host, "--port", str(where.prefect_port),
    ]  # fmt: skip
    environment = own_tools({**os.environ, **prefect_environment(root), "PREFECT_API_URL": str(servers.prefect)})
    return Command("Prefect's server", words, root, environment, root / "scratch" / "logs" / "prefect.log", _GRACE)


def _mlflow(root: Path, where: Listening, store: str) -> Command:
    words = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", where.host,
        "--port", str(where.mlflow_port), "--workers", "1",
        "--artifacts-destination", (root / "mlruns" / "artifacts").resolve().as_uri(),
    ]  # fmt: skip
    if where.allowed_hosts:
        words += ["--allowed-hosts", ",".join(("localhost:*", "127.0.0.1:*", *where.allowed_hosts))]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # seven idle processes for chat bots
    return Command("MLflow's server", words, root, own_tools(environment), root / "scratch/logs/mlflow.log", _GRACE)


def healthy(kept: Mapping[str, Kept], stop: threading.Event) -> bool:
    """Wait until every server answers at its address; False if it was told to stop meanwhile."""
    limit = time.monotonic() + _START
    waiting = dict(kept)
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while waiting and not stop.wait(_TICK):
            waiting = {url: one for url, one in waiting.items() if not _answers(client, url)}
            for one in waiting.values():
                if one.deaths >= _HOPELESS or time.monotonic() > limit:
                    raise ServerStartError(f"{one.command.name} does not start; see {one.command.log}{_last_line(one)}")
    return not stop.is_set()


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _last_line(one: Kept) -> str:
    assert one.command.log is not None
    try:
        lines = one.command.log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""


def _tell(servers: Servers, where: Listening) -> None:
    base = str(servers.prefect).removesuffix("/api")
    lines = [
        f"Prefect: {base}",
        f"MLflow:  {servers.mlflow}",
        "Next, each in a terminal of its own:",
        "  cartoon-pipeline deploy               once, and after changes of prefect.yaml",
        "  cartoon-pipeline agent --pool cpu     and --pool gpu; on other machines with",
        f"      PREFECT_API_URL={servers.prefect} MLFLOW_TRACKING_URI={servers.mlflow}",
        "  cartoon-pipeline run",
        "Ctrl-C ends both servers.",
    ]
    if not _is_loopback(where.host):
        lines.insert(2, "MLflow asks for no password: let only those reach it who may see and change the records.")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
