"""The stage compare: tables, the claim in numbers, figures and the page."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.images import decode_image, read_image, write_png
from model.errors import CorruptInputError, MissingInputError
from pipeline.params import ParamsError
from pipeline.tracking import Run
from stages.compare import compare
from stages.report import hero, table
from stages.report.brief import brief
from stages.report.cells import Point, Swap
from stages.report.claim import at_comparable_fid, best_gain, frontiers, gains, recommended, summary
from stages.report.look import DARK, LIGHT
from stages.report.pareto import figure, plot_of
from tests.stages.evaluations import FID, Elements, cell, comparison_of, levels, paint, write_evaluation, write_params

HOSTILE = "<script>&\"'$x_1$|"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two methods, a plain dataset and one with a hostile name, two seeds; one training was not run."""
    folder = tmp_path_factory.mktemp("compare")
    params = write_params(folder / "params.yaml", ("flat", HOSTILE), ("baseline", "freeze_sg"), ("s0", "s1"))
    for dataset in ("flat", HOSTILE):
        for seed in ("s0", "s1"):
            write_evaluation(folder / "evaluate", ("baseline", dataset, seed), levels(20, 0.3), paint)
            if (dataset, seed) != (HOSTILE, "s1"):
                write_evaluation(folder / "evaluate", ("freeze_sg", dataset, seed), levels(24, 0.5), paint)
    training = folder / "train" / "baseline-flat-s0"
    (training / "samples").mkdir(parents=True)
    (training / "stats.csv").write_text("kimg,d_loss,g_loss,ada_p\n1,1.2,0.8,0\n2,1.1,0.9,0\n")
    write_png(training / "samples" / "00002000.png", np.zeros((9, 9, 3), np.uint8))
    for name in ("first", "again"):
        compare(params, folder / "evaluate", folder / name, Run(folder / f"run-{name}"), trained=folder / "train")
    return folder / "first"


def test_the_csv_file_has_one_row_per_cell_with_its_numbers(published: Path) -> None:
    rows = list(csv.DictReader((published / "table.csv").open()))
    assert len(rows) == 7 * 4
    found = next(
        r for r in rows if (r["method"], r["dataset"], r["seed"], r["level"]) == ("freeze_sg", "flat", "s1", "16")
    )
    assert (found["swap"], float(found[FID]), float(found["similarity"])) == ("weights", 48.0, 0.75)
    assert {row["dataset"] for row in rows} == {"flat", HOSTILE}


def test_same_inputs_give_the_same_bytes(published: Path) -> None:
    first, again = (json.loads((published.parent / name / "MANIFEST.json").read_text()) for name in ("first", "again"))
    assert first == again
    assert {"index.html", "table.csv", "table.md", "metrics.json", "pareto.csv", "hero.png"} <= set(first["files"])
    assert {"figures/pareto-flat.png", "sheets/flat.png", "sheets/flat-freeze_sg.png"} <= set(first["files"])


def test_the_page_loads_nothing_and_runs_nothing(published: Path) -> None:
    page = (published / "index.html").read_text()
    elements = Elements(page)
    policy = next(m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    images = [a["src"] for a in elements.all("img")] + [a["srcset"] for a in elements.all("source")]
    assert len(images) > 10
    assert all(uri is not None and uri.startswith("data:image/") for uri in images)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in elements.found}
    assert not [a for _, a in elements.found if any(name.startswith("on") for name in a)]
    assert all((a["href"] or "").startswith("#") for a in elements.all("a"))
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_hostile_names_are_shown_as_text(published: Path) -> None:
    page, markdown = ((published / name).read_text() for name in ("index.html", "table.md"))
    assert HOSTILE in (published / "table.csv").read_text().replace('""', '"')
    assert "&lt;script&gt;" in page
    assert "<script" not in page + markdown
    assert HOSTILE.replace("_", " ") in Elements(page).text
    assert all("<" not in path.name and "|" not in path.name for path in published.rglob("*"))


