"""What a run recorded, as JSON lines on disk: the truth that MLflow is a view of.

One folder per run, ``scratch/tracking/<profile>/<stage>/<id>/``: ``journal.jsonl`` (appended by the stage, locked
while it lives), ``images/`` and ``files/`` (copies), ``published.jsonl`` (appended by the publisher).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

Entry = dict[str, Any]

JOURNAL = "journal.jsonl"
PUBLISHED = "published.jsonl"

_SECRETS = (
    (re.compile(r"(://)[^/@\s]+@"), r"\1***@"),
    (re.compile(r"(?i)\b((?:token|key|api_key|sig|signature|password|secret)=)[^&\s\"']+"), r"\1***"),
)


def mask(text: str) -> str:
    """Hide passwords and tokens in addresses before they reach a log, a journal or a server."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class Journal:
    """The writing end: one folder, one appended file, held under a lock that dies with the process."""

    def __init__(self, folder: Path) -> None:
        (folder / "images").mkdir(parents=True)
        (folder / "files").mkdir()
        self.folder = folder
        self._file: IO[str] = (folder / JOURNAL).open("a", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def append(self, kind: str, **fields: Any) -> None:
        """Write one line; it survives the process from here on (and the machine from ``close`` on)."""
        entry = {"kind": kind, "time": round(time.time() * 1000), **fields}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Bring every line to the disk and let go of the lock; a second call does nothing."""
        if self._file.closed:
            return
        os.fsync(self._file.fileno())
        self._file.close()


class JournalReader:
    """The reading end: hands out complete lines that were not handed out before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offset = 0

    def read(self) -> list[Entry]:
        """Return the entries appended since the last call; half a line is left for the next one."""
        with (self.folder / JOURNAL).open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [entry for line in complete.splitlines() if (entry := _parse(line)) is not None]

    def owner_lives(self) -> bool:
        """Tell whether the process that writes this journal is still there."""
        with (self.folder / JOURNAL).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def last_entry(path: Path) -> Entry:
    """Return the last complete line of an appended file, or an empty entry."""
    if not path.exists():
        return {}
    for line in reversed(path.read_bytes().splitlines()):
        entry = _parse(line)
        if entry is not None:
            return entry
    return {}


def append_line(path: Path, entry: Entry) -> None:
    """Append one entry to a file and bring it to the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def tracking_folder(root: Path) -> Path:
    """Where all journals of a project live."""
    return root / "scratch" / "tracking"


def journals(root: Path, profile: str | None = None) -> Iterator[Path]:
    """All run folders, oldest first within a stage."""
    pattern = f"{profile or '*'}/*/*/{JOURNAL}"
    yield from sorted(path.parent for path in tracking_folder(root).glob(pattern))


def _parse(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None  # a line cut off by a power failure: everything before it is good
    return entry if isinstance(entry, dict) else None
