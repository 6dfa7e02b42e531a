"""Hypervolumes and swap ladders."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stages.comparing.sweeps import ladders, volumes
from stages.comparing.view import View
from tests.stages.evaluations import KINDS, cell, measured_of, views_of, write_evaluation


def view_of(folder: Path, *cells: dict[str, object], spread: float = 0.05, **kinds: object) -> View:
    write_evaluation(folder, ("baseline", "flat", "s0"), cells, spread=spread)
    (view,) = views_of(measured_of(folder, "baseline"))
    return view


def test_the_volume_is_the_area_between_the_curve_and_the_untuned_source(tmp_path: Path) -> None:
    """The source's KID is 400: a point at KID 40 and similarity 0.5 dominates 0.5 x ln 10."""
    view = view_of(tmp_path, cell("none", 0, 40, 0.5), cell("weights", 8, 200, 0.4))
    found = volumes(view)["baseline"]
    assert found["hypervolume"] == pytest.approx(0.5 * math.log(10))
    assert found["low"] < found["hypervolume"] < found["high"]
    more = view_of(tmp_path, cell("none", 0, 40, 0.5), cell("weights", 8, 200, 0.7))
    assert volumes(more)["baseline"]["hypervolume"] == pytest.approx(0.5 * math.log(10) + 0.2 * math.log(2))


def test_a_kid_below_zero_counts_as_the_floor_and_a_memoriser_as_nothing(tmp_path: Path) -> None:
    view = view_of(tmp_path, cell("none", 0, -3, 0.5), cell("weights", 8, 1, 0.9, gate_memorisation="fail"))
    assert view.scale.floor == 0.5  # the largest standard error
    assert volumes(view)["baseline"]["hypervolume"] == pytest.approx(0.5 * math.log(400 / 0.5))


def test_wider_numbers_give_a_wider_interval(tmp_path: Path) -> None:
    widths = []
    for spread in (0.01, 0.1):
        found = volumes(view_of(tmp_path, cell("none", 0, 40, 0.5), spread=spread))["baseline"]
        widths.append(found["high"] - found["low"])
    assert widths[1] > 3 * widths[0]


def test_a_ladder_climbs_from_no_swap_and_bends_at_its_knee(tmp_path: Path) -> None:
    rungs = [cell("weights", 8, 30, 0.6), cell("weights", 16, 60, 0.65), cell("weights", 32, 90, 0.7)]
    view = view_of(tmp_path, cell("none", 0, 20, 0.2), *rungs)
    (ladder,) = ladders(view, KINDS)
    assert (ladder["spearman"], ladder["knee"]) == (pytest.approx(1.0), 8)
    assert ladder["knee_share"] > 0.95
    assert (ladder["dataset"], ladder["method"], ladder["swap"]) == ("flat", "baseline", "weights")


def test_a_knee_that_chance_decides_says_so(tmp_path: Path) -> None:
    nearly_straight = [cell("weights", 8, 30, 0.402), cell("weights", 16, 60, 0.598), cell("weights", 32, 90, 0.8)]
    (ladder,) = ladders(view_of(tmp_path, cell("none", 0, 20, 0.2), *nearly_straight, spread=0.3), KINDS)
    assert ladder["knee_share"] < 0.9


def test_where_the_source_draws_the_fine_blocks_the_ladder_goes_down(tmp_path: Path) -> None:
    """The fewer blocks are the tuned ones, the more of the source: 32, 16, 8 px."""
    kinds = {"toonify": {"mix": "weights", "low": "target", "width": None, "mapping": "low"}}
    rungs = [cell("toonify", 8, 90, 0.7), cell("toonify", 16, 60, 0.65), cell("toonify", 32, 30, 0.6)]
    view = view_of(tmp_path, cell("none", 0, 20, 0.2), *rungs)
    (ladder,) = ladders(view, kinds)
    assert (ladder["spearman"], ladder["knee"]) == (pytest.approx(1.0), 32)


def test_a_schedule_is_a_point_and_no_ladder_and_two_rungs_have_no_knee(tmp_path: Path) -> None:
    view = view_of(tmp_path, cell("none", 0, 20, 0.2), cell("schedule", 0, 30, 0.4), cell("weights", 8, 30, 0.2))
    (ladder,) = ladders(view, KINDS)
    assert (ladder["swap"], ladder["spearman"], ladder["knee"], ladder["knee_share"]) == ("weights", None, None, None)