def test_the_page_has_every_section(published: Path) -> None:
    elements = Elements((published / "index.html").read_text())
    ids = {a["id"] for _, a in elements.found if "id" in a}
    assert ids == {"numbers", "believe", "dataset-0", "dataset-1", "claim", "again"}
    assert [a["href"] for a in elements.all("a")] == [f"#{a['id']}" for _, a in elements.found if "id" in a]
    for text in (
        "stylenet-0123abcd", "never with published FIDs", "400", "s0, s1", "dvc repro", "Training curves",
        "shuffled pairs", "drawn vs drawn", "recommended", "the last sample sheet",
    ):  # fmt: skip
        assert text in elements.text, text


def test_what_was_not_run_is_listed(published: Path, tmp_path: Path) -> None:
    line = f"freeze_sg on {HOSTILE}, seed s1: not run"
    assert line in Elements((published / "index.html").read_text()).text
    assert "seed s1: not run" in (published / "table.md").read_text()
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    write_evaluation(tmp_path, ("baseline", "flat", "s1"), levels(20, 0.3)[:-1])
    comparison = comparison_of(tmp_path, "baseline", "freeze_g", seeds=2)
    assert comparison.missing == (
        "freeze_g on flat, seed s0: not run",
        "freeze_g on flat, seed s1: not run",
        "baseline on flat, seed s1, features up to 8 px: not run",
    )


def test_the_table_has_means_over_seeds_and_marks_the_best(tmp_path: Path) -> None:
    for seed, fid in (("s0", 30.0), ("s1", 40.0)):
        write_evaluation(tmp_path, ("baseline", "flat", seed), [cell("none", 0, fid, 0.5, unheard_of=1.0)])
        write_evaluation(tmp_path, ("freeze_g", "flat", seed), [cell("none", 0, fid - 10, 0.4, edge_ssim=None)])
    comparison = comparison_of(tmp_path, "baseline", "freeze_g", seeds=2)
    baseline, freeze_g = table.rows(comparison, "flat", ())
    heads = [column.label for _, column in table.shown_columns(comparison)]
    cells = {row.method: dict(zip(heads, row.entries, strict=True)) for row in (baseline, freeze_g)}
    assert (cells["baseline"]["FID"].text, cells["baseline"]["FID"].spread) == ("35.0", f"{math.sqrt(50):.1f}")
    assert (cells["freeze_g"]["FID"].text, cells["freeze_g"]["FID"].best) == ("25.0", True)
    assert cells["baseline"]["similarity"].best
    assert not cells["baseline"]["FID"].best
    assert cells["freeze_g"]["edge SSIM"].text == "–"  # noqa: RUF001
    assert not any(entry.best for row in cells.values() for name, entry in row.items() if name == "8 px MSE")
    assert "unheard_of" in table.as_csv(comparison).splitlines()[0]
    markdown = table.as_markdown(comparison, ())
    assert "| freeze\\_g | no swap | 2 | **25.0** ± 7.1 |" in markdown
    assert "stylenet-0123abcd" in markdown
    assert "unheard_of" not in markdown


def test_anchors_say_what_the_numbers_lie_between(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    comparison = comparison_of(tmp_path, "baseline")
    heads = [column.label for _, column in table.shown_columns(comparison)]
    anchors = {name: dict(zip(heads, values, strict=True)) for name, values in table.anchor_rows(comparison, "flat")}
    assert (anchors["source, untuned"]["FID"], anchors["source, untuned"]["similarity"]) == ("100.0", "1.000")
    assert (anchors["shuffled pairs"]["similarity"], anchors["shuffled pairs"]["landmark NME"]) == ("0.000", "0.500")
    assert anchors["drawn vs drawn"]["FID"] == "2.0"


def test_a_generator_that_copies_training_images_is_named(tmp_path: Path) -> None:
    copied = cell("none", 0, 1.0, 0.1, **{"nn_ratio[stylenet-0123abcd]": 0.2})
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), [copied, cell("weights", 8, 5.0, 0.2)])
    assert table.suspects(comparison_of(tmp_path, "baseline")) == ["baseline on flat, no swap: NN ratio 0.20"]


