"""MLflow's pages on this machine only."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from pipeline.publish import publisher_lock, republish

log = logging.getLogger("ui")


def serve(root: Path, port: int) -> None:
    """Send what MLflow has not seen, then become its server on 127.0.0.1 (Ctrl-C ends it)."""
    from pipeline.mirror import MlflowMirror, is_server, store_address

    address = store_address(root)
    if is_server(address):
        sys.stdout.write(f"MLFLOW_TRACKING_URI names a server already: open {address}\n")
        return
    try:
        republish(root, wait=10)
    except Exception as error:  # an old journal must not keep anyone from looking at the others
        log.warning("some records are not in MLflow yet: %s", error)
    with publisher_lock(root, 10):  # a fresh store is made by one process only
        experiments = MlflowMirror(root).experiments()
    sys.stdout.write("Comparison (metrics by kimg, pictures with a step slider), once the server is up:\n")
    for name, number in experiments.items():
        where = f"http://127.0.0.1:{port}/#/experiments/{number}/runs?compareRunsMode=CHART"
        sys.stdout.write(f"  {name:12} {where}\n")
    sys.stdout.flush()
    os.execv(
        sys.executable,
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address, "--host", "127.0.0.1",
         "--port", str(port), "--workers", "1"],
    )  # fmt: skip
