"""What a run was made from: revision, place in the grid, digest of command, inputs and settings."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NOT_INPUTS = ("params", "out", "scratch")
_GRID = (("method", "methods"), ("dataset", "datasets"), ("seed", "seeds"))
_CHUNK = 1 << 20


def git_state(root: Path) -> dict[str, str]:
    """Revision and whether tracked files differ from it; empty outside a repository."""
    try:
        rev = _git(root, "rev-parse", "HEAD")
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git.rev": rev, "git.dirty": "true" if dirty else "false"}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def grid_tags(stage: str, params: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, str]:
    """Find method, dataset and seed of a stage by its name (``train@freeze_sg-flat-s0``) and its flags.

    Names may hold dashes themselves, so the name is matched against the combinations params.yaml allows.
    """
    names = {tag: list(params.get(section) or {}) for tag, section in _GRID}
    key = stage.partition("@")[2]
    found: dict[str, str] = {}
    for method in names["method"]:
        if key == method:
            found = {"method": method}
        for dataset in names["dataset"]:
            for seed in names["seed"]:
                if key == f"{method}-{dataset}-{seed}":
                    found = {"method": method, "dataset": dataset, "seed": seed}
    if key in names["dataset"]:
        found = {"dataset": key}
    return found | {tag: str(flags[tag]) for tag, _ in _GRID if flags.get(tag) is not None}


def deps_digest(flags: Mapping[str, Any], sections: Mapping[str, Any]) -> str:
    """Digest of what a stage depends on: its command, the manifests of its inputs, the settings it read.

    Two executions with one digest had the same command, inputs and settings (code is told by ``git.rev``).
    """
    inputs = {
        name: _path_digest(value)
        for name, value in flags.items()
        if isinstance(value, Path) and name not in _NOT_INPUTS and value.exists()
    }
    record = {"command": {k: str(v) for k, v in flags.items()}, "inputs": inputs, "params": sections}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _path_digest(path: Path) -> str:
    """Sha256 of a file, of a folder's manifests, or of names and sizes where there is no manifest."""
    if path.is_file():
        return _file_digest(path)
    digest = hashlib.sha256()
    manifests = sorted(path.rglob("MANIFEST.json"))
    for file in manifests or sorted(item for item in path.rglob("*") if item.is_file()):
        what = _file_digest(file) if manifests else str(file.stat().st_size)
        digest.update(f"{file.relative_to(path).as_posix()} {what}\n".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and texts: ``{"train": {"kimg": 4}}`` -> ``{"train.kimg": "4"}``."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, (list, dict)):
            flat[name] = json.dumps(value)
        else:
            flat[name] = str(value)
    return flat
