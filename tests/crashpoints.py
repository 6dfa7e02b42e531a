"""A training that dies at its n-th durable operation, for every n. See ``tests.killtest``, which has the command."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model import files
from pipeline.journal import JOURNAL
from tests.victim import Tally, Training, phase, progress

SHORT = 6  # iterations: three states and three sheets


class CrashPoint:
    """Dies at the n-th durable operation of this process, losing half of every file that was not synced."""

    def __init__(self, folder: Path, at: int, count: mmap.mmap) -> None:
        self.folder, self.at, self.count, self.done = folder, at, count, 0
        self.synced = {self._key(path.stat()) for path in folder.rglob("*") if path.is_file()}

    def install(self) -> None:
        """Put a fault before every operation that changes the disk, and in the middle of our own writes."""
        for name in ("replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, self._before(getattr(os, name)))
        sync, write = os.fsync, files._HashingFile.write

        def synced(handle: int) -> None:
            self._step()
            sync(handle)
            self.synced.add(self._key(os.fstat(handle)))

        def written(file: Any, data: bytes) -> int:
            if self.done + 1 == self.at:
                write(file, data[: len(data) // 2])
                file.file.flush()
            self._step()
            return write(file, data)

        os.fsync = synced
        files._HashingFile.write = written  # type: ignore[method-assign]

    def _before(self, operation: Callable[..., None]) -> Callable[..., None]:
        def faulty(*arguments: Any, **options: Any) -> None:
            self._step()
            operation(*arguments, **options)

        return faulty

    def _step(self) -> None:
        self.done += 1
        self.count[:] = struct.pack("q", self.done)
        if self.done == self.at:
            for path in (p for p in self.folder.rglob("*") if p.is_file() and p.name not in {JOURNAL, "log.txt"}):
                if self._key(path.stat()) not in self.synced:
                    os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def _key(self, status: os.stat_result) -> tuple[int, int, int]:
        return status.st_ino, status.st_size, status.st_mtime_ns


def crash_points(folder: Path, every: int) -> tuple[Tally, int]:
    """Die at every ``every``-th durable operation of a short training, and go on; returns the number of operations."""
    training, tally, count = Training(folder, SHORT), Tally(), mmap.mmap(-1, 8)
    prepare = CrashPoint(folder, -1, count).install
    os.waitpid(training.start(False, prepare), 0)
    expected, operations = training.result(), struct.unpack("q", count[:])[0]
    for at in range(1, operations + 1, every):
        training.clear()
        litter = training.litter()
        pid = training.start(False, CrashPoint(folder, at, count).install)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError(f"operation {at} of {operations} was not reached:\n{training.log.read_text()[-3000:]}")
        tally.hit(phase(training, litter, training.iterations_of(set())))
        tally.check(training, struct.unpack("q", training.saved[:])[0], f"operation {at}")
        tally.trainings += 1
        if training.finish() != expected:
            tally.different.append(f"operation {at}")
        progress(f"operation {at} of {operations}")
    return tally, operations
