"""Kills leave a stage's output absent or whole (few here, many by ``python -m tests.stagekill``), and it would show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model.data.workers import ordered_map
from model.files import publish_folder
from tests.killable import STAGES, Stage
from tests.stagekill import Tally, Victim, crash_points, random_kills

ROOT = Path(__file__).resolve().parents[1]


def stagekill(tmp_path: Path, *flags: str) -> dict[str, Any]:
    """Run the command and return its figures; it has failed if anything was damaged, differs or stayed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.stagekill", *flags, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return dict(json.loads((tmp_path / "figures.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("stage", sorted(STAGES))
def test_kill_9_at_random_instants_leaves_an_output_absent_or_whole_and_changes_no_bit(
    stage: str, tmp_path: Path
) -> None:
    figures = stagekill(tmp_path, "--stage", stage, "--kills", "10", "--seed", "5")[f"{stage} kills"]
    assert figures["kills"] == 10 == sum(figures["beside"].values())
    assert figures["damaged"] == figures["different"] == figures["litter"] == figures["orphans"] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["crawl", "crop", "lmdb"])  # every crawl writes as the first does
def test_dying_at_a_write_sync_rename_or_delete_leaves_an_output_absent_or_whole(stage: str, tmp_path: Path) -> None:
    figures = stagekill(tmp_path, "--stage", stage, "--crash-points", "11")[f"{stage} crash_points"]
    assert figures["kills"] >= 5
    assert figures["damaged"] == figures["different"] == figures["litter"] == []


def careful(out: Path) -> None:
    """A stage that does it right, with workers."""
    with publish_folder(out) as folder:
        for item, _ in enumerate(ordered_map(time.sleep, [0.02] * 12, 2)):
            (folder / f"{item}.txt").write_text("whole")


def careless(out: Path) -> None:
    """A stage that writes its files one by one where they belong, and forgets one temporary file."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "MANIFEST.json").write_text('{"format": 1, "files": {"11.txt": {"bytes": 5, "sha256": "0"}}}')
    for item in range(12):
        (out / f"{item}.txt").write_text("whole")
    (out.parent / ".forgotten.tmp").touch()


def random_stage(out: Path) -> None:
    """A stage whose output is another one every time."""
    with publish_folder(out) as folder:
        (folder / "file").write_text(str(time.monotonic_ns()))


def victim(folder: Path, function: Any) -> Victim:
    out = folder / "work" / "out"
    return Victim(Stage(function, lambda _: None, lambda _: {"out": out}, lambda _: [out]), folder)


@pytest.mark.slow
def test_a_careful_stage_passes_kills_of_its_group_and_of_its_first_process_alone(tmp_path: Path) -> None:
    tally = random_kills(victim(tmp_path / "x", careful), 10, seed=1)
    assert tally.good, tally
    assert 0 < tally.first_alone < tally.kills == 10
    assert tally.beside["unfinished"] > 0


@pytest.mark.slow
def test_a_careful_stage_passes_every_crash_point(tmp_path: Path) -> None:
    tally = crash_points(victim(tmp_path / "x", careful), 4)
    assert tally.good, tally
    assert tally.kills >= 4


@pytest.mark.slow
def test_the_harness_sees_damage_litter_and_another_result(tmp_path: Path) -> None:
    bad = victim(tmp_path / "careless", careless)
    bad.wait(bad.start())
    tally = Tally()
    tally.look(bad, {"out": {}})
    assert "11.txt" in tally.damaged[0]
    assert [path.name for path in bad.temporaries()] == [".forgotten.tmp"]
    assert len(random_kills(victim(tmp_path / "random", random_stage), 2, seed=0).different) > 0


def test_the_harness_sees_a_stage_that_fails(tmp_path: Path) -> None:
    def fails(out: Path) -> None:
        raise ValueError("no reason")

    with pytest.raises(RuntimeError, match="no reason"):
        victim(tmp_path / "x", fails).finish()
