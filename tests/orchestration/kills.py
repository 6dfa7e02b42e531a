"""Kill processes of whole runs again and again: every run ends with the same dvc.lock, nothing stored is done again.

    python -m tests.orchestration.kills --kills 100 --pools      # the demo, small, on two agents
    python -m tests.orchestration.kills --kills 100 --here       # the same without agents and server
    python -m tests.orchestration.kills --kills 20 --here --toy  # shell stages, a minute or two

SIGKILL hits a random process of a random kind at random instants: coordinator, supervisor, DVC, guard, stage, git,
agent, worker, flow run, server. What an operator or a service manager would start again is started again. When a run is
through, the next begins from nothing, until the kills are spent; then the last one ends undisturbed. The same command
continues after it was interrupted (``progress.json`` in ``--folder``).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.orchestration.killed import Patient, Site
from tests.orchestration.platform import ROOT
from tests.victim import progress

MEAN = {True: 2.5, False: 10.0}  # s between two kills, of the toy and of the demo
MOST_FAILURES = 6  # of the run in a row without a kill between them: it does not converge


@dataclass
class Tally:
    """What came of the kills."""

    kills: int = 0
    runs: int = 0  # that came to their end
    kinds: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)  # of coordinators
    stages: int = 0  # in all runs that ended
    executions: int = 0  # of them: more than that were cut off
    repeated: list[str] = field(default_factory=list)  # executions of what was in the cache
    different: list[str] = field(default_factory=list)  # runs with another lock
    untidy: list[str] = field(default_factory=list)  # runs that left a dirty tree or not one commit
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.repeated or self.different or self.untidy)

    @classmethod
    def read(cls, path: Path) -> Tally:
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def write(self, path: Path) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n")
        beside.replace(path)


class Killer:
    """Does it."""

    def __init__(self, site: Site, tally: Tally, kills: int, draw: random.Random, progress_file: Path) -> None:
        self._site, self._tally, self._kills, self._draw = site, tally, kills, draw
        self._file = progress_file
        self._mean = MEAN[site.toy]

    def all(self) -> Tally:
        while self._tally.kills < self._kills or not self._tally.runs:
            begun = time.monotonic()
            with self._site.patient() as patient:
                self._one(patient)
                self._look(patient)
            self._tally.seconds += time.monotonic() - begun
            self._tally.write(self._file)
        return self._tally

    def _one(self, patient: Patient) -> None:
        """One run to its end, killed on the way as long as there are kills left."""
        failures, due = 0, self._next()
        while True:
            code = patient.tend()
            if code is not None:
                codes = Counter(self._tally.codes)
                self._tally.codes = dict(codes + Counter([str(code)]))
                failures += 1
                if code == 0:
                    return
                if failures > MOST_FAILURES:
                    raise RuntimeError(f"the run fails again and again ({code}):\n{patient.said()}")
            if time.monotonic() >= due and self._tally.kills < self._kills:
                kind = patient.kill(self._draw)
                due = self._next()
                if kind is not None:
                    failures = 0
                    self._tally.kills += 1
                    self._tally.kinds[kind] = self._tally.kinds.get(kind, 0) + 1
                    self._tally.write(self._file)
                    progress(f"{self._tally.kills} kills ({kind}), {self._tally.runs} runs at their end")
            time.sleep(0.02)

    def _next(self) -> float:
        return time.monotonic() + self._draw.expovariate(1 / self._mean)

    def _look(self, patient: Patient) -> None:
        tally, number = self._tally, self._tally.runs + 1
        if patient.lock() != self._site.reference:
            tally.different.append(f"run {number}")
            shutil.copy(patient.project / "dvc.lock", self._site.folder / f"different-{number}.lock")
        tally.repeated += [f"run {number}: {stage}" for stage in patient.repeated()]
        tally.untidy += [f"run {number}: {what}" for what in patient.untidy()]
        tally.executions += len(patient.executions())
        tally.stages += len(patient.lock())
        tally.runs = number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--pools", action="store_true", help="on agents of two pools, with a server")
    where.add_argument("--here", action="store_true", help="in one folder, without a server")
    parser.add_argument("--toy", action="store_true", help="shell stages instead of the demo")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--folder", type=Path, default=ROOT / "scratch" / "kills", help="for everything")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    title = f"{'pools' if arguments.pools else 'here'}{'-toy' if arguments.toy else ''}"
    folder = (arguments.folder / title).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally.read(folder / "progress.json")
    draw = random.Random(f"{arguments.seed} {tally.kills}")
    with Site(folder, arguments.toy, arguments.pools) as site:
        Killer(site, tally, arguments.kills, draw, folder / "progress.json").all()
    text = json.dumps({**asdict(tally), "good": tally.good, "seed": arguments.seed, "where": title}, indent=1)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n")
    raise SystemExit(0 if tally.good else 1)


if __name__ == "__main__":
    main()
