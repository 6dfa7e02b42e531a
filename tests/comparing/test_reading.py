"""Evaluations are read strictly, and only what was measured alike is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import CorruptInputError, MissingInputError
from model.files import write_manifest
from stages.comparing.likeness import SIMILARITY
from stages.measuring.values import Values, read_values, write_values
from tests.stages.evaluations import EXTRACTOR, FID, KID, cell, levels, measured_of, views_of, write_evaluation

BASELINE, RIVAL = ("baseline", "flat", "s0"), ("freeze_g", "flat", "s0")


def test_what_was_not_run_is_listed(tmp_path: Path) -> None:
    lpips = {"metric": "lpips[lpips_vgg]", "reason": "no weights"}
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3), not_run=[lpips])
    write_evaluation(tmp_path, ("baseline", "flat", "s1"), levels(20, 0.3)[:-1], not_run=[lpips])
    measured = measured_of(tmp_path, "baseline", "freeze_g", seeds=2)
    assert measured.missing == (
        "freeze_g on flat, seed s0: not run",
        "freeze_g on flat, seed s1: not run",
        "baseline on flat, seed s1, features up to 8 px: not run",
    )
    assert measured.not_run == [lpips]


def test_folders_that_the_params_file_does_not_name_are_left_out(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, ("abandoned", "flat", "s0"), levels(20, 0.3))
    assert {cell.method for cell in measured_of(tmp_path, "baseline").cells} == {"baseline"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("z_sha256", "0" * 64), ("n_gen", 1000.5), ("n_real", 401), ("n_heldout", 41), ("lmdb_digest", "0" * 64),
        ("instruments", []), ("weights", {"source": "another"}), ("made_with", None),
    ],
)  # fmt: skip
def test_what_was_measured_differently_is_not_compared(tmp_path: Path, name: str, value: Any) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, RIVAL, levels(20, 0.3), **{name: value})
    if name == "made_with":  # another machine is no other measure
        assert len(measured_of(tmp_path, "baseline", "freeze_g").evaluations) == 2
        return
    shown = "source" if name == "weights" else name
    with pytest.raises(CorruptInputError, match=rf"freeze_g-flat-s0.*{shown}.*baseline-flat-s0"):
        measured_of(tmp_path, "baseline", "freeze_g")


def test_datasets_may_differ_in_their_sizes(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, ("baseline", "ink", "s0"), levels(20, 0.3), n_real=17)
    assert len(measured_of(tmp_path, "baseline", datasets=("flat", "ink")).evaluations) == 2


def test_style_of_another_extractor_does_not_rank(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, RIVAL, levels(20, 0.3), style="inception-00000000")
    with pytest.raises(CorruptInputError, match=rf"style is 'inception-00000000', but '{EXTRACTOR}'"):
        measured_of(tmp_path, "baseline", "freeze_g")
    write_evaluation(tmp_path, RIVAL, [cell("none", 0, 20, 0.3), cell("weights", 8, 20, 0.3, **{KID: None})])
    with pytest.raises(CorruptInputError, match=r"freeze_g-flat-s0.*no kid1k_x1e3.* of weights up to 8 px"):
        measured_of(tmp_path, "baseline", "freeze_g")


def test_methods_with_different_snapshots_are_not_compared(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, RIVAL, [cell("none", 0, 20, 0.3, "best"), cell("none", 0, 30, 0.5, "4_kimg")])
    with pytest.raises(CorruptInputError, match=r"freeze_g-flat-s0.*snapshots \['4_kimg', 'best'\], but \['kept'\]"):
        measured_of(tmp_path, "baseline", "freeze_g")


def test_broken_evaluations_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="dvc repro"):
        measured_of(tmp_path, "baseline")
    out = write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    (out / "metrics.json").write_text((out / "metrics.json").read_text() + " ")
    with pytest.raises(CorruptInputError, match=r"baseline-flat-s0/metrics\.json"):
        measured_of(tmp_path, "baseline")
    for changes, said in (
        ({"format": 2}, "format 2"),
        ({"method": "freeze_g"}, "freeze_g"),
        ({"n_real": None, "cells": [{"swap": "none"}]}, "KeyError"),
        ({"cells": [cell("none", 0, 20, 0.3, gate_collapse="perhaps")]}, "gate_collapse is 'perhaps'"),
    ):
        write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
        rewrite(tmp_path / "baseline-flat-s0", changes)
        with pytest.raises(CorruptInputError, match=rf"metrics\.json.*{said}"):
            measured_of(tmp_path, "baseline")


def rewrite(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    write_manifest(folder)


def test_values_that_do_not_fit_the_cells_are_named(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    rows = read_values(folder / "values.parquet")
    short = rows[0]._replace(values=rows[0].values[:-1])
    stray = Values("", "weights", 99, "landmark_nme", "pairs", rows[0].values)
    for changed, said in (([short, *rows[1:]], "59 values of landmark_nme"), ([*rows, stray], "'weights', 99")):
        write_values(folder / "values.parquet", changed)
        write_manifest(folder)
        with pytest.raises(CorruptInputError, match=rf"values\.parquet.*{said}"):
            measured_of(tmp_path, "baseline")


def test_a_null_is_no_number_and_numbers_per_pair_follow_their_cell(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, [cell("none", 0, 20, 0.5), cell("weights", 8, 30, 0.7, edge_ssim=None)])
    plain, swapped = measured_of(tmp_path, "baseline").cells
    assert "edge_ssim" in plain.values
    assert "edge_ssim" not in swapped.values
    assert set(plain.pairs) == {"landmark_nme", "landmark_nme_own", "attribute_mse", "attribute_mse_own"}
    assert np.mean(swapped.pairs["landmark_nme"]) == pytest.approx(0.3 * 0.5)
    assert set(plain.blocks) == {KID, FID}


def test_the_worst_gate_over_seeds_counts_and_what_fails_is_not_ranked(tmp_path: Path) -> None:
    write_evaluation(tmp_path, BASELINE, levels(20, 0.3))
    write_evaluation(tmp_path, ("baseline", "flat", "s1"), levels(20, 0.3, gate_memorisation="fail"))
    write_evaluation(tmp_path, RIVAL, levels(20, 0.3, gate_memorisation="alarm"))
    (view,) = views_of(measured_of(tmp_path, "baseline", "freeze_g", seeds=2))
    start, other = (view.start(method) for method in ("baseline", "freeze_g"))
    assert start is not None
    assert other is not None
    assert (start.gates["gate_memorisation"], start.ranked) == ("fail", False)
    assert (other.gates["gate_memorisation"], other.ranked) == ("alarm", True)
    assert view.chosen["baseline"] is None
    assert start.mean[SIMILARITY] == pytest.approx(0.3)
