"""The stage compare: one table, what it shows, and what the tracking server gets."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image, write_png
from model.errors import CorruptInputError, UsageError
from pipeline.journal import JournalReader
from pipeline.params import ParamsError
from pipeline.tracking import Run
from stages.compare import compare
from stages.comparing.likeness import SIMILARITY
from stages.comparing.recording import weights_locked
from stages.comparing.table import read_table
from stages.comparing.words import TIMES
from tests.stages.evaluations import (
    EXTRACTOR,
    FID,
    KID,
    SIDE,
    cell,
    digest,
    levels,
    paint,
    write_evaluation,
    write_params,
)

HOSTILE = "<script>&\"'$x_1$|"
LOSS = {"structure_loss": {"space": "rgb", "resolutions": [4, 8, 16], "weight": 20.0, "reduction": "sum"}}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, a plain dataset and one with a hostile name, two seeds; one training was not run."""
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
    for kimg in (1, 2):
        write_png(training / "samples" / f"0000{kimg}000.png", np.full((9, 9, 3), kimg, np.uint8))
    for name in ("first", "again"):
        compare(params, folder / "evaluate", folder / "train", folder / name, Run(folder / f"run-{name}"))
    return folder / "first"


def test_the_csv_file_has_one_row_per_cell_with_its_numbers_and_gates(published: Path) -> None:
    rows = list(csv.DictReader((published / "table.csv").open()))
    assert len(rows) == 7 * 4
    wanted = ("freeze_sg", "flat", "s1", "16")
    (found,) = [r for r in rows if (r["method"], r["dataset"], r["seed"], r["level"]) == wanted]
    assert (found["swap"], float(found[KID]), found["gate_collapse"]) == ("weights", 48.0, "pass")
    assert float(found["similarity"]) == 0.75
    assert {row["dataset"] for row in rows} == {"flat", HOSTILE}


def test_numbers_are_kept_at_full_precision(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline",), ("s0",))
    third = cell("none", 0, 20 / 3, 0.1 + 0.2)
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), [third])
    compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "run"))
    (row,) = csv.DictReader((tmp_path / "out" / "table.csv").open())
    (kept,) = read_table(tmp_path / "out" / "table.parquet").cells
    assert float(row[KID]) == kept.values[KID] == 20 / 3
    assert float(row["landmark_nme"]) == third["landmark_nme"]


def test_same_inputs_give_the_same_bytes(published: Path) -> None:
    first, again = (json.loads((published.parent / name / "MANIFEST.json").read_text()) for name in ("first", "again"))
    assert first == again
    names = {"table.parquet", "table.csv", "table.md", "metrics.json", "pareto.csv", "levels.csv", "kimg.csv"}
    assert names <= set(first["files"])


def test_the_table_tells_everything_that_the_page_needs(published: Path) -> None:
    about = read_table(published / "table.parquet").about
    assert (about.style, about.fid, about.measures) == (KID, FID, ["landmark_nme", "attribute_mse"])
    assert (about.profile, about.command) == ("trial", "dvc repro")
    assert about.methods == {"baseline": ["freeze_d"], "freeze_sg": ["freeze_d"]}
    assert set(about.settings["kinds"]) == {"weights", "features"}
    assert about.missing == [f"freeze_sg on {HOSTILE}, seed s1: not run"]
    assert about.facts["flat"]["n_real"] == 400
    assert about.facts[""]["made_with"] == {"device": "cpu", "threads": 1}
    assert set(about.findings) == {
        "points", "limits", "floors", "differences", "pareto", "ladders", "claims", "trained_on", "summary"
    }  # fmt: skip
    assert (about.findings["limits"]["flat"], about.findings["floors"]["flat"]) == (200.0, 0.5)
    point = about.findings["points"][0]
    assert (point["seeds"], point["kimg"], point["mean"][KID], point["sd"][KID]) == (2, [12.0, 12.0], 20.0, 0.0)
    recommended = [p for p in about.findings["points"] if p["recommended"]]
    assert len(recommended) == 4
    dominated = {
        (p["method"], p["swap"], p["level"]): p["dominated"] for p in about.findings["points"] if p["dataset"] == "flat"
    }
    assert not dominated["baseline", "none", 0]  # the lowest KID
    assert dominated["baseline", "weights", 8]  # KID 24 and 0.45 against freeze_sg's 24 and 0.5
    assert dominated["freeze_sg", "features", 8]  # 31.2 and 0.6 against its own 28.8 and 0.65
    assert not dominated["freeze_sg", "weights", 16]  # the highest similarity


