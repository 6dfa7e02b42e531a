"""A random part: the same for the same seed, hardly moved by new files, exactly as many as wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import write_png
from stages.sources.pick import choose, draw
from stages.sources.settings import Pick
from tests.stages.world import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def fill(bench: Bench, numbers: range) -> None:
    for number in numbers:
        write_png(bench.home / "in" / f"{number:03d}.png", np.full((12, 12, 3), number, np.uint8))


def picked(bench: Bench, **changes: object) -> set[str]:
    bench.folder_dataset("mine", bench.home / "in", **changes)
    files: dict[str, Any] = json.loads((bench.crawl("mine") / "crawl.json").read_text())["files"]
    return {entry["origin"] for entry in files.values()}


def test_a_seed_decides_which_and_all_are_taken_if_there_are_fewer(bench: Bench) -> None:
    fill(bench, range(60))
    first = picked(bench, pick={"count": 20, "seed": 1})
    assert len(first) == 20
    assert picked(bench, pick={"count": 20, "seed": 1}) == first
    assert picked(bench, pick={"count": 20, "seed": 2}) != first
    assert first < picked(bench, pick={"count": 30, "seed": 1})  # more of the same draw
    assert len(picked(bench, pick={"count": 999, "seed": 1})) == 60


def test_new_files_shift_few_of_the_chosen_ones(bench: Bench) -> None:
    fill(bench, range(100))
    before = picked(bench, pick={"count": 50, "seed": 1})
    fill(bench, range(100, 110))
    after = picked(bench, pick={"count": 50, "seed": 1})
    gone = before - after
    assert len(gone) == len(after - before) <= 10
    assert {int(name[:3]) for name in after - before} <= set(range(100, 110))


def test_bad_and_equal_pictures_are_made_up_for_and_only_those_looked_at_count(bench: Bench) -> None:
    fill(bench, range(40))
    for number in range(40, 60):
        (bench.home / "in" / f"{number:03d}.png").write_bytes(b"broken")
    for number in range(60, 80):
        (bench.home / "in" / f"{number:03d}.png").write_bytes((bench.home / "in" / "000.png").read_bytes())
    assert len(picked(bench, pick={"count": 25, "seed": 3}, max_bad_fraction=0.6)) == 25


def test_a_draw_keeps_a_bounded_number_of_any_number_of_items_in_memory() -> None:
    pick = Pick(count=3, seed=0)
    chosen = list(choose((str(number) for number in range(50_000)), pick, str))
    assert len(chosen) == 2 * 3 + 1000
    assert chosen[:3] == sorted(map(str, range(50_000)), key=lambda name: draw(0, name))[:3]


def test_draws_are_fair() -> None:
    hits = [sum(draw(seed, f"{n}.png") < b"\x40" for n in range(200)) for seed in range(20)]
    assert 45 < np.mean(hits) < 55
