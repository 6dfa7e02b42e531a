"""What dvc.lock proves: that a dataset's stages have run on the content that a commit has for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.graph import dvc_command, read_graph, select, to_run
from pipeline.params import read_params

Entry = Mapping[str, Any]


def is_reproduced(clone: Path, dvcfile: str, dataset: str, where: str) -> bool:
    """Whether dvc.lock says that everything after a dataset was made from its content at this commit.

    Every stage of the dataset, and every one downstream, must have an entry; the first read this very content, and each
    later one what the one before it left. Code and numbers are not looked at: they are no news of the dataset. Without
    proof the answer is no, which costs one run that finds everything in the cache.

    Args:
        clone: the project at the commit; outputs need not be there.
        dvcfile: of the profile.
        dataset: its name.
        where: its content, from the project's root; files that git keeps are there.
    """
    lock = (clone / dvcfile).with_name("dvc.lock")
    if not lock.is_file():
        return False
    graph = select(read_graph(clone), dvcfile)
    own = [name for name, node in graph.items() if node.dataset == dataset]
    needed = to_run(graph, own)
    stages: Any = read_params(lock).get("stages", {})
    entries = {name: stages.get(name.rpartition(":")[2]) for name in needed}
    if not own or not all(isinstance(entry, dict) for entry in entries.values()):
        return False
    first = [name for name in own if where in _paths(entries[name], "deps")]
    return (
        bool(first)
        and all(_has_read(clone, name, entries[name], where) for name in first)
        and _is_chained(entries, [entry for entry in stages.values() if isinstance(entry, dict)])
    )


def _has_read(clone: Path, name: str, entry: Entry, where: str) -> bool:
    """Whether a stage read the content that is there now."""
    manifest = clone / f"{where}.dvc"
    if manifest.is_file():
        (out,) = read_params(manifest)["outs"]
        return bool(_paths(entry, "deps")[where].get("md5") == out["md5"])
    command = dvc_command("status", "--json", name)
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        return False
    changes = json.loads(result.stdout or "{}").get(name, [])
    changed = [change.get("changed deps", {}) for change in changes if isinstance(change, dict)]
    return not any(where in items for items in changed)


def _is_chained(entries: Mapping[str, Entry], everything: list[Entry]) -> bool:
    """Whether all of them read what others left: files and folders by hash, folders of several outputs by size."""
    left = {path: out for entry in everything for path, out in _paths(entry, "outs").items()}
    for entry in entries.values():
        for path, read in _paths(entry, "deps").items():
            if path in left:
                if left[path].get("md5") != read.get("md5"):
                    return False
                continue
            below = [out for other, out in left.items() if other.startswith(f"{path}/")]
            if below and sum(int(out.get("size", 0)) for out in below) != read.get("size"):
                return False
    return True


def _paths(entry: Entry, kind: str) -> dict[str, dict[str, Any]]:
    return {item["path"]: item for item in entry.get(kind, [])}
