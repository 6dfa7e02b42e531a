"""A Prefect server for one run without agents, which ends with the run however that ends."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
from pathlib import Path

from pipeline.operating.keeping import Command, Kept, keep_all, own_tools
from pipeline.operating.server import healthy

_QUICK = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_GRACE = 10.0  # s to end


def embedded_server(root: Path) -> str:
    """Run a server on this machine alone until this process ends; returns its address when it answers.

    Prefect starts one by itself where none is named, but that one goes on for ever if this process is killed. To be
    called before Prefect is loaded: what is registered first ends last, and Prefect still tells the server how it went.

    Returns: the address, as PREFECT_API_URL wants it.
    Raises: ServerStartError if it does not get healthy.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    words = [
        sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1",
        "--port", str(port), "--log-level", "error", "--lifespan", "on",
    ]  # fmt: skip
    environment = own_tools({**os.environ, **_QUICK, "PREFECT_API_URL": url})
    log = root / "scratch" / "embedded-server.log"
    kept = Kept(Command("Prefect's server of this run", words, root, environment, log, _GRACE))
    stop = threading.Event()
    (thread,) = keep_all([kept], stop)

    def end() -> None:
        stop.set()
        thread.join()

    atexit.register(end)
    healthy({f"{url}/health": kept}, stop)
    return url


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