def test_one_report_never_mixes_extractors_latents_or_image_counts(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    other = {"fid[inception]": 20.0, **{k: v for k, v in cell("none", 0, 0, 0.5).items() if k != FID}}
    write_evaluation(tmp_path, ("freeze_g", "flat", "s0"), [other])
    with pytest.raises(CorruptInputError, match=r"fid\[inception\].*stylenet"):
        comparison_of(tmp_path, "baseline", "freeze_g")
    for name, value in (("z_sha256", "0" * 64), ("n_real", 401), ("n_gen", 999), ("n_pairs", 1)):
        write_evaluation(tmp_path, ("freeze_g", "flat", "s0"), levels(20, 0.3), **{name: value})
        with pytest.raises(CorruptInputError, match=rf"freeze_g-flat-s0.*{name}.*baseline-flat-s0"):
            comparison_of(tmp_path, "baseline", "freeze_g")


def test_broken_evaluations_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="dvc repro"):
        comparison_of(tmp_path, "baseline")
    out = write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    (out / "metrics.json").write_text((out / "metrics.json").read_text() + " ")
    with pytest.raises(CorruptInputError, match=r"baseline-flat-s0/metrics\.json"):
        comparison_of(tmp_path, "baseline")
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3), format=1)
    with pytest.raises(CorruptInputError, match="format 1"):
        comparison_of(tmp_path, "baseline")
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3), method="freeze_g")
    with pytest.raises(CorruptInputError, match="freeze_g"):
        comparison_of(tmp_path, "baseline")


def test_folders_that_the_params_file_does_not_name_are_left_out(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    write_evaluation(tmp_path, ("abandoned", "flat", "s0"), levels(20, 0.3))
    assert {point.method for point in comparison_of(tmp_path, "baseline").points} == {"baseline"}


def test_gain_is_similarity_minus_the_baselines_at_the_same_fid(tmp_path: Path) -> None:
    """Swapping weights takes the baseline from (FID 20, 0.4) to (80, 0.8): at FID 40, half way in log FID, 0.6."""
    for seed in ("s0", "s1"):
        beaten = cell("features", 8, 50, 0.45)
        write_evaluation(
            tmp_path, ("baseline", "flat", seed), [cell("none", 0, 20, 0.4), cell("weights", 8, 80, 0.8), beaten]
        )
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), [cell("none", 0, 40, 0.75), cell("weights", 8, 90, 0.95)])
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s1"), [cell("none", 0, 40, 0.55), cell("weights", 8, 90, 0.95)])
    comparison = comparison_of(tmp_path, "baseline", "freeze_sg", seeds=2)
    plain, swapped = gains(comparison, "flat", "freeze_sg", "baseline")
    assert plain.baseline["similarity"] == pytest.approx(0.6)
    assert plain.gain["similarity"] == pytest.approx(0.65 - 0.6)
    assert plain.per_seed == pytest.approx({"s0": 0.15, "s1": -0.05})
    assert plain.seeds_won == 1
    assert swapped.gain["landmark_similarity"] == pytest.approx(0.95 - 0.8)  # beyond its curve: its most similar point
    assert best_gain([plain, swapped], FID, limit=50.0) is plain  # a FID over the limit is no drawing
    assert best_gain([plain, swapped], FID, limit=100.0) is swapped
    numbers: Any = summary(comparison, "baseline", 0.5)["flat"]
    assert "claim" not in numbers["baseline"]
    assert numbers["freeze_sg"]["fid_ratio_to_source"] == pytest.approx(0.4)
    claim = numbers["freeze_sg"]["claim"]
    assert (claim["swap"], claim["level"], claim["seeds_won"], claim["seeds"]) == ("none", 0, 1, 2)
    assert claim["gain_similarity"] == pytest.approx(0.05)
    assert claim["baseline_similarity_at_that_fid"] == pytest.approx(0.6)
    baseline, freeze_sg = brief(comparison, "baseline", 0.5)[2:]
    assert baseline == (
        "| flat | baseline | 20.0 ± 0.0 | 0.20 | 0.40 ± 0.00 | no swap | 20.0 ± 0.0 | 0.40 ± 0.00 | – |"  # noqa: RUF001
    )
    assert freeze_sg == (
        "| flat | freeze\\_sg | 40.0 ± 0.0 | 0.40 | 0.65 ± 0.14 | no swap | 40.0 ± 0.0 | 0.65 ± 0.14 "
        "| +0.050 (no swap, FID 40.0; 1 of 2 seeds) |"
    )


