"""What Prefect's server knows about a profile's runs: who works, what waits, what failed and where to read about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.operating.api import Api, worker_of

Row = Mapping[str, Any]

UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
_BEGUN = ("PENDING", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_BAD = ("FAILED", "CRASHED", "CANCELLED")
_PAGE = 200  # most that the server answers at once
_LAST = 20  # newest runs among which one of the profile is looked for
_INTERRUPTED = 75  # exit code that stages of a job count with whose machine vanished

_OWN_WORD = re.compile(r"^error: ", re.I)
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt)\b")
_STAGE = re.compile(r"^Running stage '(.+)':$")
_FLOURISH = re.compile(r"^Flow run encountered an exception: (?:\w+: )?")
_DVC = re.compile(r"^(?:> |ERROR: failed to reproduce|Running stage|Generating lock|Updating lock|Use `dvc)")


@dataclass(frozen=True)
class Job:
    """A flow run on its way."""

    id: str
    title: str
    pool: str
    state: str  # scheduled, pending, running, cancelling
    since: float  # s since 1970
    worker: str  # name of the agent's worker; empty while it waits
    url: str


@dataclass(frozen=True)
class Pool:
    """A work pool."""

    name: str
    workers: list[str]  # that are alive


@dataclass(frozen=True)
class FailedStage:
    """A stage that failed in the newest run."""

    stage: str
    exit_code: int
    where: str  # host/agent
    line: str  # of its output that says most
    url: str


@dataclass(frozen=True)
class Run:
    """A coordinated run."""

    id: str
    name: str
    state: str  # completed, failed, running, ...
    began: float | None  # s since 1970
    ended: float | None
    message: str
    url: str
    failed: list[FailedStage]


@dataclass(frozen=True)
class ServerView:
    """All that is shown."""

    url: str
    pools: list[Pool]
    jobs: list[Job]
    done: list[str]  # stages that agents have done for the commit, in the cache or remote by now
    newest: Run | None


def look_at_server(api: Api, profile: str, commit: str | None, name_of: Callable[[str | None], str]) -> ServerView:
    """Ask the server about one profile.

    Args:
        api: the server.
        profile: its name.
        commit: whose stages may be done, though its dvc.lock does not say so yet.
        name_of: a profile's name from a run's parameter, which may be None.

    Raises: ServerError.
    """
    newest = next(iter(coordinated(api, profile, name_of, _BEGUN)), None)
    return ServerView(
        url=_pages(api),
        pools=[_pool(api, str(entry["name"])) for entry in api.ask("POST", "/work_pools/filter", {"limit": _PAGE})],
        jobs=[_job(api, row) for row in jobs_of(api, profile)],
        done=_done(api, profile, commit),
        newest=None if newest is None else _run(api, newest),
    )


def coordinated(api: Api, profile: str, name_of: Callable[[str | None], str], states: Sequence[str]) -> list[Row]:
    """Flow runs that coordinate this profile and are in one of the states, newest first."""
    body = {
        "flows": {"name": {"any_": ["reproduce"]}}, "flow_runs": {"state": {"type": {"any_": list(states)}}},
        "sort": "EXPECTED_START_TIME_DESC", "limit": _LAST,
    }  # fmt: skip
    rows = api.ask("POST", "/flow_runs/filter", body)
    return [row for row in rows if _is_of(row, profile, name_of)]


def _is_of(row: Row, profile: str, name_of: Callable[[str | None], str]) -> bool:
    asked = (row.get("parameters") or {}).get("profile")
    return bool(asked == profile or (asked is None and name_of(None) == profile))


def jobs_of(api: Api, profile: str) -> list[Row]:
    """Jobs of a profile that have not ended, whoever submitted them."""
    return _pages_of(api, _tagged(profile, UNFINISHED))


def _tagged(profile: str, states: Sequence[str]) -> dict[str, Any]:
    wanted = {"tags": {"all_": ["cartoon", f"profile:{profile}"]}, "state": {"type": {"any_": list(states)}}}
    return {"flows": {"name": {"any_": ["stages"]}}, "flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC"}


def _done(api: Api, profile: str, commit: str | None) -> list[str]:
    """Return what the newest jobs of a commit have done."""
    rows = api.ask("POST", "/flow_runs/filter", {**_tagged(profile, ("COMPLETED", "FAILED")), "limit": _PAGE})
    ours = [str(row["id"]) for row in rows if (row.get("parameters") or {}).get("rev") == commit]
    told = _outcomes(api, ours)
    return sorted({str(one["stage"]) for run in ours for one in told.get(run, []) if one["state"] in ("ran", "cached")})


def jobs_under(api: Api, run: str, states: Sequence[str]) -> list[Row]:
    """Jobs that one coordinated run has submitted and that are in one of the states."""
    wanted = {"parent_flow_run_id": {"any_": [run]}, "state": {"type": {"any_": list(states)}}}
    return _pages_of(api, {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_ASC"})


def _pages_of(api: Api, body: Mapping[str, Any]) -> list[Row]:
    found: list[Row] = []
    while True:
        page = api.ask("POST", "/flow_runs/filter", {**body, "limit": _PAGE, "offset": len(found)})
        found += page
        if len(page) < _PAGE:
            return found


def title_of(row: Row) -> str:
    """Name a job by its stages; before it runs, its flow run has a name that says nothing."""
    return str((row.get("parameters") or {}).get("title") or row["name"])


def is_job(row: Row) -> bool:
    """Tell a job from the run that coordinates jobs."""
    return "nodes" in (row.get("parameters") or {})


def stages_of(row: Row) -> list[str]:
    """DVC's addresses of a job's stages."""
    return [str(node["name"]) for node in (row.get("parameters") or {}).get("nodes", [])]


def _pool(api: Api, name: str) -> Pool:
    workers = api.ask("POST", f"/work_pools/{name}/workers/filter", {"limit": _PAGE})
    return Pool(name, sorted(str(one["name"]) for one in workers if str(one.get("status")).upper() == "ONLINE"))


def _job(api: Api, row: Row) -> Job:
    return Job(
        id=str(row["id"]), title=title_of(row), pool=str(row.get("work_pool_name") or ""),
        state=str(row["state_type"]).lower(), since=_seconds(row["state"]["timestamp"]) or 0.0,
        worker=worker_of(dict(row)) or "", url=_page(api, row),
    )  # fmt: skip


def _run(api: Api, row: Row) -> Run:
    message = _FLOURISH.sub("", str(row["state"].get("message") or ""))
    return Run(
        id=str(row["id"]), name=str(row["name"]), state=str(row["state_type"]).lower(),
        began=_seconds(row.get("start_time")), ended=_seconds(row.get("end_time")), message=message,
        url=_page(api, row), failed=_failed(api, str(row["id"])) if row["state_type"] != "COMPLETED" else [],
    )  # fmt: skip


def _failed(api: Api, run: str) -> list[FailedStage]:
    """Return the stages whose last try failed; those of jobs that somebody cancelled have not."""
    ended = [row for row in jobs_under(api, run, ("COMPLETED", *_BAD)) if row["state_type"] != "CANCELLED"]
    told = _outcomes(api, [str(row["id"]) for row in ended])
    last: dict[str, tuple[Row, Row]] = {}
    for row in ended:
        lost = [{"stage": name, "state": "failed", "exit_code": _INTERRUPTED} for name in stages_of(row)]
        for outcome in told.get(str(row["id"]), lost if row["state_type"] in _BAD else []):
            last[str(outcome["stage"])] = (outcome, row)
    return [_failure(api, outcome, row) for outcome, row in last.values() if outcome["state"] == "failed"]


def _outcomes(api: Api, runs: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for first in range(0, len(runs), _PAGE):
        wanted = {"flow_run_id": {"any_": list(runs[first : first + _PAGE])}, "type": {"any_": ["table"]}}
        for entry in api.ask("POST", "/artifacts/filter", {"artifacts": wanted, "limit": _PAGE}):
            data = entry["data"]
            found[str(entry["flow_run_id"])] = json.loads(data) if isinstance(data, str) else data
    return found


def _failure(api: Api, outcome: Row, row: Row) -> FailedStage:
    wanted = {"logs": {"flow_run_id": {"any_": [str(row["id"])]}}, "limit": _PAGE, "sort": "TIMESTAMP_DESC"}
    lines = [str(entry["message"]) for entry in reversed(api.ask("POST", "/logs/filter", wanted))]
    stage = str(outcome["stage"])
    told = telling_line(lines, stage) or str(row["state"].get("message") or "")
    where = str(outcome.get("where") or worker_of(dict(row)) or "")
    return FailedStage(stage, int(outcome["exit_code"]), where, " ".join(told.split()), _page(api, row))


def telling_line(lines: Sequence[str], stage: str) -> str:
    """Return the line of a job's output that says most about a stage's failure.

    Stages end with one line ``error: ...``; other programs with an exception, or with whatever they said last.
    """
    own: list[str] = []
    current = None
    for line in (part.strip() for entry in lines for part in entry.splitlines()):
        if match := _STAGE.match(line):
            current = match[1]
        elif line and current in (None, stage):
            own.append(line)
    for wanted in (_OWN_WORD, _EXCEPTION):
        if found := [line for line in own if wanted.match(line) and not _DVC.match(line)]:
            return found[-1]
    rest = [line for line in own if not _DVC.match(line)]
    return (rest or own or [""])[-1]


def _pages(api: Api) -> str:
    return api.url.removesuffix("/api")


def _page(api: Api, row: Row) -> str:
    return f"{_pages(api)}/runs/flow-run/{row['id']}"


def _seconds(stamp: str | None) -> float | None:
    return None if stamp is None else datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
