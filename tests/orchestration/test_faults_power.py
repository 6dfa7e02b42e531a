"""Power lost between the end of a stage and its entry in dvc.lock: every process is killed at that moment."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.running.toys import Toy, processes_in, until

pytestmark = pytest.mark.slow

HELD = "while [ -e $GATE ]; do sleep 0.02; done; echo $GATE > /dev/null"
MOMENTS = ["stage ended", "guard noted it", "output in the cache", "result in the run-cache", "lock changed"]
STORED = MOMENTS[3:]  # from here on DVC knows the result


def project(folder: Path) -> Toy:
    toy = Toy.make(folder / "project")
    toy.stages(a="in:", b=f"a: {HELD}", c="b:")
    return toy


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = project(tmp_path_factory.mktemp("undisturbed"))
    toy.run(GATE=str(toy.root / "no gate"))
    return toy


def happened(toy: Toy, moment: str, digest: str) -> Callable[[], bool]:
    """Whether a moment has come, seen from files that were not there when this was called."""
    cache = toy.root / ".dvc" / "cache"
    lock = toy.root / "dvc.lock"
    results, before = count(cache / "runs"), lock.stat()
    tests: dict[str, Callable[[], bool]] = {
        "stage ended": (toy.root / "b.txt").exists,
        "guard noted it": lambda: '"b", "state": "ran"' in (toy.root / "ledger.jsonl").read_text(),
        "output in the cache": (cache / "files" / "md5" / digest[:2] / digest[2:]).exists,
        "result in the run-cache": lambda: count(cache / "runs") > results,
        "lock changed": lambda: (lock.stat().st_mtime_ns, lock.stat().st_size) != (before.st_mtime_ns, before.st_size),
    }
    return tests[moment]


def count(results: Path) -> int:
    """Whole entries of the run-cache, which have the name of their content."""
    found = 0
    for folder, _, names in os.walk(results):
        whole = [name for name in names if len(name) == 64]  # others are being written, and gone in a moment
        found += sum(Path(folder, name).stat().st_size > 0 for name in whole)
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_run_ends_with_the_same_lock_and_repeats_at_most_the_stage_whose_result_was_not_stored(
    undisturbed: Toy, tmp_path: Path, moment: str
) -> None:
    toy, gate = project(tmp_path), tmp_path / "gate"
    gate.touch()
    process = toy.start(more=[f"leases={tmp_path / 'leases'}"], GATE=str(gate))
    until(lambda: "b" in toy.executed())
    everything = [*processes_in(toy.root), process.pid]
    expected = yaml.safe_load(undisturbed.lock())
    has_come = happened(toy, moment, expected["stages"]["b"]["outs"][0]["md5"])
    gate.unlink()
    limit = time.monotonic() + 60
    while not has_come():
        assert time.monotonic() < limit
    for pid in everything:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    until(lambda: processes_in(toy.root) == {})
    assert toy.lock() != undisturbed.lock()
    again = toy.start(more=[f"leases={tmp_path / 'leases'}"], GATE=str(gate))
    assert again.wait(60) == 0
    outcomes = json.loads((toy.root / "outcomes.jsonl").read_text())
    assert {name: outcome["state"] in ("ran", "cached") for name, outcome in outcomes.items()} == dict.fromkeys(
        "abc", True
    )
    assert toy.lock() == undisturbed.lock()
    executed = toy.executed()
    assert executed.count("a") == 1
    assert executed.count("b") <= (1 if moment in STORED else 2)
    assert (toy.root / "c.txt").read_text() == (undisturbed.root / "c.txt").read_text()
