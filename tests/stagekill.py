"""Kill a stage again and again, and check after every kill that its output is absent or whole, never in between.

    python -m tests.stagekill --stage lmdb --kills 100 --seed 0 --json OUT.json
    python -m tests.stagekill --stage lmdb --kills 10 --command      # a new Python per start, as DVC starts it
    python -m tests.stagekill --stage lmdb --crash-points 1          # every durable operation

SIGKILL at random instants, more often near the end; to the whole process group, or to the first process alone, whose
workers must then end by themselves. A series of kills ends with a run that is left alone: its output must be that of a
run without any kill, with no temporary file beside it. Half of the series start over a finished output, as the command
does outside DVC. Crash points: the first process dies at its n-th write, sync, rename, mkdir or delete; what it had not
synced by then is cut to half, as a power failure may do.

To add a stage, add an entry to STAGES in ``tests/killable.py``.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError, MissingInputError
from model.files import MANIFEST, verify_manifest
from stages.entry import run as run_stage
from tests.killable import STAGES, Stage

ROOT = Path(__file__).resolve().parents[1]
POLL = 0.0005  # s
PATIENCE = 60.0  # s, for orphaned workers to end
NEAR_END, FIRST_ALONE, OVER_OLD = 0.4, 0.25, 0.5  # how often

Result = dict[str, dict[str, str]]  # out -> file -> sha256


class Victim:
    """A stage in a folder, to be started, killed and looked at."""

    def __init__(self, stage: Stage, folder: Path, command: bool = False) -> None:
        """Make the inputs; ``command`` starts a new Python each time, seconds slower."""
        self.stage, self.folder, self.command = stage, folder, command
        self.log = folder / "log.txt"
        folder.mkdir()
        # In a process of its own, so that this one has no helpers that a fork would only seem to have.
        self.wait(self._fork(lambda: stage.prepare(folder)))
        self.outs = stage.outs(folder)
        self.flags = [text for name, value in stage.flags(folder).items() for text in (f"--{name}", str(value))]

    def start(self, prepare: Callable[[], object] = int) -> int:
        """Start the stage in a session of its own, a fork after ``prepare()``; return its process id."""
        if not self.command:
            return self._fork(lambda: (prepare(), run_stage(self.stage.function, self.flags)))
        name = self.stage.function.__module__
        with self.log.open("ab") as log:
            call = [sys.executable, "-m", name, *self.flags]
            return subprocess.Popen(
                call, cwd=self.folder, env=self._env(), stdout=log, stderr=log, start_new_session=True
            ).pid

    def finish(self) -> Result:
        """Run without disturbance."""
        self.wait(self.start())
        return self.result()

    def result(self) -> Result:
        return {out.name: hashes(out) for out in self.outs}

    def clear(self) -> None:
        """Delete the outputs, as DVC does before it runs a stage."""
        for out in self.outs:
            shutil.rmtree(out, ignore_errors=True)

    def temporaries(self) -> list[Path]:
        """Return unfinished files and folders around the outputs."""
        places = {out.parent for out in self.outs if out.parent.is_dir()}
        return [path for place in places for path in place.rglob(".*") if path.suffix in {".tmp", ".old"}]

    def publishing(self) -> bool:
        """Say whether the manifest of an output that is not published yet is there."""
        with suppress(FileNotFoundError):
            return any(
                (path / MANIFEST).exists()
                for out in self.outs
                if out.parent.is_dir()
                for path in out.parent.iterdir()
                if path.name.startswith(f".{out.name}.") and path.suffix == ".tmp"
            )
        return False

    def said(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def _env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CARTOON_TRACKING": "journal"}

    def wait(self, pid: int) -> None:
        """Wait for a run that must end well."""
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise RuntimeError(f"{self.stage.function.__name__} ended with {status}:\n{self.said()}")

    def _fork(self, work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            os.chdir(self.folder)
            os.environ.update(self._env())
            forkserver._forkserver.__init__()  # a server of the parent's is not this process's child
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)  # pytest has put others there
            work()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)


@dataclass
class Tally:
    """What came of the kills."""

    undisturbed_s: float = 0.0  # of one run
    kills: int = 0
    series: int = 0
    first_alone: int = 0  # of the kills; the others hit the whole group
    found: dict[str, int] = field(default_factory=lambda: {"absent": 0, "whole": 0})  # outputs after a kill
    beside: dict[str, int] = field(default_factory=lambda: {"nothing": 0, "unfinished": 0, "complete": 0})
    damaged: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)  # what stayed after a finished run
    orphans: list[str] = field(default_factory=list)  # workers that outlived the first process

    @property
    def good(self) -> bool:
        return not (self.damaged or self.different or self.litter or self.orphans)

    def look(self, victim: Victim, expected: Result) -> None:
        """Look at the outputs after a kill."""
        for out in victim.outs:
            if not out.exists():
                self.found["absent"] += 1
                continue
            try:
                if hashes(out) != expected[out.name]:
                    self.different.append(f"kill {self.kills}: {out.name}")
                self.found["whole"] += 1
            except (CorruptInputError, MissingInputError) as error:
                self.damaged.append(f"kill {self.kills}: {error}")
        kind = "complete" if victim.publishing() else "unfinished" if victim.temporaries() else "nothing"
        self.beside[kind] += 1

    def wait_for_workers(self, session: int) -> None:
        """Wait for the end of the workers of a process that was killed."""
        until = time.monotonic() + PATIENCE
        while left := members(session):
            if time.monotonic() > until:
                self.orphans.append(f"kill {self.kills + 1}: {left}")
                os.killpg(session, signal.SIGKILL)
                return
            time.sleep(POLL)

    def compare(self, victim: Victim, expected: Result) -> None:
        """Look at the outputs of a run that ended."""
        self.series += 1
        if victim.result() != expected:
            self.different.append(f"series {self.series}")
        self.litter += [f"series {self.series}: {path}" for path in victim.temporaries()]


def hashes(folder: Path) -> dict[str, str]:
    """Return file -> sha256 of a published folder.

    Raises: CorruptInputError or MissingInputError if it is not whole.
    """
    return {name: entry["sha256"] for name, entry in verify_manifest(folder)["files"].items()}


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state = stat.read_text().rpartition(")")[2].split()
            if int(state[3]) == session and state[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def killed(victim: Victim, draw: random.Random, whole_s: float, tally: Tally) -> bool:
    """Start the stage, which takes ``whole_s``, and kill it; False if it ended before."""
    near_end, alone = draw.random() < NEAR_END, draw.random() < FIRST_ALONE
    delay = draw.uniform(0.75 if near_end else 0.0, 1.05) * whole_s
    pid = victim.start()
    due = time.monotonic() + delay
    while time.monotonic() < due:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if status:
                raise RuntimeError(f"the stage ended with {status}:\n{victim.said()}")
            return False
        time.sleep(POLL)
    try:
        (os.kill if alone else os.killpg)(pid, signal.SIGKILL)
    except ProcessLookupError:  # so young that it has no group of its own yet
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    tally.first_alone += alone
    tally.wait_for_workers(pid)
    return os.WIFSIGNALED(status)


def random_kills(victim: Victim, kills: int, seed: int) -> Tally:
    """Kill ``kills`` times, over as many series as that takes."""
    draw, tally = random.Random(seed), Tally()
    expected = victim.finish()
    victim.clear()
    begun = time.monotonic()
    if victim.finish() != expected:
        tally.different.append("two runs without a kill")
    tally.undisturbed_s = time.monotonic() - begun
    while tally.kills < kills:
        if draw.random() >= OVER_OLD:
            victim.clear()
        for _ in range(draw.randint(1, 6)):
            if tally.kills == kills or not killed(victim, draw, tally.undisturbed_s, tally):
                break
            tally.kills += 1
            tally.look(victim, expected)
        victim.finish()
        tally.compare(victim, expected)
    return tally


def crash_points(victim: Victim, every: int) -> Tally:
    """Die at every ``every``-th durable operation of the first process, and start again."""
    from tests.crashpoints import CrashPoint  # imports torch, which the workers of a stage must not wait for

    tally, count = Tally(), mmap.mmap(-1, 8)
    victim.clear()
    victim.wait(victim.start(CrashPoint(victim.folder, -1, count).install))
    expected, (operations,) = victim.result(), struct.unpack("q", count[:])
    for at in range(1, operations + 1, every):
        if tally.series % 2:
            victim.clear()
        pid = victim.start(CrashPoint(victim.folder, at, count).install)
        _, status = os.waitpid(pid, 0)
        tally.wait_for_workers(pid)
        if os.WIFSIGNALED(status):  # a run over a finished output has a few operations more than one without
            tally.kills += 1
            tally.look(victim, expected)
        victim.finish()
        tally.compare(victim, expected)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", choices=sorted(STAGES), action="append", required=True, help="may be repeated")
    parser.add_argument("--kills", type=int, default=0, help="at random instants")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--command", action="store_true", help="start a new Python each time, seconds slower")
    parser.add_argument("--crash-points", type=int, default=0, metavar="N", help="die at every N-th durable operation")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for stage in arguments.stage:
            begun = time.monotonic()
            victim = Victim(STAGES[stage], Path(name, stage), arguments.command)
            for title, amount, run in (
                ("kills", arguments.kills, lambda victim, kills: random_kills(victim, kills, arguments.seed)),
                ("crash_points", arguments.crash_points, crash_points),
            ):
                if amount:
                    tally = run(victim, amount)
                    seconds = round(time.monotonic() - begun, 1)
                    figures[f"{stage} {title}"] = asdict(tally) | {"good": tally.good, "seconds": seconds}
    text = json.dumps(figures, indent=1)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n")
    raise SystemExit(0 if all(part["good"] for part in figures.values()) else 1)


if __name__ == "__main__":
    main()
