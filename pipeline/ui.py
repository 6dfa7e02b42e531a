"""MLflow's pages on this machine only."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.mirror import is_server, store_address
from pipeline.publish import republish
from pipeline.views import TAG

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
        for title, link in links(address, number):
            sys.stdout.write(f"  {name}, {title}: http://127.0.0.1:{port}{link}\n")
    sys.stdout.flush()
    os.execv(
        sys.executable,
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address, "--host", "127.0.0.1",
         "--port", str(port), "--workers", "1"],
    )  # fmt: skip


def experiments(address: str) -> list[tuple[int, str]]:
    """Ids and names of the profiles in a SQLite store, read without MLflow, whose import takes seconds."""
    query = "select experiment_id, name from experiments where lifecycle_stage = 'active' and name <> 'Default'"
    return [(int(number), str(name)) for number, name in _ask(address, query)]


def links(address: str, experiment: int) -> list[tuple[str, str]]:
    """Titles and addresses (without the host) of what to look at: the views its runs recorded, then all newest runs."""
    page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    newest = quote("tags.latest = 'true'")
    found = []
    query = "select key, value from experiment_tags where experiment_id = ? and key like ? order by key"
    for key, value in _ask(address, query, (experiment, f"{TAG}%")):
        try:
            title = str(json.loads(value)["name"])
        except (ValueError, KeyError, TypeError):
            continue  # shared by someone in MLflow's pages, without a name
        found.append((title, f"{page}&viewStateShareKey={quote(key.removeprefix(TAG))}&compareRunsMode=CHART"))
    return [*found, ("newest runs", f"{page}&searchFilter={newest}")]


def _ask(address: str, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    path = Path(address.removeprefix("sqlite:///"))
    if not address.startswith("sqlite:///") or not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as store:
            return list(store.execute(query, values))
    except sqlite3.Error as error:
        log.warning("%s: cannot be read: %s", path, error)
        return []
