"""A training loses nothing to kills (few here, many by ``python -m tests.killtest``), and the harness would see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.files import publish_folder
from tests.victim import Tally, Training

ROOT = Path(__file__).resolve().parents[1]


def killtest(tmp_path: Path, *flags: str) -> dict[str, Any]:
    """Run the command and return its figures; it has failed if anything was lost or differs."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.killtest", *flags, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (figures,) = json.loads((tmp_path / "figures.json").read_text()).values()
    assert figures["lost"] == figures["unreadable"] == figures["different"] == figures["unsaved"] == []
    return dict(figures)


@pytest.mark.slow
def test_kill_9_at_random_instants_loses_no_state_and_changes_no_bit(tmp_path: Path) -> None:
    figures = killtest(tmp_path, "--kills", "6", "--seed", "3")
    assert figures["kills"] == sum(figures["phases"].values()) == 6
    assert figures["iterations_repeated"]["most"] <= figures["iterations_repeated"]["between_states"]
    assert figures["most_litter"] <= 2  # a kill's leavings go with the next start


@pytest.mark.slow
def test_the_command_as_dvc_starts_it_survives_kill_9_too(tmp_path: Path) -> None:
    assert killtest(tmp_path, "--kills", "2", "--command")["kills"] == 2


@pytest.mark.slow
def test_sigterm_at_random_instants_saves_exits_75_and_repeats_nothing(tmp_path: Path) -> None:
    figures = killtest(tmp_path, "--terms", "3", "--seed", "1")
    assert figures["kills"] == 3
    assert figures["iterations_repeated"]["all"] == 0


@pytest.mark.slow
def test_dying_at_a_write_sync_rename_or_delete_loses_nothing_even_what_was_not_synced(tmp_path: Path) -> None:
    figures = killtest(tmp_path, "--crash-points", "23")
    assert figures["operations"] > 100
    assert figures["kills"] == len(range(1, figures["operations"] + 1, 23))


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("killtest") / "x", iterations=4)


def publish(folder: Path) -> Path:
    with publish_folder(folder) as out:
        (out / "file").write_text("whole")
    return folder


def test_the_harness_sees_a_lost_state_and_a_damaged_result(training: Training) -> None:
    for iteration in (2, 4):
        publish(training.scratch / f"state-{iteration:09d}")
    tally = Tally()
    assert tally.check(training, 4, "a") == 4
    assert tally.good
    (training.scratch / "state-000000004" / "file").write_text("torn")
    assert tally.check(training, 2, "b") == 2
    assert tally.good
    tally.check(training, 4, "c")
    assert tally.lost == ["c: state 4 was whole, now [2]"]
    publish(training.out)
    training.clear()
    publish(training.out)
    assert Tally().check(training, 4, "d") == 4  # a published result needs no state
    (training.out / "file").unlink()
    tally = Tally()
    tally.check(training, 0, "e")
    assert tally.unreadable == ["e: train is there and damaged"]
    assert not tally.good


def test_the_harness_sees_litter_and_a_sigterm_that_did_not_save(training: Training) -> None:
    training.clear()
    (training.scratch / ".state-000000002.abcdefgh.tmp").mkdir(parents=True)
    tally = Tally()
    tally.check(training, 0, "a")
    assert tally.most_litter == 1
    tally.terminated(75, 0.5, in_loop=True)
    tally.terminated(-15, 0.1, in_loop=False)
    assert (tally.good, tally.slowest_s) == (True, 0.5)
    tally.terminated(-15, 0.1, in_loop=True)
    assert not tally.good


CHILD = """
import mmap, os, sys
from pathlib import Path
from tests.crashpoints import CrashPoint
root = Path(sys.argv[1])
(root / "before").write_text("12345678")
CrashPoint(root, 2, mmap.mmap(-1, 8)).install()
with (root / "synced").open("w") as file:
    file.write("12345678"); file.flush()
    os.fsync(file.fileno())
(root / "unsynced").write_text("12345678")
(root / "synced").replace(root / "renamed")
"""


def test_a_crash_point_dies_before_its_operation_and_cuts_only_what_was_not_synced(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, env=env, check=False)
    assert done.returncode == -9
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"before": "12345678", "synced": "12345678", "unsynced": "1234"}
