"""Copy journals to MLflow, each entry once: the helper that runs beside the stages, and ``republish``.

Sending again changes nothing (runs are found by the journal's id, a point by its key and step, files by their name), so
a publisher that was killed anywhere simply starts again from its last note.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pipeline.journal import PUBLISHED, Entry, JournalReader, append_line, journals, last_entry, tracking_folder
from pipeline.locks import held
from pipeline.telemetry import silence
from pipeline.tracking import HEALTH

log = logging.getLogger("publish")

_POLL = 1.0  # seconds between looks at growing journals
_LINGER = 5.0  # seconds to stay for the next stage of the same `dvc repro`: importing MLflow costs as much
_PATIENCE = (1, 2, 5, 10, 20)  # seconds between attempts while the server does not answer; the last is repeated
_GIVE_UP = 5  # attempts after the last stage has ended
_QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Mirror(Protocol):
    """Where entries go; ``pipeline.mirror.MlflowMirror`` in earnest."""

    uri: str

    def begin(self, profile: str, entry: Entry) -> str:
        """Find or create the run of a journal; returns its id."""

    def send(self, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
        """Send entries in order; sending one again changes nothing."""


class Publication:
    """One journal on its way to the server."""

    def __init__(self, folder: Path, *, afresh: bool) -> None:
        self.folder = folder
        self.done = False
        self._reader = JournalReader(folder)
        note = {} if afresh else last_entry(folder / PUBLISHED)
        self.done = bool(note.get("done"))
        self._note = note
        self._sent = 0
        self._run_id = ""
        self._waiting: list[Entry] = []
        self._seen: set[tuple[str, str, int]] = set()

    @property
    def growing(self) -> bool:
        """Whether a stage still writes this journal."""
        return not self.done and self._reader.owner_lives()

    def advance(self, mirror: Mirror) -> int:
        """Send what is new; returns how many entries.

        Raises: whatever the mirror raises when the server does not answer; nothing is lost then.
        """
        if self.done:
            return 0
        alive = self._reader.owner_lives()  # asked before reading: a line written later belongs to the next call
        self._waiting += [clean for entry in self._reader.read() if (clean := self._first_time(entry))]
        if not self._run_id and self._waiting:
            self._run_id = mirror.begin(self.folder.parent.parent.name, self._waiting[0])
            if self._note.get("uri") == mirror.uri and self._note.get("run_id") == self._run_id:
                self._sent = int(self._note.get("sent", 0))
                del self._waiting[: self._sent]
        ended = any(entry["kind"] == "end" for entry in self._waiting)
        if not alive and not self._run_id:
            self.done = True  # killed before its first line was on disk: there is nothing to send
        elif not alive and not ended:
            self._waiting.append({"kind": "end", "time": self._last_change(), "status": "KILLED"})
            ended = True
        count = len(self._waiting)
        if count:
            mirror.send(self._run_id, self.folder, self._waiting)
            self._sent += count
            self._waiting.clear()
            self.done = ended
            note = {"uri": mirror.uri, "run_id": self._run_id, "sent": self._sent, "done": ended}
            append_line(self.folder / PUBLISHED, note)
        return count

    def _first_time(self, entry: Entry) -> Entry | None:
        """Drop values of a key and step that this journal already had (the first stays)."""
        if entry["kind"] == "image":
            mark = ("image", entry["key"], entry["step"])
            if mark in self._seen:
                return None
            self._seen.add(mark)
        if entry["kind"] == "metrics":
            marks = {key: ("metric", key, entry["step"]) for key in entry["values"]}
            entry = entry | {"values": {k: v for k, v in entry["values"].items() if marks[k] not in self._seen}}
            self._seen.update(marks.values())
        return entry

    def _last_change(self) -> int:
        return round((self.folder / "journal.jsonl").stat().st_mtime * 1000)


def republish(root: Path, profile: str | None = None, *, everything: bool = False, wait: float = 60.0) -> int:
    """Send every journal that is not fully published.

    Args:
        root: the project's root.
        profile: only this profile's; None means all.
        everything: send also what was sent before (after the MLflow store was lost, or to another server).
        wait: seconds to wait for a publisher that is at work.

    Returns: number of entries sent.
    Raises: TimeoutError if another publisher does not finish in time; MlflowException if the server fails.
    """
    pending = [Publication(folder, afresh=everything) for folder in journals(root, profile)]
    pending = [publication for publication in pending if not publication.done]
    if not pending:
        return 0
    with publisher_lock(root, wait) as mine:
        if not mine:
            raise TimeoutError(f"another publisher has been at work for {wait:.0f} s; see {_log_file(root)}")
        mirror = _connect(root)
        return sum(publication.advance(mirror) for publication in pending)


def follow(root: Path) -> None:
    """Publish while stages run; leave when all is sent and no stage has come for a few seconds."""
    with publisher_lock(root, 0) as mine:
        if not mine:
            return
        _follow(root)
    # A stage that began between our last look and letting go of the lock found us still holding it.
    if any(not last_entry(folder / PUBLISHED).get("done") for folder in _recent(root)):
        with publisher_lock(root, 0) as mine:
            if mine:
                _follow(root)


def _follow(root: Path) -> None:
    known: dict[Path, Publication] = {}
    mirror: Mirror | None = None
    failures = 0
    quiet_since = time.monotonic()
    while True:
        for folder in _recent(root):
            known.setdefault(folder, Publication(folder, afresh=False))
        pending = [publication for publication in known.values() if not publication.done]
        growing = any(publication.growing for publication in pending)
        if growing or (pending and not failures):
            quiet_since = time.monotonic()
        error, mirror = _sweep(root, mirror, pending)
        if error is not None:
            failures += 1
            _note_health(root, error)
            if failures > _GIVE_UP and not growing:
                return
            time.sleep(_PATIENCE[min(failures, len(_PATIENCE)) - 1])
            continue
        if failures or (mirror is not None and not _healthy(root)):
            _note_health(root, None)
        failures = 0
        if not growing and time.monotonic() - quiet_since > _LINGER:
            return
        time.sleep(_POLL)


def _sweep(root: Path, mirror: Mirror | None, pending: Sequence[Publication]) -> tuple[Exception | None, Mirror | None]:
    """Advance every journal once; returns the first trouble (and then no connection) or the connection."""
    trouble: Exception | None = None
    for publication in pending:
        try:
            mirror = mirror or _connect(root)
            publication.advance(mirror)
        except Exception as error:  # (of whatever kind: it must neither reach a stage nor stop others)
            trouble = trouble or error
            if mirror is None:
                break
    return trouble, None if trouble else mirror


def _recent(root: Path) -> Iterator[Path]:
    """Journals the helper cares for: unfinished ones of the last day (older ones wait for ``republish``)."""
    horizon = time.time() - 24 * 3600
    for folder in journals(root):
        if (folder / "journal.jsonl").stat().st_mtime > horizon and not last_entry(folder / PUBLISHED).get("done"):
            yield folder


def publisher_lock(root: Path, wait: float) -> AbstractContextManager[bool]:
    """Hold the one publisher's lock of this project; gives False if it was not free within ``wait`` seconds.

    It also serialises the creation of the SQLite store, which fails when two processes do it at once.
    """
    return held(tracking_folder(root) / "publisher.lock", wait)


def _connect(root: Path) -> Mirror:
    from pipeline.mirror import MlflowMirror

    return MlflowMirror(root)


def _healthy(root: Path) -> bool:
    return bool(last_entry(tracking_folder(root) / HEALTH).get("ok"))


def _note_health(root: Path, error: Exception | None) -> None:
    from pipeline.mirror import tracking_uri

    said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}" if error else ""
    note = {"ok": error is None, "uri": tracking_uri(root), "error": said}
    append_line(tracking_folder(root) / HEALTH, note)
    if error is not None:
        log.warning("MLflow does not answer, trying again: %s", note["error"])


def _log_file(root: Path) -> Path:
    return tracking_folder(root) / "publisher.log"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the helper process: ``python -m pipeline.publish --root DIR``."""
    parser = argparse.ArgumentParser(description=follow.__doc__)
    parser.add_argument("--root", type=Path, required=True)
    arguments = parser.parse_args(argv)
    silence()
    for name, value in _QUICK.items():
        os.environ.setdefault(name, value)
    os.nice(10)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    follow(arguments.root)


if __name__ == "__main__":
    main()
