"""A tiny training to be killed, and what is looked at after each kill."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stages.session
from model.errors import CorruptInputError, MissingInputError
from model.files import verify_manifest
from pipeline.journal import JournalReader, journals
from stages.entry import run as run_stage
from stages.train import train
from tests.stages.training import TRAIN, Setup

ROOT = Path(__file__).resolve().parents[1]
BATCH, EVERY = 4, 2  # images, iterations between states


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
    unsaved: list[str] = field(default_factory=list)  # SIGTERMs in the loop that did not end with exit code 75
    slowest_s: float = 0.0  # from a SIGTERM to the end
    most_litter: int = 0  # temporary files and folders that lay around at one time

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.lost or self.unreadable or self.different or self.unsaved)

    def hit(self, where: str) -> None:
        """Count a kill."""
        self.kills += 1
        self.phases[where] = self.phases.get(where, 0) + 1

    def terminated(self, code: int, seconds: float, in_loop: bool) -> None:
        """Note how a SIGTERM ended."""
        self.slowest_s = max(self.slowest_s, round(seconds, 3))
        if in_loop and code != 75:
            self.unsaved.append(f"SIGTERM {self.kills}: exit code {code}")

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


def progress(text: str) -> None:
    """Keep one line on the terminal up to date."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")
