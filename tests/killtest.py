"""Kill a training again and again, and check after every kill that nothing was lost.

    python -m tests.killtest --kills 200 --seed 0 --json OUT.json       # random instants, minutes
    python -m tests.killtest --kills 20 --command                       # a new Python per start, as DVC starts it
    python -m tests.killtest --crash-points 1                           # every durable operation of a short training

Random kills: SIGKILL to the process group of ``stages.train``, shortly after the start, anywhere, while a state is
saved, while the result is published. Crash points: the process dies at its n-th write, sync, rename, mkdir or delete,
and what it had not synced by then is cut to half, as a power failure may do.

Without ``--command`` a process that has imported everything forks for each start: the same code from ``stages.entry``.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import stages.session
from model import files
from model.errors import CorruptInputError, MissingInputError
from model.files import verify_manifest
from pipeline.journal import JOURNAL, JournalReader, journals
from stages.entry import run as run_stage
from stages.train import train
from tests.stages.training import TRAIN, Setup

ROOT = Path(__file__).resolve().parents[1]
BATCH, EVERY = 4, 2  # images, iterations between states
LONG, SHORT = 40, 6  # iterations of a training: for random kills, for crash points
KINDS = {"start": 0.15, "anywhere": 0.35, "saving": 0.4, "publishing": 0.1}  # instants aimed at, and how often
POLL = 0.0005  # s


class Training:
    """One tiny training in ``folder``, with the paths that DVC gives it."""

    def __init__(self, folder: Path, iterations: int) -> None:
        kimg = BATCH / 1000
        settings = {**TRAIN, "batch": BATCH, "kimg": iterations * kimg, "tick_kimg": kimg, "state_kimg": EVERY * kimg}
        folder.mkdir()
        setup = Setup(folder, train={**settings, "sample_kimg": 3 * kimg, "ema_kimg": 0.02})
        self.folder, self.home = folder, folder / "scratch" / "test"
        self.scratch, self.out = self.home / "structure_loss-flat-s0", folder / "work" / "train"
        self.log = folder / "log.txt"
        arguments = setup.arguments() | {"scratch": self.scratch, "out": self.out}
        self.flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        self.saved = mmap.mmap(-1, 8)  # shared with forked children: iteration of the last state that was saved

    def clear(self) -> None:
        """Forget everything that ran here."""
        for folder in (self.folder / "scratch", self.folder / "work"):
            shutil.rmtree(folder, ignore_errors=True)
        self.saved[:] = bytes(8)

    def start(self, command: bool, prepare: Callable[[], None] | None = None) -> int:
        """Start the stage in a session of its own; return its process id.

        Args:
            command: a new ``python -m stages.train`` instead of a fork of this process.
            prepare: what a fork does first.
        """
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CARTOON_TRACKING": "journal"}
        if command:
            with self.log.open("ab") as log:
                stage = [sys.executable, "-m", "stages.train", *self.flags]
                return subprocess.Popen(
                    stage, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True
                ).pid
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            os.chdir(self.folder)
            os.environ.update(env)
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            self._note_saves()
            if prepare is not None:
                prepare()
            code = 0
            run_stage(train, self.flags)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)

    def _note_saves(self) -> None:
        save = stages.session.save_state

        def noted(*arguments: Any) -> Path:
            folder = save(*arguments)
            self.saved[:] = struct.pack("q", int(folder.name[-9:]))
            return folder

        stages.session.save_state = noted

    def finish(self) -> dict[str, str]:
        """Run without disturbance to the end, as ``dvc repro`` does (which deletes the outputs first)."""
        shutil.rmtree(self.out, ignore_errors=True)
        _, status = os.waitpid(self.start(command=False), 0)
        if status != 0:
            raise RuntimeError(f"the training ended with {status}:\n{self.log.read_text()[-3000:]}")
        return self.result()

    def result(self) -> dict[str, str]:
        """Return the sha256 of every published file by name."""
        return {name: entry["sha256"] for name, entry in verify_manifest(self.out)["files"].items()}

    def states(self) -> list[int]:
        """Return the iterations of the states on disk that verify, ascending."""
        return sorted(int(path.name[-9:]) for path in self.scratch.glob("state-*") if whole(path))

    def litter(self) -> set[Path]:
        """Return temporary files and folders on disk."""
        places = (
            self.home.glob(".*"),
            self.home.glob("*/.*"),
            self.home.glob("*/samples/.*"),
            self.out.parent.glob(".*"),
        )
        return {path for place in places for path in place if path.suffix in {".tmp", ".old"}}

    def iterations_of(self, pid_journals: set[Path]) -> int | None:
        """Return the last iteration that a start, known by its new journal, reported; None before the first."""
        new = [path for path in journals(self.folder) if path not in pid_journals]
        entries = [entry for path in new for entry in JournalReader(path).read() if entry["kind"] == "metrics"]
        return entries[-1]["step"] // BATCH if entries else None


def whole(folder: Path) -> bool:
    """Tell whether a published folder verifies."""
    try:
        verify_manifest(folder)
    except (CorruptInputError, MissingInputError):
        return False
    return True


@dataclass
class Tally:
    """What a series of kills came to."""

    kills: int = 0
    phases: dict[str, int] = field(default_factory=dict)  # where the kills hit
    lost: list[str] = field(default_factory=list)  # kills after which a state that had been verified was gone
    unreadable: list[str] = field(default_factory=list)  # kills after which the published folder was there, not whole
    different: list[str] = field(default_factory=list)  # trainings that ended with other bytes than an undisturbed one
    trainings: int = 0
    repeated: list[int] = field(default_factory=list)  # iterations that each kill cost
    most_litter: int = 0  # temporary files and folders that lay around at one time

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.lost or self.unreadable or self.different)

    def hit(self, where: str) -> None:
        """Count a kill."""
        self.kills += 1
        self.phases[where] = self.phases.get(where, 0) + 1

    def check(self, training: Training, best: int, label: str) -> int:
        """Look at what a kill left.

        Args:
            training: just killed.
            best: iteration of the newest state that was known to be whole.
            label: what messages call the kill.

        Returns: the iteration of the newest whole state, or ``best`` if the published folder is already there.
        """
        states, published = training.states(), whole(training.out)
        if training.out.exists() and not published:
            self.unreadable.append(f"{label}: {training.out.name} is there and damaged")
        if not published and max(states, default=0) < best:
            self.lost.append(f"{label}: state {best} was whole, now {states}")
        self.most_litter = max(self.most_litter, len(training.litter()))
        return best if published else max(states, default=0)


@dataclass(frozen=True)
class Times:
    """Measured on an undisturbed training, s."""

    start: float  # to the first sample sheet
    whole: float
    save: float  # median, of one state
    publish: float  # from the first published file to the end


def measure(training: Training, command: bool) -> Times:
    """Run undisturbed and watch."""
    begun, first, publishing = time.monotonic(), 0.0, 0.0
    seen: dict[Path, list[float]] = {}
    pid = training.start(command)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        now = time.monotonic()
        if not first and (training.scratch / "samples" / "00000000.png").exists():
            first = now
        for path in temporaries(training.scratch, ".state-"):
            seen.setdefault(path, [now, now])[1] = now
        if not publishing and temporaries(training.out.parent, ".train."):
            publishing = now
        time.sleep(POLL)
    ended = time.monotonic()
    saves = [last - begin for begin, last in seen.values()]
    assert first, training.log.read_text()[-3000:]
    return Times(first - begun, ended - begun, statistics.median(saves), ended - (publishing or ended))


def temporaries(folder: Path, start: str) -> list[Path]:
    """List unfinished folders; empty if ``folder`` does not exist."""
    with suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if path.name.startswith(start) and path.suffix == ".tmp"]
    return []


def instants(training: Training, draw: random.Random, times: Times, kind: str) -> Iterator[bool]:
    """Say at every call whether the moment to kill has come."""
    begun, known = time.monotonic(), set(temporaries(training.scratch, ".state-"))
    known |= set(temporaries(training.out.parent, ".train."))
    place, start, span = (training.scratch, ".state-", times.save)
    if kind == "publishing":
        place, start, span = (training.out.parent, ".train.", times.publish)
    if kind in {"start", "anywhere"}:
        due = begun + draw.uniform(0, times.start if kind == "start" else times.whole)
        while True:
            yield time.monotonic() >= due
    wanted, offset = (draw.randint(1, 3) if kind == "saving" else 1), draw.uniform(0, 1.2 * span)
    while True:
        known_before = len(known)
        known |= set(temporaries(place, start))
        wanted -= len(known) - known_before
        if wanted <= 0:
            time.sleep(offset)
            while True:
                yield True
        yield False


def phase(training: Training, litter: set[Path], reported: int | None) -> str:
    """Say what a killed process was doing, from what is new on disk."""
    names = {path.name for path in training.litter() - litter}
    if any(name.startswith(".state-") for name in names) or len(list(training.scratch.glob("state-*"))) > 2:
        return "saving a state"
    if any(name.startswith(f".{training.scratch.name}.") for name in names):
        return "cleaning up"
    if any(name.startswith(".train.") for name in names) or training.out.exists():
        return "publishing"
    if any(".png." in name for name in names):
        return "saving a sheet"
    return "starting" if reported is None else "training"


def random_kills(folder: Path, kills: int, seed: int, command: bool) -> tuple[Tally, Times]:
    """Kill at random instants until there were ``kills``, over as many trainings as that takes."""
    training, draw, tally = Training(folder, LONG), random.Random(seed), Tally()
    times = measure(training, command)
    expected = training.result()
    while tally.kills < kills:
        training.clear()
        best, ended = 0, False
        while not whole(training.out) and tally.kills < kills:
            (kind,) = draw.choices(list(KINDS), weights=list(KINDS.values()))
            litter, journals_before = training.litter(), set(journals(training.folder))
            ended = killed_or_ended(training, instants(training, draw, times, kind), command)
            if ended:
                break
            reported = training.iterations_of(journals_before)
            tally.hit(phase(training, litter, reported))
            best = max(best, struct.unpack("q", training.saved[:])[0])
            best = tally.check(training, best, f"kill {tally.kills} ({kind})")
            tally.repeated.append(max(0, (reported or 0) - best))
            progress(f"{tally.kills} kills, {tally.trainings} trainings, newest state {best}")
        tally.trainings += 1
        if (training.result() if ended else training.finish()) != expected:
            tally.different.append(f"training {tally.trainings}")
    return tally, times


def killed_or_ended(training: Training, moments: Iterator[bool], command: bool) -> bool:
    """Start, kill when the moment comes; tell whether the process ended by itself before."""
    pid = training.start(command)
    while not next(moments):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if status != 0:
                raise RuntimeError(f"the training ended with {status}:\n{training.log.read_text()[-3000:]}")
            return True
        time.sleep(POLL)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # so young that it has no group of its own yet
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return not os.WIFSIGNALED(status)


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


def progress(text: str) -> None:
    """Keep one line on the terminal up to date."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")


def report(tally: Tally, begun: float) -> dict[str, Any]:
    """Return the figures."""
    found = asdict(tally) | {"good": tally.good, "bit_identical": not tally.different}
    costs = found.pop("repeated")
    found["iterations_repeated"] = {"all": sum(costs), "most": max(costs, default=0), "between_states": EVERY}
    return found | {"seconds": round(time.monotonic() - begun, 1), "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="kills at random instants")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--command", action="store_true", help="start a new Python each time, seconds slower")
    parser.add_argument("--crash-points", type=int, default=0, metavar="N", help="die at every N-th durable operation")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as name:
        if arguments.kills:
            tally, times = random_kills(Path(name, "random"), arguments.kills, arguments.seed, arguments.command)
            found["random"] = report(tally, begun) | {"undisturbed_s": asdict(times), "seed": arguments.seed}
        if arguments.crash_points:
            begun = time.monotonic()
            tally, operations = crash_points(Path(name, "points"), arguments.crash_points)
            found["crash_points"] = report(tally, begun) | {"operations": operations}
    text = json.dumps(found, indent=1)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n")
    raise SystemExit(0 if all(part["good"] for part in found.values()) else 1)


if __name__ == "__main__":
    main()
