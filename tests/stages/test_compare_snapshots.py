"""The stage compare over several snapshots, and the curves of the trainings they are from."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image
from model.errors import CorruptInputError
from pipeline.tracking import Run
from stages.compare import compare
from stages.report.cells import Grid, Swap
from stages.report.claim import gains, recommended
from stages.report.curves import figure as curves
from stages.report.curves import read_trainings
from stages.report.look import LIGHT
from stages.report.pareto import figure, plot_of
from tests.stages.evaluations import FID, Elements, cell, comparison_of, levels, paint, write_evaluation, write_params


def swept(start: float, similarity: float) -> list[dict[str, Any]]:
    """Cells of two snapshots: the less trained one draws worse and is closer to the source."""
    less = [cell("none", 0, start * 1.5, similarity + 0.3), cell("weights", 8, start * 1.8, similarity + 0.5)]
    named = [({"snapshot": "best", "kimg": 12.0}, row) for row in levels(start, similarity)]
    named += [({"snapshot": "4_kimg", "kimg": 4.0}, row) for row in less]
    return [row | where for where, row in named]


@pytest.fixture(scope="module")
def two_snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two methods, each measured at two snapshots of two trainings."""
    folder = tmp_path_factory.mktemp("two_snapshots")
    params = write_params(folder / "params.yaml", ("flat",), ("baseline", "freeze_sg"), ("s0", "s1"))
    for seed in ("s0", "s1"):
        write_evaluation(folder / "evaluate", ("baseline", "flat", seed), swept(20, 0.2), paint)
        write_evaluation(folder / "evaluate", ("freeze_sg", "flat", seed), swept(24, 0.3), paint)
        for method in ("baseline", "freeze_sg"):
            training = folder / "train" / f"{method}-flat-{seed}"
            training.mkdir(parents=True)
            (training / "stats.csv").write_text("kimg,d_loss\n4,1.2\n12,1.1\n")
            end = "kept best last stopped" if (method, seed) == ("baseline", "s1") else "kept best last"
            rows = f"4,0.3,0.01,1.1,stylenet-1,\n12,0.1,0.01,0.9,stylenet-1,{end}\n"
            (training / "snapshots.csv").write_text("kimg,kid,kid_std,nn_ratio,extractor,marks\n" + rows)
    compare(params, folder / "evaluate", folder / "out", Run(folder / "run"), trained=folder / "train")
    return folder


def test_where_several_snapshots_were_swept_every_table_says_which_one_a_row_is(two_snapshots: Path) -> None:
    out = two_snapshots / "out"
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert len(rows) == 2 * 2 * 6
    assert {(row["snapshot"], row["kimg"]) for row in rows} == {("best", "12"), ("4_kimg", "4")}
    assert "kimg" not in {key for key in rows[0] if "[" in key}
    points = list(csv.DictReader((out / "pareto.csv").open()))
    assert {(p["snapshot"], p["swap"], p["level"]) for p in points} >= {("best", "none", "0"), ("4_kimg", "none", "0")}
    text = (out / "table.md").read_text()
    assert "| style | method | FID, no swap | of the source's | similarity | recommended | snapshot |" in text
    assert "| baseline | best (12 kimg) | no swap | 2 |" in text
    assert "| baseline | 4 kimg | weights up to 8 px ← | 2 |" in text
    page = Elements((out / "index.html").read_text())
    assert "the same 2 snapshots (best, 4 kimg)" in page.text
    assert "freeze sg, snapshot 4 kimg: the swap, step by step" in page.text
    assert "Ended early, because" in page.text
    assert "baseline on flat, seed s1: after 12 kimg" in page.text
    assert (out / "sheets" / "flat-freeze_sg.png").is_file()


