"""The DVC graph as data: stages, what each reads from, which are out of date. The one module that knows DVC's insides.

The graph is read through DVC's Python interface (internal, so only here, and compared with ``dvc dag`` in a test);
everything that runs or hashes is a ``dvc`` process, because one ``Repo`` object cannot do both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.telemetry import silence

Graph = Mapping[str, "StageNode"]


class GraphError(Exception):
    """DVC cannot read the pipeline, or a target is not in it."""

    exit_code: ClassVar[int] = 2


class CutOffError(Exception):
    """DVC was killed while it looked at the pipeline."""

    exit_code: ClassVar[int] = 75

    def __init__(self, what: str, root: Path, number: int) -> None:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        super().__init__(f"{what} was ended by {name} in {root}; nothing is lost, the same command goes on from here")


@dataclass(frozen=True)
class StageNode:
    """One stage of dvc.yaml."""

    name: str  # DVC's address: train@freeze_sg-flat-s0, or profiles/paper/dvc.yaml:train@...
    dvcfile: str  # relative to the root
    pool: str  # cpu or gpu: which machines it belongs to
    network: bool  # fetches from elsewhere, so trying again can help
    upstream: tuple[str, ...]  # names of the stages whose outputs it reads
    dataset: str | None = None  # of the grid
    method: str | None = None
    published: bool = False  # has an output of git's: DVC takes such a stage from no other machine
    kept: bool = False  # the cache has what dvc.lock says it made, which may hold although something above it changed

    @property
    def kind(self) -> str:
        """The stage without its place in the grid: ``train``."""
        return self.name.rpartition(":")[2].partition("@")[0]


def dvc_command(*arguments: str) -> list[str]:
    """The command line of this environment's DVC; waits for its lock instead of failing."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def read_graph(root: Path) -> dict[str, StageNode]:
    """Read every stage of every dvc.yaml below ``root``, upstream stages first.

    Raises: GraphError if there is no DVC project or a dvc.yaml is wrong.
    """
    with _repo(root) as repo:
        edges = repo.index.graph
        nodes = {node.name: node for node in (_node(root, stage, edges) for stage in repo.index.stages)}
    return {name: nodes[name] for name in _ordered(nodes)}


def _node(root: Path, stage: object, edges: object) -> StageNode:
    from dvc.stage import PipelineStage, Stage

    assert isinstance(stage, Stage)
    meta = (stage.meta if isinstance(stage, PipelineStage) else None) or {}
    upstream = edges.successors(stage)  # type: ignore[attr-defined]  # networkx ships no types
    return StageNode(
        name=_from_root(root, stage),
        dvcfile=os.path.relpath(stage.path, root),
        pool=str(meta.get("pool", "cpu")),
        network=bool(meta.get("network", False)),
        upstream=tuple(sorted(_from_root(root, other) for other in upstream)),
        dataset=meta.get("dataset"),
        method=meta.get("method"),
        published=any(not out.use_cache for out in stage.outs),
        kept=bool(stage.outs) and all(out.hash_info and out.cache.exists(out.hash_info.value) for out in stage.outs),
    )


@dataclass(frozen=True)
class Output:
    """A file or folder that dvc.lock says a stage has made."""

    stage: str  # DVC's address
    dvcfile: str  # relative to the root
    path: Path
    md5: str  # ends in .dir for a folder
    cached: bool  # else git keeps it


def read_outputs(root: Path) -> list[Output]:
    """Read what every dvc.lock below ``root`` says has been made.

    Raises: GraphError if there is no DVC project or a dvc.yaml is wrong.
    """
    with _repo(root) as repo:
        return [
            Output(
                stage=_from_root(root, stage),
                dvcfile=os.path.relpath(stage.path, root),
                path=Path(out.fs_path),
                md5=out.hash_info.value,
                cached=out.use_cache,
            )
            for stage in repo.index.stages
            for out in stage.outs
            if out.hash_info and out.protocol == "local"
        ]


