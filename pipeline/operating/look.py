"""What ``cartoon-pipeline status`` shows, as data: from DVC, from leases, and from Prefect's server if there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.graph import Graph, GraphError, read_graph, select, stale_stages, to_run
from pipeline.operating.api import Api, ServerError
from pipeline.operating.look_server import ServerView, look_at_server
from pipeline.operating.settings import find_servers
from pipeline.profiles import dvcfile_of, name_of
from pipeline.running.lease import holders
from pipeline.running.names import coordinator_lease, folder_lease, lease_folder
from pipeline.running.record import Holder

FORMAT = 1  # of what ``status --json`` writes; a new number when a field changes its meaning or goes


@dataclass(frozen=True)
class Stale:
    """A stage that would run."""

    stage: str
    why: list[str]  # what changed about it; empty if only something above it did


@dataclass(frozen=True)
class Working:
    """Somebody who holds a lease: a stage, or a run of many."""

    name: str  # DVC's address of the stage
    what: str
    host: str
    pid: int
    since: float  # s since 1970


@dataclass(frozen=True)
class Finished:
    """The commit of a coordinated run that ended well."""

    commit: str
    when: float  # s since 1970


@dataclass(frozen=True)
class Picture:
    """Where one profile of a project stands."""

    profile: str
    commit: str | None  # of the working tree; None outside a repository
    stages: int
    stale: list[Stale] | None  # None if DVC could not say
    running: list[Working]
    runs: list[Working]  # what holds the stages together: a coordinator, a run in this folder
    server: ServerView | None
    finished: Finished | None
    warnings: list[str] = field(default_factory=list)
    format: int = FORMAT


def look(root: Path, profile: str | None) -> Picture:
    """Look at everything once.

    Args:
        root: the project.
        profile: whose stages; None is the root's own.

    Raises: ProfileError, GraphError if there is no such profile or pipeline.
    """
    dvcfile, name = dvcfile_of(root, profile), name_of(root, profile)
    warnings: list[str] = []
    with ThreadPoolExecutor(max_workers=3) as threads:
        leases = threads.submit(lease_folder, root)
        changed = threads.submit(stale_stages, root, dvcfile)
        commit = _git(root, "rev-parse", "HEAD")
        server = threads.submit(_server, root, name, commit, warnings)
        graph = select(read_graph(root), dvcfile)
        held = _working(holders(leases.result()))
        busy = [one for one in held if one.name in graph]
        stale = _stale(root, graph, changed.result, {one.name for one in busy}, warnings)
        view = server.result()
    above = (coordinator_lease(name), folder_lease(name, root))
    return Picture(
        profile=name, commit=commit, stages=len(graph), stale=stale, running=busy,
        runs=[one for one in held if one.name in above], server=view, finished=_finished(root, name), warnings=warnings,
    )  # fmt: skip


def _working(found: Collection[Holder]) -> list[Working]:
    every = [Working(one.name, one.what, one.host, one.pid, one.begun) for one in found]
    return sorted(every, key=lambda one: (one.since, one.name))


def _stale(
    root: Path, graph: Graph, ask: Callable[[], Mapping[str, list[str]]], busy: Collection[str], warnings: list[str]
) -> list[Stale] | None:
    """Return what would run, upstream first; None if DVC cannot tell.

    DVC refuses to look at files that a stage is writing, so stages that run in this folder, and what reads from them,
    are left out of a second question: they are out of date anyway.
    """
    try:
        changed = dict(ask())
    except GraphError as error:
        quiet = [name for name, node in graph.items() if not {name, *node.upstream} & set(busy)]
        if not busy:
            warnings.append(f"DVC cannot say what is out of date now: {error}")
            return None
        try:
            changed = stale_stages(root, *quiet) if quiet else {}
        except GraphError as again:
            warnings.append(f"DVC cannot say what is out of date now: {again}")
            return None
        changed = {**changed, **{name: ["running"] for name in busy}}
    return [Stale(name, changed.get(name, [])) for name in to_run(graph, changed)]


def _server(root: Path, name: str, commit: str | None, warnings: list[str]) -> ServerView | None:
    url = find_servers(root).prefect
    if url is None:
        return None
    try:
        return look_at_server(Api(url), name, commit, lambda profile: name_of(root, profile))
    except ServerError as error:
        warnings.append(f"{error}. What follows is without it")
        return None


def _finished(root: Path, name: str) -> Finished | None:
    """Look for the newest commit by which a coordinator ended a run, on any branch."""
    said = _git(root, "log", "--all", "-1", "--format=%H %ct", "--fixed-strings", f"--grep=Reproduce {name}")
    if not said:
        return None
    commit, when = said.split()
    return Finished(commit, float(when))


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout.strip() or None if done.returncode == 0 else None
