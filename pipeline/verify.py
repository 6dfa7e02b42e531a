"""Re-hash what the pipeline has written: outputs by their manifests and by dvc.lock, DVC's cache by its own names.

DVC trusts what it has protected: a read-only object of the cache, and a file with the size and times it had before.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.graph import Output

MANIFEST = "MANIFEST.json"
EXPOSED = "shares its bytes with the cache and can be written to: an edit would change both"
_CHUNK = 1 << 20
_ASIDE = "`cartoon-pipeline verify --quarantine` moves it aside"


@dataclass(frozen=True)
class Damage:
    """One file that is not what it should be."""

    path: Path
    what: str
    remedy: str = ""
    movable: bool = True  # its bytes are wrong, or it is in the way

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class Cache:
    """The objects of a DVC cache, or of a remote that is a folder, hashed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.good: set[str] = set()
        self.bad: dict[str, Path] = {}
        for path in sorted((folder / "files" / "md5").glob("??/*")):
            name = path.parent.name + path.name
            if not path.is_file() or name.endswith(".tmp"):
                continue
            if _digest(path, "md5") == name.removesuffix(".dir"):
                self.good.add(name)
            else:
                self.bad[name] = path

    def path(self, name: str) -> Path:
        """Where an object is, if it is there."""
        return self.folder / "files" / "md5" / name[:2] / name[2:]

    def files(self, output: Output) -> list[tuple[Path, str]] | None:
        """Every file of an output and its md5; None if the cache cannot tell what is in a folder."""
        if not output.md5.endswith(".dir"):
            return [(output.path, output.md5)]
        if output.md5 not in self.good:
            return None
        entries = json.loads(self.path(output.md5).read_text(encoding="utf-8"))
        return [(output.path / entry["relpath"], entry["md5"]) for entry in entries]

    def holds(self, output: Output) -> bool:
        """Whether all of an output is here, and right."""
        files = self.files(output)
        return files is not None and all(md5 in self.good for _, md5 in files)


def verify_project(folders: Iterable[Path], outputs: Sequence[Output], cache: Cache) -> tuple[int, list[Damage]]:
    """Check manifests below ``folders``, every output of dvc.lock, and the cache.

    Returns: how many folders and objects are right, and everything that is not, with the command that brings it back.
    """
    results = [item for folder in folders for item in verify_outputs(folder)]
    found = {item.path: item for item in results if isinstance(item, Damage)}
    right = {item for item in results if isinstance(item, Path)}
    here = [
        output for output in outputs if output.path.is_symlink() or output.path.exists()
    ]  # `dvc status` tells others
    locked = {path: md5 for output in here for path, md5 in cache.files(output) or _guessed(output, cache)}
    for path, md5 in locked.items():
        trusted = path.name != MANIFEST and any(folder in right for folder in path.parents)
        actual = md5 if trusted else _digest(path, "md5") if path.is_file() else ""
        if actual == md5:
            if not trusted:
                found.pop(path, None)  # a manifest said otherwise, and is the one that is wrong
            if _exposed(path, cache.path(md5)):
                found[path] = Damage(path, EXPOSED, f"`chmod a-w {path}` protects it", movable=False)
        elif actual not in cache.good and not (path.parent in right and _another_version(path, locked)):
            what = "content differs from dvc.lock (edited, or the disk is failing)" if actual else "missing"
            found.setdefault(path, Damage(path, what))
    damages = [replace(item, remedy=item.remedy or _remedy(item.path, outputs, cache)) for item in found.values()]
    return len(right) + len(cache.good), damages + list(_objects(outputs, cache))


def _guessed(output: Output, cache: Cache) -> Iterator[tuple[Path, str]]:
    """The files of a folder whose listing is damaged: each must have the content that the name of some object says."""
    if output.md5 not in cache.bad:
        return
    for path in sorted(output.path.rglob("*")):
        if path.is_file():
            actual = _digest(path, "md5")
            yield path, actual if actual in cache.good or actual in cache.bad else "unknown"