def test_the_recommendation_may_come_from_any_snapshot_and_headlines_are_of_the_main_one(two_snapshots: Path) -> None:
    numbers = json.loads((two_snapshots / "out" / "metrics.json").read_text())["flat"]
    assert (numbers["baseline"]["fid_no_swap"], numbers["baseline"]["similarity_no_swap"]) == (20.0, 0.2)
    chosen = numbers["baseline"]["recommended"]
    assert (chosen["snapshot"], chosen["swap"], chosen["level"]) == ("4_kimg", "weights", 8)
    comparison = comparison_of(two_snapshots / "evaluate", "baseline", "freeze_sg", seeds=2)
    assert comparison.snapshots == ["best", "4_kimg"]
    assert [p.swap.snapshot for p in comparison.of("flat", "baseline")] == ["best"] * 4 + ["4_kimg"] * 2
    best_only = [p for p in comparison.of("flat", "baseline") if p.swap.snapshot == "best"]
    assert recommended(best_only, FID, 100.0, 50.0).swap.snapshot == "best"


def test_the_baseline_offers_all_its_snapshots(two_snapshots: Path) -> None:
    """At FID 36 the baseline's less trained snapshot, swapped up to 8 px, has 0.7; its best one only 0.41."""
    comparison = comparison_of(two_snapshots / "evaluate", "baseline", "freeze_sg", seeds=2)
    found = {gain.point.swap: gain for gain in gains(comparison, "flat", "freeze_sg", "baseline")}
    gain = found[Swap("none", 0, "4_kimg")]
    assert gain.point.mean[FID] == pytest.approx(36.0)
    assert gain.baseline["similarity"] == pytest.approx(0.7)
    assert gain.per_seed == pytest.approx({"s0": -0.1, "s1": -0.1})


def test_methods_with_different_snapshots_are_not_compared(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), swept(20, 0.3))
    with pytest.raises(CorruptInputError, match=r"freeze_sg-flat-s0.*snapshots \['4_kimg', 'best'\], but \['kept'\]"):
        comparison_of(tmp_path, "baseline", "freeze_sg")


def test_contact_sheets_show_each_snapshot_with_its_own_pictures(two_snapshots: Path) -> None:
    sheet = read_image(two_snapshots / "out" / "sheets" / "flat-freeze_sg.png")
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    for name in ("source", "best/none-0", "best/weights-16", "4_kimg/none-0", "4_kimg/weights-8"):
        assert {tuple(tile[0, 0].tolist()) for tile in paint(name)} <= colours, name


def test_curves_show_the_kid_of_snapshots_and_mark_the_kept_one(two_snapshots: Path) -> None:
    grid = Grid("trial", ("flat",), ("baseline", "freeze_sg"), ("s0", "s1"))
    trainings = read_trainings(two_snapshots / "train", grid)
    assert trainings[0].stats["kid"] == [(4.0, 300.0), (12.0, 100.0)]
    assert [training.kept for training in trainings] == [12.0] * 4
    drawn = curves(trainings, grid.methods, "Training", LIGHT)
    unmarked = curves([replace(training, kept=None) for training in trainings], grid.methods, "Training", LIGHT)
    assert drawn is not None
    assert not np.array_equal(drawn, unmarked)


def test_figures_of_the_same_points_tell_snapshots_apart(two_snapshots: Path) -> None:
    comparison = comparison_of(two_snapshots / "evaluate", "baseline", "freeze_sg", seeds=2)
    plot = plot_of(comparison, "flat", (), 50.0)
    assert plot is not None
    alike = replace(plot, points=tuple(replace(p, swap=Swap(p.swap.kind, p.swap.level, "best")) for p in plot.points))
    assert [plot.strength(name) for name in plot.snapshots] == [1.0, 0.55]
    assert not np.array_equal(figure(plot, "x", LIGHT), figure(alike, "x", LIGHT))


@pytest.mark.parametrize(("last", "drawn"), [(1.6, 3), (2.0, 4)])
def test_the_rest_of_a_tick_is_no_point_of_a_curve_but_counts_as_training(
    tmp_path: Path, last: float, drawn: int
) -> None:
    folder = tmp_path / "baseline-flat-s0"
    folder.mkdir()
    rows = [f"{kimg},1.0,1.2,0.5" for kimg in (0.5, 1.0, 1.5)] + [f"{last},1.0,1.2,0.0"]
    (folder / "stats.csv").write_text("\n".join(["kimg,d_loss,g_loss,r1", *rows]) + "\n")
    (training,) = read_trainings(tmp_path, Grid("p", ("flat",), ("baseline",), ("s0",)))
    assert training.kimg == last
    assert len(training.stats["r1"]) == drawn
