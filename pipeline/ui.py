"""MLflow's pages on this machine only."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
from collections.abc import Mapping
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
    query = "select key, value from experiment_tags where experiment_id = ? and key like ? order by key"
    return links_of(str(experiment), dict(_ask(address, query, (experiment, f"{TAG}%"))))


def links_of(experiment: str, tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """Titles and addresses (without the host) of what an experiment's tags say there is to look at."""
    page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    newest = quote("tags.latest = 'true'")
    found = []
    for key, value in sorted(tags.items()):
        if not key.startswith(TAG):
            continue
        try:
            title = str(json.loads(value)["name"])
        except (ValueError, KeyError, TypeError):
            continue  # shared by someone in MLflow's pages, without a name
        found.append((title, f"{page}&viewStateShareKey={quote(key.removeprefix(TAG))}&compareRunsMode=CHART"))
    return [*found, ("newest runs", f"{page}&searchFilter={newest}")]


def sights(server: str, profile: str) -> list[tuple[str, str, str]]:
    """Titles, addresses and descriptions of an MLflow server's pages about a profile: its report first, if it has one.

    Raises: httpx.HTTPError if it does not answer within seconds; MlflowException if it refuses.
    """
    import httpx
    from mlflow.tracking import MlflowClient

    server = server.rstrip("/")
    httpx.get(f"{server}/health", timeout=5).raise_for_status()  # MLflow's client would try for minutes
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(profile)
    if experiment is None:
        return []
    number = str(experiment.experiment_id)
    pages = client.search_runs([number], "tags.stage = 'page' and tags.latest = 'true'", max_results=1)
    report = [
        ("Report", f"{server}/#/experiments/{number}/runs/{run.info.run_id}/artifacts/index.html",
         "the whole comparison as one page: figures, faces, tables")
        for run in pages
    ]  # fmt: skip
    views = [(title, server + link, "in MLflow") for title, link in links_of(number, experiment.tags)]
    return [*report, *views, ("Champions", f"{server}/#/models?searchQuery=cartoon-{quote(profile)}", "in MLflow")]


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
