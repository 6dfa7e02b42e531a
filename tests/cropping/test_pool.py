"""Work that kills its process costs that work alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from model.errors import CorruptInputError
from stages.cropping.cutting import CutPage, CutSettings, cut_page
from stages.cropping.pages import Page
from stages.cropping.pool import AHEAD, survivors
from tests.stages.world import Bench, faces_on_paper, tree

DEADLY = "00002-page-02.png"


def work(item: int) -> int:
    time.sleep(0.02 if item % 5 == 0 else 0.0)
    return item * item


def die_at(bad: int, item: int) -> int:
    if item == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_once(mark: Path, item: int) -> int:
    if item == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_later(item: int) -> int:
    """Return, and die of it soon after."""
    if item == 0:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return item


def refuse(bad: int, item: int) -> int:
    if item == bad:
        raise CorruptInputError(f"item {item}")
    return item


def loaded(_: int) -> list[str]:
    return sorted({"torch", "mlflow"} & set(sys.modules))


def minus(item: int) -> int:
    return -item


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_with_their_items(workers: int) -> None:
    assert list(survivors(work, range(40), workers, minus)) == [(n, n * n) for n in range(40)]
    assert list(survivors(work, [], workers, minus)) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_item_that_kills_its_process_is_given_up_and_nothing_else_is(workers: int) -> None:
    found = list(survivors(partial(die_at, 7), range(30), workers, minus))
    assert found == [(n, -7 if n == 7 else n) for n in range(30)]


def test_an_item_whose_process_died_once_is_done_again(tmp_path: Path) -> None:
    assert list(survivors(partial(die_once, tmp_path / "mark"), range(6), 2, minus)) == [(n, n) for n in range(6)]
    assert (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_process_that_dies_between_two_items_costs_none() -> None:
    results = survivors(die_later, range(12), 1, minus)
    first = [next(results) for _ in range(2)]
    time.sleep(0.5)
    assert [*first, *results] == [(n, n) for n in range(12)]


def test_a_failure_comes_at_its_turn_as_what_it_was() -> None:
    results = survivors(partial(refuse, 4), range(20), 2, minus)
    assert [next(results)[0] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(CorruptInputError, match="item 4"):
        next(results)


def test_items_are_taken_only_a_little_ahead_of_the_results() -> None:
    taken = 0

    def counted() -> Iterator[int]:
        nonlocal taken
        for item in range(60):
            taken += 1
            yield item

    with closing(survivors(work, counted(), 2, minus)) as results:
        for done, _ in enumerate(results):
            assert taken - done <= 2 * AHEAD


def test_processes_load_neither_torch_nor_mlflow() -> None:
    assert list(survivors(loaded, range(1), 1, lambda item: ["lost"])) == [(0, [])]


def deadly(settings: CutSettings, page: Page) -> CutPage:
    if any(picture.name == DEADLY for picture in page.pictures):
        os.kill(os.getpid(), signal.SIGKILL)
    return cut_page(settings, page)


@pytest.mark.slow
def test_a_page_that_kills_its_worker_is_quarantined_and_the_others_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.folder_dataset("mine", faces_on_paper(tmp_path / "in", 12))
    bench.crawl("mine")
    plain: dict[str, Any] = json.loads((bench.crop("mine") / "report.json").read_text())
    monkeypatch.setattr("stages.crop.cut_page", deadly)
    trees = []
    for workers in (1, 2):
        bench.values["crop"] = {**bench.values["crop"], "workers": workers}
        out = bench.crop("mine")
        trees.append(tree(out))
        found = json.loads((out / "report.json").read_text())
        assert [item["page"] for item in found["unreadable"]] == [DEADLY]
        assert "killed twice" in found["unreadable"][0]["reason"]
        assert found["crops"] == {name: crop for name, crop in plain["crops"].items() if crop["page"] != DEADLY}
    assert trees[0] == trees[1]