@given(
    st.lists(st.tuples(st.floats(0.1, 200), st.floats(-1, 1)), min_size=1, max_size=5),
    st.tuples(st.floats(0.1, 200), st.floats(-1, 1)),
    st.floats(0.05, 300),
    st.floats(0.05, 300),
)
def test_neither_a_worse_fid_nor_another_kind_of_swap_takes_likeness_away(
    pairs: list[tuple[float, float]], other: tuple[float, float], fid: float, worse: float
) -> None:
    def point(kind: str, level: int, pair: tuple[float, float]) -> Point:
        return Point("flat", "baseline", Swap(kind, level), 1, {FID: pair[0], "similarity": pair[1]}, {})

    points = [point("weights" if n else "none", n, pair) for n, pair in enumerate(pairs)]
    curves = frontiers(points, FID, "similarity")
    offered = at_comparable_fid(curves, fid)
    assert offered <= at_comparable_fid(curves, max(fid, worse)) + 1e-9
    assert min(s for _, s in pairs) - 1e-9 <= offered <= max(s for _, s in pairs) + 1e-9
    if len(pairs) > 1:
        more = frontiers([*points, point("features", 8, other)], FID, "similarity")
        assert at_comparable_fid(more, fid) >= offered - 1e-9


def test_below_its_lowest_fid_the_baseline_is_given_its_best_point(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.4))
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), [cell("none", 0, 10, 0.5)])
    (gain,) = gains(comparison_of(tmp_path, "baseline", "freeze_sg"), "flat", "freeze_sg", "baseline")
    assert gain.baseline["similarity"] == pytest.approx(0.4)


def test_without_a_baseline_there_is_no_claim(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), levels(20, 0.4))
    assert gains(comparison_of(tmp_path, "freeze_sg"), "flat", "freeze_sg", "baseline") == []


def test_the_recommended_level_regains_more_likeness_than_it_loses_style(tmp_path: Path) -> None:
    """From (FID 10, 0.2) to the source at (FID 1000, 1): FID 100 has lost half of the style."""
    cells = [
        cell("none", 0, 10, 0.2),
        cell("weights", 8, 31.6, 0.5),
        cell("weights", 16, 100, 0.9),
        cell("features", 8, 100, 0.3),
    ]
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), cells)
    points = comparison_of(tmp_path, "baseline").of("flat")
    assert recommended(points, FID, 1000.0, limit=500.0).swap == Swap("weights", 16)
    assert recommended(points, FID, 1000.0, limit=50.0).swap == Swap("weights", 8)  # 16 px no longer counts as drawn
    assert recommended([points[0], points[3]], FID, 1000.0, limit=500.0).swap == Swap("none", 0)
    assert recommended(points[1:], FID, 1000.0, limit=500.0).swap == Swap("weights", 8)  # nothing to start from


def test_points_beaten_in_fid_and_similarity_are_dominated(published: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((published / "pareto.csv").read_text())))
    flat = {(r["method"], r["swap"], r["level"]): r["dominated"] for r in rows if r["dataset"] == "flat"}
    assert flat["baseline", "none", "0"] == "0"  # the lowest FID
    assert flat["baseline", "weights", "8"] == "1"  # FID 24 and 0.45 against freeze_sg's 24 and 0.5
    assert flat["freeze_sg", "features", "8"] == "1"  # 31.2 and 0.6 against its own 28.8 and 0.65
    assert flat["freeze_sg", "weights", "16"] == "0"  # the highest similarity


