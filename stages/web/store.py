"""What was fetched, kept by content: a picture is asked for once, however often the stage starts.

Objects are named by their sha256; an append-only journal says which address gave which. Both survive a kill at any
instant: an object is written before the line that names it, and a torn or damaged line counts as never written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from model.errors import CorruptInputError, LockedError
from model.files import atomic_write, atomic_write_json

_JOURNAL = "journal.jsonl"


class Store:
    """The folder of one dataset; open it by :func:`open_store`."""

    def __init__(self, folder: Path, journal: BinaryIO) -> None:
        self.folder = folder
        self._journal = journal
        self._known = _read(journal)

    def known(self, url: str) -> str | None:
        """Return the sha256 of what an address gave last, if it is here."""
        digest = self._known.get(url)
        return digest if digest is not None and self._object(digest).is_file() else None

    def get(self, digest: str) -> bytes | None:
        """Return an object; None if it is not here or damaged, as if it had never come."""
        path = self._object(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if _sha256(content) != digest:
            path.unlink()
            return None
        return content

    def add(self, url: str, content: bytes) -> str:
        """Keep what an address gave.

        Returns: its sha256.
        """
        digest = _sha256(content)
        if self.get(digest) is None:
            atomic_write(self._object(digest), lambda file: file.write(content))
        if self._known.get(url) != digest:
            self._journal.write(_line(url, digest))
            self._journal.flush()
            os.fsync(self._journal.fileno())
            self._known[url] = digest
        return digest

    def quarantine(self, url: str, content: bytes, reason: str) -> Path:
        """Keep what came instead of a picture, for people to look at; returns the file."""
        path = self.folder / "quarantine" / _sha256(content)[:32]
        atomic_write(path.with_suffix(".bin"), lambda file: file.write(content))
        atomic_write_json(path.with_suffix(".json"), {"url": url, "reason": reason})
        return path.with_suffix(".bin")

    def snapshot(self, content: bytes) -> Path:
        """Keep a page that could not be read; returns the file."""
        path = self.folder / "pages" / f"{_sha256(content)[:32]}.html"
        atomic_write(path, lambda file: file.write(content))
        return path

    def _object(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise CorruptInputError(f"{digest[:80]!r}: expected a sha256, 64 of 0-9 a-f; correct the list it stands in")
        return self.folder / "objects" / digest[:2] / digest


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open the store in ``folder``, which is made if need be.

    Raises: LockedError if another process has it open.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _JOURNAL).open("a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it with the process, however it ends
        except BlockingIOError:
            raise LockedError(f"{folder}: another process is crawling into it; wait for it, or stop it") from None
        yield Store(folder, journal)


def _read(journal: BinaryIO) -> dict[str, str]:
    """Return address -> sha256 of every whole line, and make room for the next one after the last whole line."""
    known: dict[str, str] = {}
    journal.seek(0)
    end = 0
    for line in journal:
        if not line.endswith(b"\n"):
            break
        end += len(line)
        entry = _entry(line)
        if entry is not None:
            known[entry[0]] = entry[1]
    journal.truncate(end)
    journal.seek(0, os.SEEK_END)
    return known


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _line(url: str, digest: str) -> bytes:
    text = json.dumps([url, digest])
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _entry(line: bytes) -> tuple[str, str] | None:
    """Return address and sha256 of a line; None for a damaged one."""
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if check != f"{zlib.crc32(text):08x}".encode():
        return None
    url, digest = json.loads(text)
    return str(url), str(digest)
