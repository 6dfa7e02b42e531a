"""The stages reference and evaluate, from weights and images to metrics.json."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image
from model.errors import BudgetError, CorruptInputError, MissingInputError
from model.files import verify_manifest
from model.metrics.names import parse
from stages.measuring.values import read_values
from tests.measuring.bench import Bench, Counting
from tests.stages.training import write_images

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("opened")]
Measured = tuple[Bench, dict[str, Any]]
SWEPT = [("none", 0), ("weights", 8), ("weights", 16), ("features", 8), ("features", 16)]


def cell(metrics: dict[str, Any], kind: str, level: int) -> dict[str, Any]:
    (found,) = [row for row in metrics["cells"] if (row["swap"], row["level"]) == (kind, level)]
    return {key: value for key, value in found.items() if key not in ("swap", "level")}


def test_every_cell_has_every_family_under_names_that_say_how_many_images_and_which_network(measured: Measured) -> None:
    bench, metrics = measured
    assert [(row["swap"], row["level"]) for row in metrics["cells"]] == SWEPT
    style, faces = metrics["style"], metrics["instruments"][1]["name"]
    for row in metrics["cells"]:
        for family in ("fid70", "fid70_heldout", "fid70_gap", "kid70_x1e3", "kid70_x1e3_std", "precision70", "recall70",
                       "density70", "coverage70", "nn70_ratio", "copy70_rate", "variety"):  # fmt: skip
            assert row[f"{family}[{style}]"] is not None, family
        for family in ("landmark_nme", "attribute_mse", "edge_ssim", "lowres_rgb_mse_8", f"cos[{faces}]"):
            stem, bracket, name = family.partition("[")
            for variant in ("", "_low", "_high", "_lift", "_own", "_own_lift"):
                assert isinstance(row[f"{stem}{variant}{bracket}{name}"], float), family + variant
        assert row["gate_memorisation"] in ("pass", "alarm", "fail")
        assert row["gate_collapse"] in ("pass", "alarm", "fail")
        assert (f"ppl[{style}]" in row) == (row["swap"] == "none")
        assert not {parse(name).family for name in row if "[" not in name} & {"fid", "kid_x1e3", "precision"}
    assert (metrics["n_gen"], metrics["n_pairs"], metrics["n_real"], metrics["n_heldout"]) == (70, 20, 16, 16)
    assert metrics["format"] == 3
    verify_manifest(bench.out)
    with (bench.out / "cells.csv").open() as file:
        assert [(row["swap"], int(row["level"])) for row in csv.DictReader(file)] == SWEPT


def test_anchors_are_the_source_itself_other_peoples_pairs_and_halves_of_the_real_images(measured: Measured) -> None:
    _, metrics = measured
    source, shuffled, split = (metrics["anchors"][name] for name in ("source", "shuffled", "real_split"))
    style = metrics["style"]
    assert source["landmark_nme"] == source["attribute_mse"] == source["lowres_rgb_mse_8"] == 0.0
    assert source["edge_ssim"] == pytest.approx(1.0)
    assert source[f"kid70_x1e3[{style}]"] is not None
    main = cell(metrics, "none", 0)
    lift = (main["attribute_mse"] - shuffled["attribute_mse"]) / -shuffled["attribute_mse"]
    assert main["attribute_mse_lift"] == pytest.approx(lift)
    assert split[f"fid70[{style}]"] > 0.0
    assert (split["n_half"], split["n_other_half"]) == (8.0, 8.0)


def test_values_are_what_the_means_are_means_of(measured: Measured) -> None:
    bench, metrics = measured
    rows = read_values(bench.out / "values.parquet")
    assert {(row.swap, row.level) for row in rows} == set(SWEPT)
    kinds = {row.kind: row for row in rows}
    assert set(kinds) == {"pairs", "pairs_own", "blocks"}
    for row in rows:
        numbers = cell(metrics, row.swap, row.level)
        if row.kind == "blocks":
            assert len(row.values) == metrics["n_blocks"] == 5
            assert row.measure in numbers
        else:
            stem, bracket, name = row.measure.partition("[")
            whole = numbers[f"{stem}{'_own' if row.kind == 'pairs_own' else ''}{bracket}{name}"]
            assert len(row.values) == metrics["n_pairs"]
            assert np.mean(row.values) == pytest.approx(whole)


def test_every_snapshot_is_measured_by_every_kind_with_numbers_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path).two_snapshots(
        kinds={
            "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
            "toon": {"mix": "weights", "low": "target", "width": 1.0, "mapping": "low"},
        }
    )
    metrics = bench.run()
    expected = [("none", 0), ("weights", 8), ("toon", 8)]
    names = [("best", 1), ("last", 2), ("2_kimg", 2)]
    found = [(row["snapshot"], row["kimg"], row["swap"], row["level"]) for row in metrics["cells"]]
    assert found == [(*name, *at) for name in names for at in expected]
    assert metrics["snapshots"] == {"best": 1, "last": 2, "2_kimg": 2}
    rows = {
        name: [{k: v for k, v in row.items() if k != "snapshot"} for row in metrics["cells"] if row["snapshot"] == name]
        for name, _ in names
    }
    assert rows["last"] == rows["2_kimg"]
    assert all(a["landmark_nme"] != b["landmark_nme"] for a, b in zip(rows["best"], rows["last"], strict=True))
    strips = {
        path.relative_to(bench.out / "tiles").as_posix(): path.read_bytes()
        for path in (bench.out / "tiles").rglob("*.png")
    }
    assert set(strips) == {"source.png", *(f"{name}/{kind}-{at}.png" for name, _ in names for kind, at in expected)}
    assert strips["last/none-0.png"] == strips["2_kimg/none-0.png"] != strips["best/none-0.png"]
    assert {row.snapshot for row in read_values(bench.out / "values.parquet")} == {name for name, _ in names}


def test_the_first_snapshot_of_a_sweep_measures_as_it_does_alone(measured: Measured, tmp_path: Path) -> None:
    _, alone = measured
    swept = Bench(tmp_path / "swept").two_snapshots().run()
    for kind, level in (("none", 0), ("weights", 8), ("features", 8)):
        (row,) = [r for r in swept["cells"] if (r["snapshot"], r["swap"], r["level"]) == ("best", kind, level)]
        assert {**row, "snapshot": ""} == {"snapshot": "", "kimg": 1.0, **cell(alone, kind, level)} | {
            "swap": kind, "level": level
        }  # fmt: skip
    assert swept["anchors"] == alone["anchors"]


def test_tiles_show_the_picked_faces_in_every_file(measured: Measured) -> None:
    bench, _ = measured
    strips = {path.stem: read_image(path) for path in (bench.out / "tiles").iterdir()}
    assert set(strips) == {"source", *(f"{kind}-{level}" for kind, level in SWEPT)}
    assert {strip.shape for strip in strips.values()} == {(32, 5 * 32, 3)}
    # With the source's w and the source's RGB the two ways of swapping draw the same picture.
    assert np.array_equal(strips["weights-8"], strips["features-8"])
    assert np.abs(strips["none-0"].astype(int) - strips["source"]).max() > 1
    picks = json.loads((bench.out / "picks.json").read_text())
    assert picks["first"] == [0, 1, 2]
    assert (picks["by"], picks["psi"]) == ("landmark_nme", 1.0)
    (errors,) = [
        row.values
        for row in read_values(bench.out / "values.parquet")
        if (row.swap, row.measure, row.kind) == ("none", "landmark_nme", "pairs")
    ]
    assert picks["worst"] == [int(np.argmax(errors))]
    assert picks["scores"] == [errors.max()]
    assert (bench.out / "nearest.png").is_file()
    assert (bench.out / "failures.png").is_file()


def test_running_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "freeze_sg")
    for run, out in ((bench.refer, bench.reference), (bench.evaluate, bench.out)):
        run()
        first = verify_manifest(out)["files"]
        run()
        assert verify_manifest(out)["files"] == first


def test_own_w_differ_from_the_sources_only_where_the_mapping_trained(measured: Measured, tmp_path: Path) -> None:
    fixed = Bench(tmp_path, "freeze_g", path_length=0).run()
    for metrics, moved in ((fixed, False), (measured[1], True)):
        plain = cell(metrics, "none", 0)
        assert (plain["landmark_nme_own"] != plain["landmark_nme"]) == moved


def test_a_z_draws_the_same_picture_however_many_are_drawn_and_whatever_the_method(
    measured: Measured, tmp_path: Path
) -> None:
    bench, metrics = measured
    other = Bench(tmp_path, "freeze_g", images=90, path_length=0)
    assert other.run()["z_sha256"] != metrics["z_sha256"]  # of 90 z, and of 70
    first = [read_image(one.out / "tiles" / "source.png")[:, : 3 * 32] for one in (bench, other)]
    assert np.array_equal(*first)


def test_real_images_are_measured_once_for_all_methods_and_equal_pictures_once_for_all_cells(
    tmp_path: Path, opened: dict[str, Any]
) -> None:
    counting = opened["stylenet"] = Counting(opened["stylenet"])
    first = Bench(tmp_path / "a", "freeze_g", path_length=0)
    first.refer()
    assert set(counting.seen.values()) == {1}
    assert counting.seen.total() == 32  # 16 to train on, 16 held out
    real = set(counting.seen)
    first.evaluate()
    once = counting.seen.total()
    assert set(counting.seen.values()) == {1}  # a cell that draws what another one drew is not measured again
    assert once < 32 + 70 * (1 + len(SWEPT))
    second = Bench(tmp_path / "b", "baseline", path_length=0)
    second.reference = first.reference
    second.evaluate()
    assert counting.seen.total() > once
    assert {counting.seen[image] for image in real} == {1}


def test_features_of_another_dataset_or_by_other_weights_are_refused_before_anything_is_drawn(
    tmp_path: Path, opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(MissingInputError, match=r"reference.flat: no MANIFEST"):
        bench.evaluate()
    bench.refer()
    monkeypatch.setattr("stages.measuring.measure.draw_all", None)
    write_images(bench.lmdb, n=14)
    with pytest.raises(CorruptInputError, match=r"features of other images.*dvc repro"):
        bench.evaluate()
    write_images(bench.lmdb, n=16)
    opened["stylenet"] = Counting(opened["stylenet"])
    opened["stylenet"].weights_sha256 = "f" * 64
    with pytest.raises(CorruptInputError, match=r"weights_sha256 .*expected weights_sha256 fff"):
        bench.evaluate()
    opened["stylenet"].name = "stylenet-ffffffff"
    with pytest.raises(MissingInputError, match=r"no features of real images by stylenet-ffffffff"):
        bench.evaluate()
    assert not bench.out.exists()


def test_too_few_reals_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    write_images(bench.lmdb, n=8)
    with pytest.raises(BudgetError, match=r"flat: 8 training and 8 held-out images.*at least 12"):
        bench.refer()


def test_an_edited_trained_generator_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    weights = bench.trained / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(CorruptInputError, match=r"generator\.safetensors"):
        bench.run()


def test_the_run_records_the_main_cell_its_gates_and_its_images_and_no_cell_beside_it(measured: Measured) -> None:
    bench, metrics = measured
    journal = [json.loads(line) for line in (bench.record.folder / "journal.jsonl").read_text().splitlines()]
    kinds = [entry["kind"] for entry in journal]
    assert "cell" not in kinds
    text = json.dumps(journal)
    assert f"kid70_x1e3[{metrics['style']}]" in text
    assert '"gate_memorisation"' in text
    assert '"context": "evaluation"' in text