def test_pictures_of_the_first_seed_are_copied(published: Path) -> None:
    folder = published / "pictures" / "baseline-flat"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    strips = {f"tiles/{name}.png" for name in ("source", "none-0", "weights-8", "weights-16", "features-8")}
    assert found == strips | {"picks.json", "failures.png", "sample.png"}
    assert read_image(folder / "sample.png")[0, 0, 0] == 2  # the last sheet
    assert len(list((published / "pictures").iterdir())) == 4


def test_the_markdown_answers_first_and_has_n_and_spreads(published: Path) -> None:
    text = (published / "table.md").read_text()
    short, _, full = text.partition("Means ± standard deviations")
    assert short.startswith("### In short\n\n**flat.** Without a swap freeze sg keeps the face best: similarity 0.50")
    assert "That costs style: style distance (KID x 10³) 24.0 against 20.0 of the baseline" in short
    assert "trained only twice: the luck of training is not included" in short
    assert f"| style | method | gates | KID1k {TIMES}10³, no swap |" in short
    assert "| flat | freeze\\_sg | pass | 24.0 ± 0.0 | 0.06 | 4.4 ± 0.0 | 0.50 ± 0.00 |" in short
    assert f"| method | swap | seeds | gates | KID1k {TIMES}10³ `{EXTRACTOR}` | FID1k `{EXTRACTOR}` |" in full
    assert "| baseline | no swap | 2 | pass | **20.00** ± 0.00 |" in full
    assert "| *source, untuned* |  |  |  | 400.00 | 50.0 |" in full
    assert "seed s1: not run" in full


def test_hostile_names_are_shown_as_text(published: Path) -> None:
    assert HOSTILE in (published / "table.csv").read_text().replace('""', '"')
    markdown = (published / "table.md").read_text()
    assert "<" not in markdown
    assert "&lt;script&gt;&\"'$x\\_1$\\|" in markdown


def test_the_numbers_that_git_keeps_have_stable_keys(published: Path) -> None:
    numbers = json.loads((published / "metrics.json").read_text())["flat"]
    assert set(numbers) == {"baseline", "freeze_sg"}
    assert set(numbers["baseline"]) == {"no_swap", "recommended", "gates"}
    assert numbers["freeze_sg"]["no_swap"] == {"kid": 24.0, "fid": 4.4, "similarity": 0.5}
    assert numbers["freeze_sg"]["gates"] == {"memorisation": "pass", "collapse": "pass"}
    against = numbers["freeze_sg"]["against_baseline"]
    assert set(against) == {"no_swap", "recommended", "comparable_kid"}
    assert against["no_swap"]["gain"] == pytest.approx(0.2)
    assert against["no_swap"]["significant"] is True
    assert 0 < against["no_swap"]["p_holm"] < 0.05
    assert len((published / "metrics.json").read_text()) < 10_000


def test_gates_are_marked_and_what_fails_is_not_ranked(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline", "freeze_g"), ("s0",))
    rows = [cell("none", 0, 1.0, 0.9, gate_memorisation="fail"), cell("weights", 8, 30, 0.5, gate_collapse="alarm")]
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), levels(20, 0.3))
    write_evaluation(tmp_path / "evaluate", ("freeze_g", "flat", "s0"), rows)
    compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "run"))
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| freeze\\_g | no swap | 1 | **memorisation: fail** | 1.00 |" in text  # the lowest KID, and not in bold
    assert "| freeze\\_g | weights up to 8 px ← | 1 | **collapse: alarm** |" in text
    assert "Without a swap not ranked" in text
    assert "| flat | freeze\\_g | **memorisation: fail** |" in text