@pytest.mark.parametrize("fid", [1e-3, 40.0, 5000.0])
def test_the_figure_draws_extreme_numbers(tmp_path: Path, fid: float) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), [cell("none", 0, fid, -0.4), cell("weights", 64, fid, 0.9)])
    comparison = comparison_of(tmp_path, "baseline")
    plot = plot_of(comparison, "flat", comparison.points[:1], 50.0)
    assert plot is not None
    light, dark = (figure(plot, "$\\frac{", theme) for theme in (LIGHT, DARK))
    assert light.shape == dark.shape
    assert light.mean() > 200 > 60 > dark.mean()


def test_contact_sheets_show_the_same_latents_in_a_row(published: Path) -> None:
    sheet = read_image(published / "sheets" / "flat-freeze_sg.png")
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    for name in ("source", "none-0", "weights-8", "weights-16", "features-8"):
        assert {tuple(tile[0, 0].tolist()) for tile in paint(name)} <= colours, name


def test_the_hero_picture_stays_small_whatever_is_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    tiles = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]
    block = hero.Block("flat", tiles, {"baseline": ("no swap", tiles)})
    assert len(hero.picture([block])) < 300_000
    monkeypatch.setattr(hero, "MAX_BYTES", 60_000)
    data = hero.picture([block])
    assert len(data) < 60_000
    small = decode_image(io.BytesIO(data), "hero")
    assert small.shape[0] == hero.compose([block]).shape[0]
    assert small.shape[1] < hero.compose([block]).shape[1]  # fewer faces


def test_the_hero_picture_puts_datasets_side_by_side() -> None:
    tiles = [np.zeros((256, 256, 3), np.uint8)] * 4
    flat = hero.Block("flat", tiles, {"baseline": ("no swap", tiles), "freeze_g": ("no swap", tiles)})
    ink = hero.Block("ink", tiles, {"freeze_g": ("weights up to 8 px", tiles)})  # the baseline was not run
    one, two = hero.compose([flat]), hero.compose([flat, ink])
    assert two.shape[1] > one.shape[1] + 4 * hero.TILE


def test_a_report_without_pictures_or_trainings_is_still_a_report(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline",), ("s0",))
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), [cell("none", 0, 20, 0.4)])
    compare(params, tmp_path / "evaluate", tmp_path / "out", Run(tmp_path / "run"))
    page = Elements((tmp_path / "out" / "index.html").read_text())
    assert "Everything that the params file asks for was run." in page.text
    assert "Every method was trained once" in page.text
    assert "Ended early" not in page.text
    assert not (tmp_path / "out" / "hero.png").exists()


def test_broken_statistics_and_settings_are_named(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline",), ("s0",))
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), [cell("none", 0, 20, 0.4)])
    stats = tmp_path / "train" / "baseline-flat-s0" / "stats.csv"
    stats.parent.mkdir(parents=True)
    stats.write_text("kimg,d_loss\nmany,1\n")
    with pytest.raises(CorruptInputError, match=r"stats\.csv"):
        compare(params, tmp_path / "evaluate", tmp_path / "out", Run(tmp_path / "run"), trained=tmp_path / "train")
    params.write_text(params.read_text().replace('"sheet_faces": 3', '"sheet_faces": 0'))
    with pytest.raises(ParamsError, match=r"compare\.sheet_faces"):
        compare(params, tmp_path / "evaluate", tmp_path / "out", Run(tmp_path / "run2"))
    assert not (tmp_path / "out").exists()


def test_a_single_snapshot_leaves_no_trace_in_the_tables(published: Path) -> None:
    for name in ("table.csv", "table.md", "pareto.csv", "metrics.json"):
        assert "snapshot" not in (published / name).read_text(), name
