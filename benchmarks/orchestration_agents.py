"""Agents without machines: threads that ask Prefect's server for jobs, claim them and report, and only sleep between.

    python -m benchmarks.orchestration_agents URL --agents gpu=16 cpu=4 --scale 1 --query 2

Each request of a real worker and of the engine it starts is made, in their order, as the server's log shows them; only
the websockets are missing. Ends when its standard input does, and then writes what happened as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

HEARTBEAT_S, BEAT_S, PREFETCH_S = 10.0, 30.0, 10.0  # pipeline/operating/settings.py, and Prefect's own
MEDIAN_S = {
    "crawl": 4.0, "crop": 4.0, "lmdb": 3.0, "reference": 3.0, "pretrained": 2.0, "plan": 0.5, "train": 24.0,
    "swap": 2.0, "evaluate": 8.0, "compare": 3.0, "page": 2.0, "publish": 1.0,
}  # fmt: skip
SPREAD = 0.35  # sigma of the logarithm


def seconds_of(stage: str, scale: float) -> float:
    """How long a stage takes here; the same whoever asks."""
    drawn = random.Random(stage).lognormvariate(0.0, SPREAD)
    return scale * drawn * MEDIAN_S.get(stage.partition("@")[0], 1.0)


@dataclass(frozen=True)
class Work:
    """One job as an agent saw it, seconds since 1970."""

    agent: str
    pool: str
    claimed: float
    began: float  # the stages
    ended: float  # the stages
    reported: float


class Agent:
    """One slot."""

    def __init__(self, url: str, pool: str, number: int, scale: float, query_s: float) -> None:
        """``query_s``: between two looks for work, PREFECT_WORKER_QUERY_SECONDS."""
        self.pool, self.name = pool, f"simulated-{pool}-{number}"
        self.scale, self.query_s = scale, query_s
        self.done: list[Work] = []
        self.calls = self.lost = self.refused = 0
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)
        self._beat = 0.0

    def serve(self, stop: threading.Event) -> None:
        """Take jobs until told otherwise."""
        stop.wait(random.uniform(0, self.query_s))
        while not stop.is_set():
            self._heartbeat()
            before = (datetime.now(UTC) + timedelta(seconds=PREFETCH_S)).isoformat()
            body = {"work_queue_names": [], "scheduled_before": before}
            found = self._try("POST", f"/work_pools/{self.pool}/get_scheduled_flow_runs", body)
            if found:
                self._take(found[0]["flow_run"], stop)  # a worker with one slot tries the first alone
            stop.wait(self.query_s * random.uniform(0.7, 1.3))

    def _take(self, run: Mapping[str, Any], stop: threading.Event) -> None:
        path = f"/flow_runs/{run['id']}"
        deployment = f"/deployments/{run['deployment_id']}"
        self._call("GET", deployment)
        if not self._state(path, "PENDING", "Pending"):
            self.lost += 1
            return
        claimed = time.time()
        self._call("GET", deployment)
        self._call("GET", f"/flows/{run['flow_id']}")
        self._call("PATCH", f"{path}/labels", {"prefect.worker.name": self.name, "prefect.worker.type": "process"})
        self._state(path, "PENDING", "Submitting")
        self._call("PATCH", path, {"infrastructure_pid": "localhost:1"})
        for where in (path, deployment, "/admin/version", path, "/admin/storage"):
            self._call("GET", where)
        self._call("PATCH", path, {"name": run["parameters"]["title"]})
        self._state(path, "RUNNING", "Running")
        for where in (path, "/admin/storage", f"/flows/{run['flow_id']}", deployment, f"/work_pools/{self.pool}"):
            self._call("GET", where)
        began = time.time()
        outcomes = self._run(run, stop)
        ended = time.time()
        artifact = {"type": "table", "data": json.dumps(outcomes), "flow_run_id": run["id"]}
        self._call("POST", "/artifacts/", artifact)
        self._state(path, "COMPLETED", "Completed")
        self._log(run, "Finished")
        self.done.append(Work(self.name, self.pool, claimed, began, ended, time.time()))

    def _run(self, run: Mapping[str, Any], stop: threading.Event) -> list[dict[str, Any]]:
        outcomes = []
        for node in run["parameters"]["nodes"]:
            seconds = seconds_of(node["name"], self.scale)
            self._live(run, seconds, stop)
            self._log(run, node["name"])
            outcomes.append({"stage": node["name"], "state": "ran", "seconds": seconds, "where": self.name})
        return outcomes

    def _live(self, run: Mapping[str, Any], seconds: float, stop: threading.Event) -> None:
        """Sleep, with signs of life."""
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._event(run)
            stop.wait(min(left, BEAT_S))
            self._heartbeat()

    def _event(self, run: Mapping[str, Any]) -> None:
        event = {
            "id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}"},
        }  # fmt: skip
        self._try("POST", "/events", [event])

    def _heartbeat(self) -> None:
        if time.monotonic() - self._beat > HEARTBEAT_S:
            self._beat = time.monotonic()
            body = {"name": self.name, "heartbeat_interval_seconds": HEARTBEAT_S}
            self._try("POST", f"/work_pools/{self.pool}/workers/heartbeat", body)

    def _log(self, run: Mapping[str, Any], message: str) -> None:
        now = datetime.now(UTC).isoformat()
        line = {"name": "run", "level": 20, "message": message, "timestamp": now, "flow_run_id": run["id"]}
        self._try("POST", "/logs/", [line])

    def _state(self, path: str, kind: str, name: str) -> bool:
        answer = self._call("POST", f"{path}/set_state", {"state": {"type": kind, "name": name}, "force": False})
        return bool(answer["status"] == "ACCEPT")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """Ask; again while the server is too busy, as Prefect's own client does."""
        for wait in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
            if (answer := self._send(method, path, body)) is not None:
                return answer.json() if answer.content else None
            time.sleep(wait)
        raise TimeoutError(f"{method} {path}: no answer from the server in minutes")

    def _try(self, method: str, path: str, body: object) -> Any:
        """Ask once for what will be asked again anyway; None if the server is too busy."""
        answer = self._send(method, path, body)
        return answer.json() if answer is not None and answer.content else None

    def _send(self, method: str, path: str, body: object) -> httpx.Response | None:
        self.calls += 1
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError:  # as when the server ends an idle connection in this moment
            return None
        if answer.status_code >= 500:
            self.refused += 1
            return None
        return answer.raise_for_status()