def test_a_method_is_not_ranked_on_what_it_trains_on(tmp_path: Path) -> None:
    wanted = ["landmark_nme", "lowres_rgb_mse_8"]
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline", "loss"), ("s0",), similarity=wanted)
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), levels(20, 0.3))
    write_evaluation(
        tmp_path / "evaluate", ("loss", "flat", "s0"), levels(20, 0.3, lowres_rgb_mse_8=0.001), techniques=LOSS
    )
    with pytest.raises(UsageError, match=r"compare\.similarity: lowres_rgb_mse_8 is what loss is trained on"):
        compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "run"))
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline", "loss"), ("s0",))
    compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "again"))
    found = read_table(tmp_path / "out" / "table.parquet").about.findings["trained_on"]
    assert found == {"loss": ["lowres_rgb_mse_4", "lowres_rgb_mse_8", "lowres_rgb_mse_16"]}
    assert "**0.0010**" not in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "freeze_g"}, r"compare\.baseline.*'freeze_g'"), ({"similarity": []}, r"compare\.similarity"),
        ({"max_style_ratio": 0.0}, r"compare\.max_style_ratio"), ({"resamples": 10}, r"compare\.resamples"),
        ({"confidence": 1.0}, r"compare\.confidence"), ({"max_fid_ratio": 0.3}, "max_fid_ratio"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline",), ("s0",), **change)
    write_evaluation(tmp_path / "evaluate", ("baseline", "flat", "s0"), levels(20, 0.3))
    with pytest.raises(ParamsError, match=said):
        compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "run"))
    assert not (tmp_path / "out").exists()


def test_tiles_that_are_no_squares_are_named(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml", ("flat",), ("baseline",), ("s0",))
    write_evaluation(
        tmp_path / "evaluate", ("baseline", "flat", "s0"), levels(20, 0.3), lambda _: [np.zeros((4, 9, 3), np.uint8)]
    )
    with pytest.raises(CorruptInputError, match=r"tiles/source\.png: 9 x 4 px"):
        compare(params, tmp_path / "evaluate", tmp_path / "train", tmp_path / "out", Run(tmp_path / "run"))


def entries(published: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in JournalReader(published.parent / "run-first").read() if entry["kind"] == kind]


def test_every_cell_is_a_run_that_can_be_filtered_and_plotted(published: Path) -> None:
    cells = {entry["name"]: entry for entry in entries(published, "cell")}
    assert sum("swap" in entry["tags"] for entry in cells.values()) == 7 * 4
    found = cells["freeze_sg flat s1 weights 16"]
    assert found["tags"] == {
        "method": "freeze_sg", "dataset": "flat", "seed": "s1", "snapshot": "", "kimg": "12", "swap": "weights",
        "swap_level": "16", "gate_memorisation": "pass", "gate_collapse": "pass", "z_hash": digest("z"),
        "weights_locked": "yes", "colour": "#0a84c6",
    }  # fmt: skip
    assert (found["values"]["kid"], found["values"][KID], found["values"][SIMILARITY]) == (48.0, 48.0, 0.75)
    assert "baseline flat s0 none" in cells


def test_sliders_run_over_levels_with_the_source_above(published: Path) -> None:
    (faces,) = [entry for entry in entries(published, "cell") if entry["name"] == "freeze_sg flat faces"]
    images = {(image["key"], image["step"]): image["file"] for image in faces["images"]}
    assert {step for key, step in images if key == "faces/flat weights"} == {0, 8, 16}
    assert {step for key, step in images if key == "faces/flat features"} == {0, 8}
    strip = read_image(published.parent / "run-first" / images["faces/flat weights", 16])
    assert strip.shape == (2 * SIDE, 3 * SIDE, 3)
    assert strip[0, 0, 0] == paint("source")[0][0, 0, 0]
    assert strip[SIDE, SIDE, 0] == paint("weights-16")[1][0, 0, 0]


def test_tables_datasets_and_files_are_recorded(published: Path) -> None:
    tables = {entry["name"]: entry for entry in entries(published, "table")}
    assert set(tables) == {"comparison", "anchors", "differences"}
    assert len(tables["comparison"]["rows"]) == 16
    assert "words" in tables["differences"]["columns"]
    datasets = {entry["name"]: entry for entry in entries(published, "dataset")}
    assert (datasets["flat"]["digest"], datasets["flat"]["context"]) == (digest("flat"), "evaluation")
    files = {entry["file"].rpartition("/")[2] for entry in entries(published, "artifact")}
    assert files == {"table.parquet", "table.csv", "table.md", "metrics.json"}
    numbers = entries(published, "metrics")[0]["values"]
    assert numbers["flat/freeze_sg/kid"] == 24.0
    assert all(math.isfinite(value) for value in numbers.values())


def test_weights_that_nobody_pinned_are_called_so(published: Path) -> None:
    about = read_table(published / "table.parquet").about
    assert weights_locked(about) == "yes"
    for name in ("random_inception-s0", "stylenet-99999999", "stylenet"):
        about.facts[""]["instruments"][0]["name"] = name
        assert weights_locked(about) == "no"
