"""MLflow's pages on this machine only."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from pipeline.mirror import is_server, store_address
from pipeline.publish import republish

log = logging.getLogger("ui")


def serve(root: Path, port: int) -> None:
    """Send what MLflow has not seen, then become its server on 127.0.0.1 (Ctrl-C ends it)."""
    address = store_address(root)
    if is_server(address):
        sys.stdout.write(f"MLFLOW_TRACKING_URI names a server already: open {address}\n")
        return
    try:
        republish(root, wait=10)
    except Exception as error:  # an old journal must not keep anyone from looking at the others
        log.warning("some records are not in MLflow yet: %s", error)
    (root / "mlruns").mkdir(exist_ok=True)
    sys.stdout.write(f"MLflow on http://127.0.0.1:{port} in a few seconds\n")
    for number, name in experiments(address):
        where = (
            f"http://127.0.0.1:{port}/#/experiments/{number}/runs?workflowType=machine_learning&compareRunsMode=CHART"
        )
        sys.stdout.write(f"  {name}: {where}\n")
    sys.stdout.flush()
    os.execv(
        sys.executable,
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address, "--host", "127.0.0.1",
         "--port", str(port), "--workers", "1"],
    )  # fmt: skip


def experiments(address: str) -> list[tuple[int, str]]:
    """Ids and names of the profiles in a SQLite store, read without MLflow, whose import takes seconds."""
    path = Path(address.removeprefix("sqlite:///"))
    if not address.startswith("sqlite:///") or not path.is_file():
        return []
    query = "select experiment_id, name from experiments where lifecycle_stage = 'active' and name <> 'Default'"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as store:
            return [(int(number), str(name)) for number, name in store.execute(query)]
    except sqlite3.Error as error:
        log.warning("%s: cannot be read: %s", path, error)
        return []