@contextmanager
def _repo(root: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    silence()
    try:
        with Repo(str(root)) as repo:
            yield repo
    except DvcException as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise GraphError(f"{root}: DVC cannot read the pipeline: {error}{cause}") from error


def _from_root(root: Path, stage: object) -> str:
    """Address a stage as ``dvc`` does when it is started in ``root``, wherever this process is."""
    path = os.path.relpath(str(stage.path), root)  # type: ignore[attr-defined]
    name = getattr(stage, "name", None)
    if name is None:
        return path
    return str(name) if path == "dvc.yaml" else f"{path}:{name}"


def _ordered(nodes: Graph) -> list[str]:
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for upstream in nodes[name].upstream:
                visit(upstream)
            order[name] = None

    for name in nodes:
        visit(name)
    return list(order)


def select(graph: Graph, dvcfile: str, targets: Collection[str] = ()) -> dict[str, StageNode]:
    """Keep the stages of one dvc.yaml, or only ``targets`` (names or groups such as ``train``) and what they need.

    Raises: GraphError naming a target that does not exist.
    """
    here = {name: node for name, node in graph.items() if node.dvcfile == dvcfile}
    if not here:
        known = ", ".join(sorted({node.dvcfile for node in graph.values()})) or "none"
        raise GraphError(f"{dvcfile}: no stages there; there are stages in: {known}")
    if not targets:
        return here
    wanted: set[str] = set()
    for target in targets:
        found = [name for name, node in here.items() if target in (name, name.rpartition(":")[2], node.kind)]
        if not found:
            raise GraphError(f"{target}: no such stage in {dvcfile}; `dvc stage list {dvcfile}` shows all")
        wanted.update(found)
    for name in reversed(list(here)):  # downstream first, so needs are known before they are visited
        if name in wanted:
            wanted.update(here[name].upstream)
    return {name: node for name, node in here.items() if name in wanted}


def narrow(graph: Graph, dataset: str | None, method: str | None, stale: Collection[str]) -> dict[str, StageNode]:
    """Keep one dataset's or method's stages with what they need, and what needs nothing else that is out of date.

    Args:
        graph: stages, upstream first.
        dataset: whose stages to keep; None keeps those of every dataset.
        method: likewise.
        stale: every stage that would run without this choice.

    Returns: the chosen stages; the comparison of all datasets among them if the others are up to date.
    Raises: GraphError naming a dataset or method that no stage has.
    """
    for what, wanted in (("dataset", dataset), ("method", method)):
        known = {getattr(node, what) for node in graph.values()} - {None}
        if wanted is not None and wanted not in known:
            raise GraphError(f"{wanted}: no stage has this {what}; there are: {', '.join(sorted(known))}")
    chosen = {
        name
        for name, node in graph.items()
        if (node.dataset is not None or node.method is not None)
        and dataset in (None, node.dataset or dataset)
        and method in (None, node.method or method)
    }
    for name in reversed(list(graph)):  # downstream first, so needs are known before they are visited
        if name in chosen:
            chosen.update(graph[name].upstream)
    for name, node in graph.items():
        common = node.dataset is None and node.method is None
        if common and all(upstream in chosen or upstream not in stale for upstream in node.upstream):
            chosen.add(name)
    return {name: node for name, node in graph.items() if name in chosen}


def to_run(graph: Graph, stale: Iterable[str]) -> dict[str, StageNode]:
    """Out-of-date stages and everything downstream of them, upstream first."""
    chosen: dict[str, StageNode] = {}
    changed = set(stale)
    for name, node in graph.items():
        if name in changed or any(upstream in chosen for upstream in node.upstream):
            chosen[name] = node
    return chosen


def stale_stages(root: Path, *targets: str) -> dict[str, list[str]]:
    """Ask ``dvc status`` which of these stages, or of the stages of a dvc.yaml, changed themselves, and how.

    Returns: stage name -> changed items, like ``{"train@a-b-s0": ["model/training modified"]}``.
    Raises: GraphError if DVC fails, CutOffError if it is killed.
    """
    silence()
    command = dvc_command("status", "--json", *targets)
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode < 0:
        raise CutOffError(f"`dvc status {targets[0]}`", root, -result.returncode)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise GraphError(f"`dvc status {targets[0]}` failed in {root}: {last}")
    status = json.loads(result.stdout or "{}")
    return {name: _reasons(changes) for name, changes in status.items()}


def cache_folder(root: Path) -> Path:
    """Where DVC keeps outputs.

    Raises: GraphError if there is no DVC project or its settings are wrong.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException

    silence()
    try:
        if not (root / ".dvc").is_dir():
            raise GraphError(f"{root}: no DVC project here (no folder .dvc)")
        settings = Config(str(root / ".dvc"))  # reads files only, where `dvc cache dir` takes a process and 0.5 s
    except DvcException as error:
        raise GraphError(f"{root}: DVC cannot read its settings: {error}") from error
    return root / str(settings["cache"].get("dir") or Path(".dvc") / "cache")


def _reasons(changes: Iterable[object]) -> list[str]:
    reasons: list[str] = []
    for change in changes:
        if isinstance(change, str):
            reasons.append(change)
        elif isinstance(change, Mapping):
            for what, items in change.items():
                if isinstance(items, Mapping):
                    reasons += [f"{item} {_state(state)}" for item, state in items.items()]
                else:
                    reasons.append(f"{what}: {items}")
    return reasons


def _state(state: object) -> str:
    """``modified``, or for params the names of those that changed."""
    if isinstance(state, Mapping):
        return ", ".join(f"{key} {value}" for key, value in state.items())
    return str(state)
