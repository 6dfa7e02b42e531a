"""Kill a training again and again, and check after every kill that nothing was lost.

    python -m tests.killtest --kills 200 --seed 0 --json OUT.json       # random instants, minutes
    python -m tests.killtest --kills 20 --command                       # a new Python per start, as DVC starts it
    python -m tests.killtest --terms 50                                 # SIGTERM instead: saved, exit 75, in time
    python -m tests.killtest --crash-points 1                           # every durable operation of a short training

Random kills: SIGKILL to the process group of ``stages.train``, shortly after the start, anywhere, while a state is
saved, while the result is published. Crash points: the process dies at its n-th write, sync, rename, mkdir or delete,
and what it had not synced by then is cut to half, as a power failure may do.

Without ``--command`` a process that has imported everything forks for each start: the same code from ``stages.entry``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.journal import journals
from tests.crashpoints import crash_points
from tests.victim import EVERY, Tally, Training, phase, progress, whole

LONG = 40  # iterations of a training
KINDS = {"start": 0.15, "anywhere": 0.35, "saving": 0.4, "publishing": 0.1}  # instants aimed at, and how often
POLL = 0.0005  # s
OUTSIDE = {"starting", "publishing", "cleaning up"}  # where there is no new state to be saved on SIGTERM


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


def random_kills(folder: Path, kills: int, seed: int, command: bool, number: signal.Signals) -> tuple[Tally, Times]:
    """Send the signal at random instants until ``kills`` have hit, over as many trainings as that takes."""
    training, draw, tally = Training(folder, LONG), random.Random(seed), Tally()
    times = measure(training, command)
    expected = training.result()
    while tally.kills < kills:
        training.clear()
        best, ended = 0, False
        while not whole(training.out) and tally.kills < kills:
            (kind,) = draw.choices(list(KINDS), weights=list(KINDS.values()))
            litter, journals_before = training.litter(), set(journals(training.folder))
            code, seconds = stopped(training, instants(training, draw, times, kind), command, number)
            ended = code == 0
            if ended:
                break
            reported = training.iterations_of(journals_before)
            where = phase(training, litter, reported)
            tally.hit(where)
            if code != -number and code != 75:
                raise RuntimeError(f"the training ended with {code}:\n{training.log.read_text()[-3000:]}")
            if number == signal.SIGTERM:
                tally.terminated(code, seconds, in_loop=where not in OUTSIDE and reported != LONG)
            best = max(best, struct.unpack("q", training.saved[:])[0])
            best = tally.check(training, best, f"kill {tally.kills} ({kind})")
            tally.repeated.append(max(0, (reported or 0) - best))
            progress(f"{tally.kills} kills, {tally.trainings} trainings, newest state {best}")
        tally.trainings += 1
        if (training.result() if ended else training.finish()) != expected:
            tally.different.append(f"training {tally.trainings}")
    return tally, times


def stopped(training: Training, moments: Iterator[bool], command: bool, number: signal.Signals) -> tuple[int, float]:
    """Start, send the signal when the moment comes.

    Returns: the exit code, negative for a signal, as ``subprocess`` has it; seconds from the signal to the end.
    """
    pid, status, sent = training.start(command), 0, time.monotonic()
    ended = 0
    while not ended and not next(moments):
        ended, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(POLL)
    if not ended:
        sent = time.monotonic()
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # so young that it has no group of its own yet
            os.kill(pid, number)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - sent


def report(tally: Tally, begun: float) -> dict[str, Any]:
    """Return the figures."""
    found = asdict(tally) | {"good": tally.good, "bit_identical": not tally.different}
    costs = found.pop("repeated")
    found["iterations_repeated"] = {"all": sum(costs), "most": max(costs, default=0), "between_states": EVERY}
    return found | {"seconds": round(time.monotonic() - begun, 1), "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="kills at random instants")
    parser.add_argument("--terms", type=int, default=0, help="SIGTERMs at random instants")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--command", action="store_true", help="start a new Python each time, seconds slower")
    parser.add_argument("--crash-points", type=int, default=0, metavar="N", help="die at every N-th durable operation")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for title, count, number in (
            ("kill", arguments.kills, signal.SIGKILL), ("term", arguments.terms, signal.SIGTERM),
        ):  # fmt: skip
            if count:
                begun = time.monotonic()
                tally, times = random_kills(Path(name, title), count, arguments.seed, arguments.command, number)
                found[title] = report(tally, begun) | {"undisturbed_s": asdict(times), "seed": arguments.seed}
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
