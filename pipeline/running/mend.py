"""A working copy after a kill: what DVC writes in place may be torn, and DVC refuses to start with that.

Everything here is only an index of what is in the cache: what is cut away comes back from there without running.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.running.family import started

_ENTRY = re.compile(r"^  (?=\S)", re.M)  # where the entry of a stage begins in dvc.lock, as DVC writes it
_HEAD = "schema: '2.0'\nstages:\n"
_JOBS = Path(".dvc") / "tmp" / "jobs"
_BEFORE = "before"  # folder of copies of dvc.lock files
_UNFINISHED = "."


@contextmanager
def working_copy(root: Path, dvcfiles: Collection[str]) -> Iterator[Path]:
    """Mend what a killed run left behind, and give this run a folder that tells the next one if it is killed too.

    Args:
        root: the project.
        dvcfiles: the dvc.yaml files whose stages may run, relative to ``root``.
    """
    own = root / _JOBS / f"{os.getpid()}-{started(os.getpid())}-{uuid.uuid4().hex[:8]}"
    with _locked(root / ".dvc" / "tmp" / "lock"):
        _mend_locks(root)
        _note_locks(root, dvcfiles, own)
    _mend_rwlock(root / ".dvc" / "tmp")
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def mend(root: Path) -> None:
    """Mend what a killed run left behind, so that DVC can read the project again."""
    if not (root / ".dvc").is_dir():
        return
    with _locked(root / ".dvc" / "tmp" / "lock"):
        _mend_locks(root)
    _mend_rwlock(root / ".dvc" / "tmp")


def _note_locks(root: Path, dvcfiles: Collection[str], own: Path) -> None:
    """Copy dvc.lock files to a run's folder, which appears when all are whole; an empty copy stands for none."""
    beside = own.with_name(f"{_UNFINISHED}{own.name}")
    for lock in {Path(dvcfile).with_suffix(".lock") for dvcfile in dvcfiles}:
        copy = beside / _BEFORE / lock
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (root / lock).exists():
            shutil.copyfile(root / lock, copy)
        else:
            copy.touch()
    beside.rename(own)


def _mend_locks(root: Path) -> None:
    for left in _abandoned(root / _JOBS):
        if not left.name.startswith(_UNFINISHED):
            for copy in (left / _BEFORE).rglob("*.lock"):
                _mend_lock(root / copy.relative_to(left / _BEFORE), copy)
        shutil.rmtree(left)


def _abandoned(jobs: Path) -> list[Path]:
    """List the folders of runs whose process is gone."""
    found = []
    for folder in sorted(jobs.iterdir()) if jobs.exists() else ():
        pid, _, rest = folder.name.partition("-")
        if not pid.isdigit() or str(started(int(pid))) != rest.partition("-")[0]:
            found.append(folder)
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold one of DVC's locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mend_lock(lock: Path, before: Path) -> None:
    """Take from dvc.lock what a killed run may have torn: its last entry, if it is new; put back what it lost.

    DVC rewrites the file from its beginning, so what is torn ends where the file ends; a result is in the cache before
    it is in this file.
    """
    if not lock.exists():
        return
    known = _entries(before.read_text())
    found = _entries(lock.read_text(errors="replace"))
    if found:
        last = next(reversed(found))
        if known.get(last) != found[last]:
            del found[last]
    whole = {**found, **{name: text for name, text in known.items() if name not in found}}
    if not whole:
        lock.unlink()
        return
    if whole == _entries(lock.read_text(errors="replace")):
        return
    temporary = lock.with_name(f".{lock.name}.{os.getpid()}")
    temporary.write_text(_HEAD + "".join(whole.values()))
    temporary.replace(lock)


def _entries(text: str) -> dict[str, str]:
    """Split dvc.lock into the texts of its entries, by their first lines."""
    starts = [match.start() for match in _ENTRY.finditer(text)]
    parts = [text[begin:end] for begin, end in pairwise([*starts, len(text)])]
    return {part.partition("\n")[0]: part for part in parts}


def _mend_rwlock(tmp: Path) -> None:
    """Forget readers and writers that are gone; their process ids may mean something else by now."""
    path = tmp / "rwlock"
    if not path.exists():
        return
    with _locked(tmp / "rwlock.lock"):
        try:
            told = json.loads(path.read_text())
            kept = {
                "write": {place: one for place, one in told.get("write", {}).items() if _lives(one)},
                "read": {place: [one for one in all_ if _lives(one)] for place, all_ in told.get("read", {}).items()},
            }
        except (ValueError, AttributeError, TypeError, KeyError):
            path.unlink()  # torn: whoever wrote it is gone, because this process has the lock
            return
        if kept != told:
            temporary = path.with_name(f".rwlock.{os.getpid()}")
            temporary.write_text(json.dumps(kept))
            temporary.replace(path)


def _lives(one: Mapping[str, Any]) -> bool:
    """Whether the process that DVC noted is there and is the same command."""
    with suppress(OSError):
        words = Path(f"/proc/{int(one['pid'])}/cmdline").read_bytes().split(b"\0")
        return str(one["cmd"]).partition(" ")[2] in b" ".join(words).decode(errors="replace")
    return False
