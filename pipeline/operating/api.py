"""The few questions that are asked of Prefect's server without loading Prefect, whose import takes seconds."""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx

_TIMEOUT = 10.0  # s
PATIENT = 90.0  # s, for what must not fail because the server stands still, as it may with SQLite for 60
_TRIES, _PAUSE = 10, 0.5  # s between tries of what a busy server puts off
_PAGE = 200


class ServerError(Exception):
    """Prefect's server does not answer, or not as expected."""

    exit_code: ClassVar[int] = 6


class Api:
    """Prefect's REST interface at one address."""

    def __init__(self, url: str, timeout: float = _TIMEOUT) -> None:
        """``url`` as in PREFECT_API_URL; the password comes from PREFECT_API_AUTH_STRING; ``timeout`` in seconds."""
        self.url = url.rstrip("/")
        secret = os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
        headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"} if secret else {}
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, _TIMEOUT)), headers=headers, trust_env=False
        )

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send one request; returns the JSON of the answer.

        Raises: ServerError.
        """
        return self._send(method, path, body).json()

    def tell(self, method: str, path: str, body: object = None) -> None:
        """Send one request whose answer is empty.

        Raises: ServerError.
        """
        self._send(method, path, body)

    def now(self) -> datetime:
        """The server's time: clocks of other machines may differ."""
        answer = self._send("GET", "/health", None)
        return parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        try:
            answer = self._client.request(method, f"{self.url}{path}", json=body)
            tries = 1
            while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and tries < _TRIES:  # SQLite is locked just now
                time.sleep(_PAUSE)
                answer = self._client.request(method, f"{self.url}{path}", json=body)
                tries += 1
        except httpx.HTTPError as error:
            raise ServerError(
                f"{self.url}: Prefect's server does not answer ({type(error).__name__}); start it by "
                "`cartoon-pipeline server`, or set PREFECT_API_URL to where it is"
            ) from error
        if answer.status_code in (401, 403):
            raise ServerError(f"{self.url}: wants a password; set PREFECT_API_AUTH_STRING to the server's")
        if answer.status_code >= 400:
            raise ServerError(f"{self.url}{path}: answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def unfinished(self, pool: str) -> list[dict[str, Any]]:
        """Flow runs of a pool that the server takes for claimed, running or being cancelled."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask(
                "POST", "/flow_runs/filter",
                {
                    "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
                    "work_pools": {"name": {"any_": [pool]}}, "limit": _PAGE, "offset": len(found),
                },
            )  # fmt: skip
            found += page
            if len(page) < _PAGE:
                return found

    def crashed(self, run: str, why: str) -> None:
        """Say that a flow run's process is gone; a run that has ended stays as it ended."""
        body = {"state": {"type": "CRASHED", "name": "Crashed", "message": why}, "force": False}
        self.ask("POST", f"/flow_runs/{run}/set_state", body)

    def pool(self, name: str, limit: int | None) -> bool:
        """Create a pool of process workers if there is none, or change its limit; says whether anything changed.

        ``limit`` None leaves the limit of a pool alone that is there.
        """
        there = [pool for pool in self.ask("POST", "/work_pools/filter", {"limit": _PAGE}) if pool["name"] == name]
        if not there:
            self.ask("POST", "/work_pools/", {"name": name, "type": "process", "concurrency_limit": limit})
            return True
        if there[0]["type"] != "process":
            raise ServerError(f"{self.url}: the work pool {name} is of type {there[0]['type']}, expected process")
        if limit is None or there[0]["concurrency_limit"] == limit:
            return False
        self.tell("PATCH", f"/work_pools/{name}", {"concurrency_limit": limit})
        return True


def claimed_without_name(run: dict[str, Any], now: datetime, seconds: float) -> bool:
    """Whether a run was claimed and then nothing more was heard of it: workers name themselves within a moment."""
    state = run["state"]
    silent = (now - datetime.fromisoformat(str(state["timestamp"]))).total_seconds()
    return run["state_type"] == "PENDING" and worker_of(run) is None and silent > seconds


def worker_of(run: dict[str, Any]) -> str | None:
    """Name of the worker that started a run, None before it has said so."""
    name = (run.get("labels") or {}).get("prefect.worker.name")
    return None if name is None else str(name)
