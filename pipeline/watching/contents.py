"""Content that DVC keeps for a dataset: has it changed, take it into the cache, bring it to where stages run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.graph import dvc_command


class ContentError(Exception):
    """A dataset's content is not there, or DVC cannot take or give it."""

    exit_code: ClassVar[int] = 3


@dataclass(frozen=True)
class Stamp:
    """What a folder or file looks like without reading it."""

    value: str  # hash of names, sizes and times
    newest_s: float  # when anything last changed, s since 1970 by the file system's clock


def stamp(place: Path) -> Stamp:
    """Stamp a file, or a folder with everything below it.

    Raises: ContentError if it is not there or changes too fast to be looked at.
    """
    digest = hashlib.sha256()
    newest = 0.0
    try:
        for path in _walk(place):
            state = path.stat()
            line = [str(path.relative_to(place)), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
            digest.update(json.dumps(line).encode())
            newest = max(newest, state.st_ctime)  # st_mtime may be set to anything, as by unpacking
    except OSError as error:
        raise ContentError(f"{error.filename}: {error.strerror}; is somebody moving the data?") from error
    return Stamp(digest.hexdigest(), newest)


def _walk(place: Path) -> Iterator[Path]:
    yield place
    for folder, folders, names in os.walk(place):
        folders.sort()
        for name in sorted([*folders, *names]):
            yield Path(folder, name)


@dataclass(frozen=True)
class Seen:
    """Which contents were taken in already, so that nothing is read and hashed again while it stays as it is."""

    path: Path  # a JSON file beside the watcher's clone; losing it costs one more reading

    def knows(self, dataset: str, found: Stamp, manifest: Path) -> bool:
        """Whether this manifest was made from content with this stamp."""
        return manifest.is_file() and self._read().get(dataset) == [found.value, _hash(manifest)]

    def note(self, dataset: str, found: Stamp, manifest: Path) -> None:
        """Remember it."""
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps({**self._read(), dataset: [found.value, _hash(manifest)]}), encoding="utf-8")
        beside.replace(self.path)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def is_still(found: Stamp, quiet_s: float) -> bool:
    """Whether nobody has written to it for a while, so that a copy under way is not taken for the whole."""
    return found.newest_s <= time.time() - quiet_s


def take_in(clone: Path, place: Path, where: str, remote: str | None) -> Path:
    """Copy content into DVC's cache and write ``where.dvc`` in a clone; nothing is changed at ``place``.

    Args:
        clone: a DVC project.
        place: the file or folder.
        where: its path from the project's root; has the same last name.
        remote: DVC remote that gets the content too; None if the cache is shared.

    Returns: the manifest that was written.
    Raises: ContentError with DVC's own line.
    """
    target = clone / where
    target.parent.mkdir(parents=True, exist_ok=True)
    into = os.path.relpath(target.parent, clone)  # DVC takes an existing folder as the place to put it in
    _dvc(clone, "add", "--quiet", "--force", str(place.resolve()), "--out", into)
    if remote is not None:
        _dvc(clone, "push", "--quiet", "--remote", remote, f"{where}.dvc")
    return clone / f"{where}.dvc"


def bring_content(clone: Path, remote: str | None) -> list[str]:
    """Put the content that every ``.dvc`` file in git names into a clone, before its stages read it.

    DVC does not do that by itself: ``dvc repro`` fails with a missing dependency instead.

    Args:
        clone: a DVC project at a commit.
        remote: DVC remote that content comes from; None if the cache is shared.

    Returns: the ``.dvc`` files.
    Raises: ContentError with DVC's own line, as when the cache does not have it.
    """
    listed = subprocess.run(
        ["git", "-C", str(clone), "ls-files", "-z", "--", "*.dvc"], capture_output=True, text=True, check=True
    )
    found = [name for name in listed.stdout.split("\0") if name]
    if found:
        if remote is not None:
            _dvc(clone, "fetch", "--quiet", "--remote", remote, *found)
        _dvc(clone, "checkout", "--quiet", "--force", *found)
    return found


def _dvc(clone: Path, *arguments: str) -> None:
    command = dvc_command(*arguments)
    result = subprocess.run(
        command, cwd=clone, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip
    if result.returncode != 0:
        said = [line for line in result.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no message"]
        raise ContentError(f"`dvc {arguments[0]}` failed in {clone}: {said[0].removeprefix('ERROR: ')}")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