def counts(words: list[str]) -> dict[str, int]:
    """Read ``gpu=16``."""
    return {pool: int(number) for pool, _, number in (word.partition("=") for word in words)}


def _give_up(said: threading.ExceptHookArgs) -> None:
    """An agent less would spoil the figures: end them all, which the simulation notices."""
    sys.excepthook(said.exc_type, said.exc_value or said.exc_type(), said.exc_traceback)
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of Prefect's interface, with /api at its end")
    parser.add_argument("--agents", nargs="+", default=["gpu=16", "cpu=4"], metavar="POOL=N")
    parser.add_argument("--scale", type=float, default=1.0, help="of the stages' seconds")
    parser.add_argument("--query", type=float, default=2.0, help="s between two looks for work")
    options = parser.parse_args()
    stop = threading.Event()
    agents = [
        Agent(options.url, pool, number, options.scale, options.query)
        for pool, many in counts(options.agents).items()
        for number in range(many)
    ]
    threading.excepthook = _give_up
    threads = [threading.Thread(target=agent.serve, args=(stop,)) for agent in agents]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    told = {
        "work": [asdict(work) for agent in agents for work in agent.done],
        "calls": sum(agent.calls for agent in agents),
        "lost": sum(agent.lost for agent in agents),
        "refused": sum(agent.refused for agent in agents),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
