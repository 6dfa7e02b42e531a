"""What a comparison shows, as plain values whose names the page knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.comparing.points import anchors_of
from tests.comparing.tables import demo_table
from tests.stages.evaluations import KID, cell, findings_of, levels, measured_of, write_evaluation


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    for seed in ("s0", "s1"):
        write_evaluation(tmp_path, ("baseline", "flat", seed), levels(20, 0.3))
        write_evaluation(tmp_path, ("freeze_g", "flat", seed), levels(24, 0.5))
    return findings_of(measured_of(tmp_path, "baseline", "freeze_g", seeds=2))


def test_made_up_findings_have_the_names_of_real_ones(found: dict[str, Any]) -> None:
    """The page is tested on the made-up ones."""
    made = demo_table().about.findings
    assert set(made) == set(found)
    for name in ("points", "differences", "ladders"):
        assert set(made[name][0]) == set(found[name][0]), name
    assert set(made["pareto"]["flat"]["baseline"]) == set(found["pareto"]["flat"]["baseline"])
    assert set(made["claims"]["flat"]["freeze_g"]) == set(found["claims"]["flat"]["freeze_g"])
    assert all(isinstance(sentence, str) for sentences in found["summary"].values() for sentence in sentences)


def test_findings_are_plain_values(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_level_is_recommended_per_method_and_dataset(found: dict[str, Any]) -> None:
    recommended = [(p["dataset"], p["method"]) for p in found["points"] if p["recommended"]]
    assert sorted(recommended) == [("flat", "baseline"), ("flat", "freeze_g")]


def test_claims_list_all_levels_and_the_best_first(found: dict[str, Any]) -> None:
    claim = found["claims"]["flat"]["freeze_g"]
    assert len(claim["levels"]) == 4
    assert claim["gain"] == max(level["gain"] for level in claim["levels"])
    assert "baseline" not in found["claims"]["flat"]


def test_limits_and_floors_follow_the_source_and_the_standard_errors(tmp_path: Path) -> None:
    error = KID.replace("_x1e3", "_x1e3_std")
    rows = [cell("none", 0, 20, 0.3, **{error: 0.7}), cell("weights", 8, 90, 0.5, **{error: 9.0})]
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), rows)
    write_evaluation(tmp_path, ("untrained", "flat", "s0"), [cell("none", 0, 399, 0.9, **{error: 30.0})])
    found = findings_of(measured_of(tmp_path, "baseline", "untrained"), share=0.25)
    assert found["limits"] == {"flat": 100.0}  # a quarter of the source's 400
    assert found["floors"] == {"flat": 0.7}  # what is swapped or draws nothing has a larger KID and a larger error


def test_anchors_have_the_similarity_that_they_are_anchors_of(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.3))
    anchors = anchors_of(measured_of(tmp_path, "baseline").of("flat"))
    assert (anchors["source"]["similarity"], anchors["shuffled"]["similarity"]) == (1.0, 0.0)
    assert anchors["source"][KID] == 400.0
    assert "similarity" not in anchors["real_split"]
