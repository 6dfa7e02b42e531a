"""A comparison over several snapshots, and the curves of the trainings that they are from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from model.errors import CorruptInputError
from pipeline.tracking import Run
from stages.compare import compare
from stages.comparing.claim import gains, recommended
from stages.comparing.reading import Grid
from stages.comparing.table import read_table
from stages.comparing.trainings import read_trainings
from tests.stages.evaluations import KID, cell, levels, measured_of, paint, views_of, write_evaluation, write_params


def swept(start: float, similarity: float) -> list[dict[str, Any]]:
    """Cells of two snapshots: the less trained one draws worse and is closer to the source."""
    less = [cell("none", 0, start * 1.5, similarity + 0.3), cell("weights", 8, start * 1.8, similarity + 0.5)]
    named = [({"snapshot": "best", "kimg": 12.0}, row) for row in levels(start, similarity)]
    named += [({"snapshot": "4_kimg", "kimg": 4.0}, row) for row in less]
    return [row | where for where, row in named]


@pytest.fixture(scope="module")
def two_snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two methods, each measured at two snapshots of two trainings."""
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
    compare(params, folder / "evaluate", folder / "train", folder / "out", Run(folder / "run"))
    return folder


def test_every_table_says_which_snapshot_a_row_is(two_snapshots: Path) -> None:
    out = two_snapshots / "out"
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert len(rows) == 2 * 2 * 6
    assert {(row["snapshot"], float(row["kimg"])) for row in rows} == {("best", 12.0), ("4_kimg", 4.0)}
    points = list(csv.DictReader((out / "pareto.csv").open()))
    assert {(p["snapshot"], p["swap"], p["level"]) for p in points} >= {("best", "none", "0"), ("4_kimg", "none", "0")}
    text = (out / "table.md").read_text()
    assert "| recommended | snapshot | KID there |" in text
    assert "| baseline | best (12 kimg) | no swap | 2 |" in text
    assert "| baseline | 4 kimg | weights up to 8 px ← | 2 |" in text


def test_the_recommendation_may_come_from_any_snapshot_and_starts_are_of_the_main_one(two_snapshots: Path) -> None:
    (view,) = views_of(measured_of(two_snapshots / "evaluate", "baseline", "freeze_sg", seeds=2))
    start, chosen = view.start("baseline"), view.chosen["baseline"]
    assert start is not None
    assert (start.snapshot, start.mean[KID]) == ("best", 20.0)
    assert chosen is not None
    assert chosen.place == ("4_kimg", "weights", 8)
    assert [p.snapshot for p in view.of("baseline")] == ["best"] * 4 + ["4_kimg"] * 2
    only = recommended([p for p in view.of("baseline") if p.snapshot == "best"], view.scale)
    assert only is not None
    assert only.snapshot == "best"


def test_the_baseline_offers_all_its_snapshots(two_snapshots: Path) -> None:
    """At KID 36 the baseline's less trained snapshot, swapped up to 8 px, has 0.7; its best one only 0.41."""
    (view,) = views_of(measured_of(two_snapshots / "evaluate", "baseline", "freeze_sg", seeds=2))
    found = {gain.point.place: gain for gain in gains(view.points, view.cells, ("freeze_sg", "baseline"), view.scale)}
    gain = found["4_kimg", "none", 0]
    assert gain.point.mean[KID] == pytest.approx(36.0)
    assert gain.baseline == pytest.approx(0.7)
    assert gain.per_seed == pytest.approx({"s0": -0.1, "s1": -0.1})


def test_trainings_are_kept_with_their_curves_and_marks(two_snapshots: Path) -> None:
    trainings = read_table(two_snapshots / "out" / "table.parquet").about.trainings
    assert [(t["method"], t["seed"], t["kept"], t["stopped"]) for t in trainings] == [
        ("baseline", "s0", 12.0, None), ("baseline", "s1", 12.0, 12.0), ("freeze_sg", "s0", 12.0, None),
        ("freeze_sg", "s1", 12.0, None),
    ]  # fmt: skip
    assert trainings[0]["stats"]["kid"] == [[4.0, 300.0], [12.0, 100.0]]
    rows = list(csv.DictReader((two_snapshots / "out" / "kimg.csv").open()))
    assert [(r["series"], float(r["kimg"]), float(r["kid"]), r["seeds"]) for r in rows][:2] == [
        ("flat baseline", 4.0, 300.0, "2"), ("flat baseline", 12.0, 100.0, "2"),
    ]  # fmt: skip


def test_broken_statistics_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "baseline-flat-s0"
    folder.mkdir()
    (folder / "stats.csv").write_text("kimg,d_loss\nmany,1\n")
    with pytest.raises(CorruptInputError, match=r"baseline-flat-s0/stats\.csv"):
        read_trainings(tmp_path, Grid("p", ("flat",), ("baseline",), ("s0",)))


@pytest.mark.parametrize(("last", "drawn"), [(1.6, 3), (2.0, 4)])
def test_the_rest_of_a_tick_is_no_point_of_a_curve_but_counts_as_training(
    tmp_path: Path, last: float, drawn: int
) -> None:
    folder = tmp_path / "baseline-flat-s0"
    folder.mkdir()
    rows = [f"{kimg},1.0,1.2,0.5" for kimg in (0.5, 1.0, 1.5)] + [f"{last},1.0,1.2,0.0"]
    (folder / "stats.csv").write_text("\n".join(["kimg,d_loss,g_loss,r1", *rows]) + "\n")
    (training,) = read_trainings(tmp_path, Grid("p", ("flat",), ("baseline",), ("s0",)))
    assert training["kimg"] == last
    assert len(training["stats"]["r1"]) == drawn


def test_long_trainings_are_thinned_to_means(tmp_path: Path) -> None:
    folder = tmp_path / "baseline-flat-s0"
    folder.mkdir()
    rows = [f"{n},{n}" for n in range(1, 601)]
    (folder / "stats.csv").write_text("\n".join(["kimg,d_loss", *rows]) + "\n")
    (training,) = read_trainings(tmp_path, Grid("p", ("flat",), ("baseline",), ("s0",)))
    assert len(training["stats"]["d_loss"]) == 60
    assert training["stats"]["d_loss"][0] == [10.0, 5.5]