def _another_version(manifest: Path, locked: Mapping[Path, str]) -> bool:
    """Whether a folder that its manifest confirms is one that dvc.lock does not know yet, or no more."""
    others = {path: md5 for path, md5 in locked.items() if manifest.parent in path.parents and path != manifest}
    return any(not path.is_file() or _digest(path, "md5") != md5 for path, md5 in others.items())


def verify_outputs(folder: Path) -> Iterator[Path | Damage]:
    """Check every folder below ``folder`` that has a MANIFEST.json.

    Yields: each manifest's folder when all its files are right, one ``Damage`` for every file that is not.
    """
    for manifest in sorted(folder.rglob(MANIFEST)):
        found = list(_check(manifest))
        yield from found
        if not found:
            yield manifest.parent


def verify_cache(cache: Cache) -> Iterator[Damage]:
    """Every object of a DVC cache, or of a remote that is a folder, whose name is not the md5 of its content."""
    for path in cache.bad.values():
        yield Damage(path, "content differs from its name", _ASIDE)


def quarantine(damages: Iterable[Damage], cache: Path, root: Path, aside: Path) -> list[Path]:
    """Move what is damaged aside, so that DVC no longer takes it for good; nothing is deleted.

    Args:
        damages: as found.
        cache: whose objects stay on its disk, in ``cache/quarantine``.
        root: the project, whose files go to ``aside`` under their own paths.
        aside: a folder that is not there yet; its name is used in the cache too.

    Returns: where everything is now.
    """
    moved = []
    for damage in damages:
        if not damage.movable or not (damage.path.is_symlink() or damage.path.exists()):
            continue
        if damage.path.is_relative_to(cache):
            target = cache / "quarantine" / aside.name / f"{damage.path.parent.name}{damage.path.name}"
        else:
            target = aside / damage.path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        damage.path.rename(target)
        moved.append(target)
    return moved


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


def _exposed(path: Path, stored: Path) -> bool:
    if not stored.exists() or not path.exists() or not stored.samefile(path):
        return False
    return bool(stat.S_IMODE(stored.stat().st_mode) & 0o222)


def listings(cache: Cache) -> Iterator[Damage]:
    """The folders' listings that name a damaged object: DVC pushes nothing that it finds listed there."""
    for name in sorted(cache.good):
        if name.endswith(".dir"):
            entries = json.loads(cache.path(name).read_text(encoding="utf-8"))
            if any(entry["md5"] in cache.bad for entry in entries):
                yield Damage(cache.path(name), "lists a damaged object")


def _objects(outputs: Sequence[Output], cache: Cache) -> Iterator[Damage]:
    """Every bad object, and whose it is."""
    owners = {md5: output for output in outputs for _, md5 in cache.files(output) or ()}
    owners |= {output.md5: output for output in outputs}
    for name, path in cache.bad.items():
        owner = owners.get(name)
        whose = f"{_ASIDE}; no output of today needs it" if owner is None else f"{_ASIDE}, then {_again(owner)}"
        yield Damage(path, "content differs from its name", whose)


def _remedy(path: Path, outputs: Sequence[Output], cache: Cache) -> str:
    owner = next((output for output in outputs if output.path == path or output.path in path.parents), None)
    if owner is None:
        return f"no stage of dvc.lock has made it; {_ASIDE}, then `dvc repro`"
    if not owner.cached:
        return f"`git checkout -- {path}` brings it back, `dvc repro {owner.stage}` makes it again"
    if cache.holds(owner):
        return f"`rm -rf {path} && dvc checkout {owner.path}` brings it back from the cache"
    return f"{_ASIDE}, then {_again(owner)}"


def _again(output: Output) -> str:
    return (
        f"`dvc fetch {output.path}` brings it from a remote that has it, else `dvc repro {output.stage}` makes it again"
    )


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
