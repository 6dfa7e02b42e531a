"""Re-hash what the pipeline has written: outputs by their manifests, DVC's cache by its own names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Damage:
    """One file that is not what it should be."""

    path: Path
    what: str


def verify_outputs(folder: Path) -> Iterator[Path | Damage]:
    """Check every folder below ``folder`` that has a MANIFEST.json.

    Yields: each manifest's folder when all its files are right, one ``Damage`` for every file that is not.
    """
    for manifest in sorted(folder.rglob("MANIFEST.json")):
        found = list(_check(manifest))
        yield from found
        if not found:
            yield manifest.parent


def verify_cache(cache: Path) -> Iterator[Damage]:
    """Check every object of a DVC cache: its name is the md5 of its content."""
    for path in sorted((cache / "files" / "md5").glob("??/*")):
        wanted = path.parent.name + path.name.removesuffix(".dir")
        if path.is_file() and _digest(path, "md5") != wanted:
            yield Damage(path, "content differs from its name; delete it, then `dvc repro` makes it again")


def _check(manifest: Path) -> Iterator[Damage]:
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        entries = [(manifest.parent / name, int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Damage(manifest, "not a manifest (truncated or edited)")
        return
    for path, size, sha256 in entries:
        if not path.is_file():
            yield Damage(path, "missing")
        elif path.stat().st_size != size:
            yield Damage(path, f"{path.stat().st_size} bytes instead of {size}")
        elif _digest(path, "sha256") != sha256:
            yield Damage(path, "content differs (edited, or the disk is failing)")


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
