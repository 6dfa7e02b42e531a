"""Differences between methods: what is more than chance is called significant, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.comparing.points import Scale, mean_points
from stages.comparing.statistics import COMPARABLE, NO_SWAP, RECOMMENDED, ahead, differences, find
from stages.comparing.table import Cell
from stages.comparing.view import Rules, View
from tests.stages.evaluations import FID, KID, cell, findings_of, measured_of, write_evaluation

METHODS = ("baseline", "freeze_g", "freeze_sg", "structure_loss")
PAIRS, BLOCKS = 200, 5
Draw = Callable[[str, str], tuple[float, float]]  # method, seed -> the training's own similarity and KID


def view_of(random: np.random.Generator, trained: Draw, seeds: int = 1, methods: tuple[str, ...] = METHODS) -> View:
    """Make cells without a swap: faces differ far more than methods, and each training has its own luck."""
    faces, cells = 0.2 * random.normal(size=PAIRS), []
    for method in methods:
        for seed in (f"s{n}" for n in range(seeds)):
            similarity, kid = trained(method, seed)
            pairs = similarity + faces + 0.1 * random.normal(size=PAIRS)
            blocks = kid + random.normal(size=BLOCKS)
            values = {"similarity": float(pairs.mean()), "kid": float(blocks.mean()), "fid": float(blocks.mean())}
            found = {"kid": blocks, "fid": blocks}
            cells.append(Cell(method, "flat", seed, "", 12.0, "none", 0, values, {}, {"similarity": pairs}, found))
    points = tuple(mean_points(cells))
    chosen = {point.method: point for point in points}
    return View(
        "flat", Rules("baseline", 0.5, 500, 0.95), "fid", Scale("kid", 0.5, 400, 200), {}, tuple(cells), points, chosen
    )


def significant(view: View, method: str, measure: str) -> bool:
    row = find(differences(view), "flat", method, measure, NO_SWAP)
    assert row is not None
    return bool(row["significant"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_noise_is_called_significant_in_at_most_one_of_twenty_comparisons(seeds: int) -> None:
    alarms = {"similarity": 0, "kid": 0}
    for trial in range(20):
        random = np.random.default_rng(trial)
        view = view_of(random, lucky(random, 0.02 if seeds > 1 else 0.0), seeds)
        rows = [row for row in differences(view) if row["at"] == NO_SWAP and row["significant"]]
        for measure in alarms:
            alarms[measure] += any(row["measure"] == measure for row in rows)
    assert max(alarms.values()) <= 1


def lucky(random: np.random.Generator, luck: float) -> Draw:
    return lambda method, seed: (0.3 + luck * random.normal(), 20 + luck * random.normal())


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_real_gain_is_significant_and_those_without_one_are_not(seeds: int) -> None:
    random = np.random.default_rng(7)
    view = view_of(
        random, lambda method, seed: (0.4 if method == "freeze_g" else 0.3, 60 if method == "freeze_sg" else 20), seeds
    )
    assert significant(view, "freeze_g", "similarity")
    assert significant(view, "freeze_sg", "kid")
    assert not significant(view, "structure_loss", "similarity")
    row = find(differences(view), "flat", "freeze_g", "similarity", NO_SWAP)
    assert row is not None
    assert row["low"] < 0.1 < row["high"]
    assert row["unit"] == ("pairs" if seeds == 1 else "seeds")
    assert row["n"] == (PAIRS if seeds == 1 else seeds)
    other = find(differences(view), "flat", "freeze_sg", "kid", NO_SWAP)
    assert other is not None
    assert (other["unit"], other["n"]) == (("blocks", BLOCKS) if seeds == 1 else ("seeds", 3))


def test_a_gain_of_two_lucky_faces_of_one_training_is_not_one_of_three_trainings() -> None:
    """Over the faces of one training the difference is certain; over trainings that differ by more it is not."""
    lucky = {"s0": 0.35, "s1": 0.25, "s2": 0.33}
    luck: Draw = lambda method, seed: (lucky[seed] if method == "freeze_g" else 0.3, 20)  # noqa: E731
    one = view_of(np.random.default_rng(1), luck, 1, METHODS[:2])
    three = view_of(np.random.default_rng(1), luck, 3, METHODS[:2])
    assert significant(one, "freeze_g", "similarity")
    assert not significant(three, "freeze_g", "similarity")
    (first, *_), (again, *_) = differences(one), differences(three)
    assert "one training of each; the luck of training is not included" in first["words"]
    assert "luck" not in again["words"]
    assert "over three trainings of each" in again["words"]
    assert again["words"].startswith("no significant difference between freeze g and the baseline")


def test_p_values_are_corrected_for_all_methods_of_a_dataset() -> None:
    random = np.random.default_rng(3)
    view = view_of(random, lambda method, seed: (0.32 if method == "freeze_g" else 0.3, 20))
    rows = [row for row in differences(view) if (row["measure"], row["at"]) == ("similarity", NO_SWAP)]
    ordered = sorted(rows, key=lambda row: row["p"])
    assert [row["method"] for row in rows] == list(METHODS[1:])
    assert ordered[0]["p_holm"] == pytest.approx(min(1.0, 3 * ordered[0]["p"]))
    assert all(row["p_holm"] >= row["p"] for row in rows)
    assert "corrected for 3 methods" in rows[0]["words"]
    alone = view_of(np.random.default_rng(3), lambda method, seed: (0.3, 20), 1, METHODS[:2])
    assert all(row["p"] == row["p_holm"] and "corrected" not in row["words"] for row in differences(alone))


def test_significant_needs_both_the_interval_and_the_corrected_p() -> None:
    """Three methods that each gain a little: one alone is significant, as one of three it is not."""
    for trial in range(200):
        random = np.random.default_rng(trial)
        view = view_of(random, lambda method, seed: (0.3 if method == "baseline" else 0.316, 20))
        for row in differences(view):
            if row["measure"] == "similarity" and row["low"] > 0 and row["p"] < 0.05 < row["p_holm"]:
                assert not row["significant"]
                assert row["words"].startswith("no significant difference")
                return
    raise AssertionError("no such case among 200")


def test_at_comparable_style_the_baseline_is_given_the_same_kid(tmp_path: Path) -> None:
    """The recommended level of the method has KID 40; the baseline has 0.6 there, between its 0.4 and 0.8."""
    rows = [cell("none", 0, 20, 0.4), cell("weights", 8, 80, 0.8)]
    for seed in ("s0", "s1", "s2"):
        write_evaluation(tmp_path, ("baseline", "flat", seed), rows)
        write_evaluation(tmp_path, ("freeze_g", "flat", seed), [cell("none", 0, 40, 0.7)])
    for seeds, unit in ((1, "pairs"), (2, "pairs"), (3, "seeds")):
        found = findings_of(measured_of(tmp_path, "baseline", "freeze_g", seeds=seeds))["differences"]
        row = find(found, "flat", "freeze_g", "similarity", COMPARABLE)
        assert row is not None
        assert row["difference"] == pytest.approx(0.1)
        assert (row["unit"], row["significant"]) == (unit, True)
        assert "where the baseline is given the same KID" in row["words"]
        assert {r["measure"] for r in found if r["at"] == RECOMMENDED} == {"similarity", "similarity_own", KID, FID}


def test_a_method_that_a_gate_fails_is_in_no_difference(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), [cell("none", 0, 20, 0.4)])
    write_evaluation(tmp_path, ("freeze_g", "flat", "s0"), [cell("none", 0, 20, 0.9, gate_memorisation="fail")])
    found = findings_of(measured_of(tmp_path, "baseline", "freeze_g"))
    assert found["differences"] == []
    assert found["claims"] == {"flat": {}}
    assert any("not ranked" in sentence and "freeze g" in sentence for sentence in found["summary"]["flat"])


def test_the_lead_over_every_other_method_is_tested_for_the_summary() -> None:
    random = np.random.default_rng(5)
    view = view_of(random, lambda method, seed: ({"baseline": 0.2, "freeze_g": 0.4}.get(method, 0.399), 20))
    rows = {row["against"]: row["significant"] for row in ahead(view, "freeze_g", ["baseline", "freeze_sg"])}
    assert rows == {"baseline": True, "freeze_sg": False}


def test_equal_inputs_give_equal_numbers_and_other_methods_change_no_interval() -> None:
    def made(methods: tuple[str, ...]) -> list[dict[str, object]]:
        return differences(view_of(np.random.default_rng(2), lambda method, seed: (0.3, 20), 1, methods))

    assert made(METHODS) == made(METHODS)
    few, many = made(METHODS[:2]), made(METHODS)
    assert few[0]["low"] == many[0]["low"]
