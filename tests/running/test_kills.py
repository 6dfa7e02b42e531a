"""Kills at random instants: what was finished is never done again, and the end is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.running.toys import Toy, processes_in, until

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("CARTOON_KILLS", "8"))
STAGES = {
    "a": "in: sleep 0.1", "b": "a: sleep 0.2", "c": "a: sleep 0.1", "d": "b, c: sleep 0.2", "e": "d: sleep 0.1",
}  # fmt: skip
VICTIMS = {
    "the caller": r"tests\.running\.runner", "the supervisor": r"running\.supervise import", "dvc": r"^\S+ -m dvc ",
    "the guard": r"running\.guarded import", "the stage": r"^/bin/(ba)?sh -c|^sh |^sleep ", "all": "",
}  # fmt: skip


def finished(toy: Toy) -> set[str]:
    """Stages whose result is in the cache."""
    cache, found = toy.root / ".dvc" / "cache", set()
    for path in (cache / "runs").rglob("*"):
        if path.is_file() and re.fullmatch("[0-9a-f]{64}", path.name):
            told = yaml.safe_load(path.read_text())
            stored = [cache / "files" / "md5" / out["md5"][:2] / out["md5"][2:] for out in told["outs"]]
            if all(file.exists() for file in stored):
                found.add(told["cmd"].split()[1])
    return found


def strike(toy: Toy, draw: random.Random) -> bool:
    """Kill somebody; whether there was anybody."""
    pattern = VICTIMS[draw.choice(list(VICTIMS))]
    victims = [pid for pid, words in processes_in(toy.root).items() if re.search(pattern, words)]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(victims)


def test_after_any_number_of_kills_the_result_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    seed = int(os.environ.get("CARTOON_SEED", "0"))
    calm = Toy.make(tmp_path / "calm" / "project")
    calm.stages(**STAGES)
    begun = time.monotonic()
    assert calm.start(more=["pool=cpu"]).wait(120) == 0
    whole, draw, kills, rounds = time.monotonic() - begun, random.Random(seed), 0, 0
    while kills < KILLS:
        toy = Toy.make(tmp_path / str(rounds) / "project")
        toy.stages(**STAGES)
        rounds += 1
        while kills < KILLS and finished(toy) != set(STAGES):
            done, executed = finished(toy), len(toy.executed())
            process = toy.start(more=["pool=cpu"] if draw.random() < 0.5 else [])
            time.sleep(draw.uniform(0.1, 1.0) * whole)
            kills += strike(toy, draw)
            process.wait(60)
            until(lambda: processes_in(toy.root) == {}, 60)  # noqa: B023 (looked at in this round)
            assert not done.intersection(toy.executed()[executed:]), (seed, kills)
        done, executed = finished(toy), len(toy.executed())
        assert {one.state for one in toy.run().values()} <= {"ran", "cached"}
        assert sorted(toy.executed()[executed:]) == sorted(set(STAGES) - done)
        assert toy.lock() == calm.lock()
        assert {path.name: path.read_text() for path in toy.root.glob("*.txt")} == {
            path.name: path.read_text() for path in calm.root.glob("*.txt")
        }
