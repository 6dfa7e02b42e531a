"""End a run and everything it has under way, wherever its coordinator and its jobs are, and wait until it is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pipeline.operating.api import Api, ServerError
from pipeline.operating.look_server import (
    UNFINISHED,
    Row,
    coordinated,
    is_job,
    jobs_of,
    jobs_under,
    stages_of,
    title_of,
)
from pipeline.operating.settings import find_servers
from pipeline.profiles import name_of
from pipeline.running.family import below, started
from pipeline.running.lease import TTL, holders
from pipeline.running.names import coordinator_lease, folder_lease, lease_folder
from pipeline.running.record import Holder

WAIT_S = TTL + 5.0  # until everything must be gone; stages have 30 s to save their state
_DEAF_S = 8.0  # after which a coordinator is not expected to hear of it from the server any more
_SILENT_S = 90.0  # that a server may be silent which has answered: SQLite can stand still for 60
_ABSENT_S = 5.0  # that one may be silent which has not
_POLL_S = 0.5
_NEWEST = 200  # runs among which one is looked for by its name
_UNDER_WAY = ("PENDING", "RUNNING", "CANCELLING")  # for a coordinator; one that is scheduled is for another day

Say = Callable[[str], object]


class CancelError(Exception):
    """Not everything could be ended."""

    exit_code: ClassVar[int] = 1


class NoSuchRunError(Exception):
    """No run is called so."""

    exit_code: ClassVar[int] = 2


def cancel(root: Path, profile: str | None, run: str | None, say: Say) -> list[str]:
    """End a run.

    Args:
        root: the project.
        profile: whose run; None is the root's own.
        run: id (or its beginning) or name of a coordinated run on the server; None is whatever runs for the profile,
            in this folder too.
        say: gets a line about everything that is noticed.

    Returns: what was ended; empty if nothing was under way.
    Raises: NoSuchRunError; CancelError naming what is still there after ``WAIT_S`` seconds.
    """
    name = name_of(root, profile)
    url = find_servers(root).prefect
    server = None if url is None else _Server(Api(url), root, name, say)
    if run is None:
        machine = _Machine(root, name, say)
    elif server is None:
        raise NoSuchRunError(f"{run}: only a server knows runs by name, and there is none; leave the name out")
    elif not server.choose(run):
        return []
    else:
        machine = None
    return _end(lease_folder(root), server, machine)


def _end(leases: Path, server: _Server | None, machine: _Machine | None) -> list[str]:
    """Tell everybody, again and again because runs submit jobs until they have heard, until nothing is left."""
    begun, first = time.monotonic(), dict[str, Holder]()
    while True:
        elapsed = time.monotonic() - begun
        held = holders(leases)
        rows = server.step() if server else []
        if server and elapsed > _DEAF_S and not server.silent:
            rows = server.bury(rows, {one.name for one in held})
        left = machine.step(held, patient=bool(rows) and elapsed < _DEAF_S) if machine else []
        stages = (server.stages if server else set()) | (machine.stages if machine else set())
        left += [_place(one) for one in held if one.name in stages and _lives(one, first, elapsed)]
        if elapsed > WAIT_S and server:
            server.write_off(rows)
            rows = []
        if not rows and not left and not (server and server.silent):
            break
        if elapsed > WAIT_S:
            raise CancelError(f"still there after {WAIT_S:.0f} s: {'; '.join(left)}; end it by hand")
        time.sleep(_POLL_S)
    if machine and machine.elsewhere:
        raise CancelError(f"{'; '.join(machine.elsewhere)}: give this command there")
    return (server.ended if server else []) + (machine.ended if machine else [])


def _lives(one: Holder, first: dict[str, Holder], elapsed: float) -> bool:
    """Whether a lease has shown a sign of life since it was first looked at; another machine may have died with it."""
    return first.setdefault(one.name, one) != one or elapsed < TTL


def _place(one: Holder) -> str:
    return f"{one.name} on {one.host}, process {one.pid}"


class _Server:
    """Runs and jobs that Prefect's server knows."""

    def __init__(self, api: Api, root: Path, profile: str, say: Say) -> None:
        self.ended: list[str] = []
        self.stages: set[str] = set()  # of the jobs; their leases must be let go
        self._api: Api | None = api
        self._root = root
        self._profile = profile
        self._say = say
        self._chosen: str | None = None
        self._told: set[str] = set()
        self._silent_since: float | None = None
        self._rows_then: list[Row] = []  # when it answered last

    @property
    def silent(self) -> bool:
        """Whether the server does not answer at the moment, so that nothing is known for certain."""
        return self._silent_since is not None

    def choose(self, wanted: str) -> bool:
        """Restrict this to one run and its jobs; returns whether it is still to end.

        Raises: NoSuchRunError, ServerError.
        """
        assert self._api is not None
        body = {"flows": {"name": {"any_": ["reproduce"]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": _NEWEST}
        rows = self._api.ask("POST", "/flow_runs/filter", body)
        found = [row for row in rows if wanted == row["name"] or str(row["id"]).startswith(wanted)]
        still = [row for row in found if row["state_type"] in UNFINISHED]
        if not found:
            raise NoSuchRunError(f"{wanted}: no run has this id or name; `cartoon-pipeline status` names the newest")
        if len(still) > 1:
            ids = ", ".join(str(row["id"])[:8] for row in still)
            raise NoSuchRunError(f"{wanted}: {len(still)} runs are called so; give the id of one: {ids}")
        self._chosen = str(still[0]["id"]) if still else None
        return bool(still)

    def step(self) -> list[Row]:
        """Tell every run and job that has not been told; returns those that have not ended."""
        if self._api is None:
            return []
        try:
            rows = self._rows(self._api)
            for row in rows:
                if str(row["id"]) not in self._told:
                    self._tell(row)
        except ServerError as error:
            return self._without(error)
        self._silent_since, self._rows_then = None, rows
        return rows

    def _without(self, error: ServerError) -> list[Row]:
        """Wait a little for a server that does not answer, as it may be starting again; then do without it."""
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since < (_SILENT_S if self._told else _ABSENT_S):
            return self._rows_then
        if self._chosen is not None or self._told:
            raise error
        self._say(f"warning: {error}; only what runs on this machine is ended")
        self._api, self._silent_since = None, None
        return []

    def _rows(self, api: Api) -> list[Row]:
        if self._chosen is not None:
            own = api.ask("GET", f"/flow_runs/{self._chosen}")
            above = [own] if own["state_type"] in UNFINISHED else []
            return [*above, *jobs_under(api, self._chosen, UNFINISHED)]
        above = coordinated(api, self._profile, lambda profile: name_of(self._root, profile), _UNDER_WAY)
        return [*above, *jobs_of(api, self._profile)]

    def _tell(self, row: Row) -> None:
        self._set(row, "CANCELLING", "cancelled by `cartoon-pipeline cancel`")
        self._told.add(str(row["id"]))
        self.stages.update(stages_of(row))
        self.ended.append(title_of(row))
        self._say(f"ending {title_of(row)}")

    def bury(self, rows: Sequence[Row], held: set[str]) -> list[Row]:
        """Write off coordinators without a lease: their process is gone; returns the others."""
        dead = [row for row in rows if not is_job(row) and coordinator_lease(self._profile) not in held]
        self.write_off(dead)
        return [row for row in rows if row not in dead]

    def write_off(self, rows: Sequence[Row]) -> None:
        """Call runs cancelled that nobody ends, so that they hold no place in a pool."""
        for row in rows:
            self._say(f"{title_of(row)}: whoever ran it does not answer; it counts as cancelled now")
            try:
                self._set(row, "CANCELLED", "cancelled; whoever ran it did not answer", force=True)
            except ServerError as error:
                self._say(f"warning: {error}")

    def _set(self, row: Row, state: str, message: str, *, force: bool = False) -> None:
        assert self._api is not None
        told = {"type": state, "name": state.capitalize(), "message": message}
        self._api.ask("POST", f"/flow_runs/{row['id']}/set_state", {"state": told, "force": force})


class _Machine:
    """Processes of this machine that hold a profile's stages together: a run in this folder, a coordinator."""

    def __init__(self, root: Path, profile: str, say: Say) -> None:
        self.ended: list[str] = []
        self.stages: set[str] = set()  # below the processes; their leases must be let go
        self.elsewhere: list[str] = []
        self._coordinator, self._run = coordinator_lease(profile), folder_lease(profile, root)
        self._say = say
        self._told: dict[int, int] = {}  # process -> when it began

    def step(self, held: Sequence[Holder], *, patient: bool) -> list[str]:
        """Signal those processes; returns what is still there.

        Args:
            held: all leases.
            patient: whether the coordinator may still hear of it from the server.
        """
        for one in held:
            if one.name == self._run or (one.name == self._coordinator and not patient):
                self._tell(one, held)
        return [f"process {pid}" for pid, began in self._told.items() if started(pid) == began]

    def _tell(self, one: Holder, held: Sequence[Holder]) -> None:
        if not one.here:
            if one.name == self._run and _place(one) not in self.elsewhere:
                self.elsewhere.append(_place(one))
            return
        if one.pid in self._told or not one.lives:
            return
        self._told[one.pid] = one.started
        family = below(one.pid)
        self.stages.update(other.name for other in held if other.here and other.pid in family)
        self.ended.append(f"process {one.pid}")
        self._say(f"ending process {one.pid}: {one.name}")
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGTERM)
