"""Who is closer to the source at equal style: dominance, recommended levels, gains at comparable KID."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.comparing.claim import as_claim, at_comparable_style, best_gain, dominated, frontiers, gains, recommended
from stages.comparing.points import Point, Scale
from tests.stages.evaluations import KID, cell, levels, measured_of, views_of, write_evaluation

SCALE = Scale("kid", 0.5, 1000.0, 500.0)


def point(swap: str, level: int, kid: float, similarity: float, **gates: str) -> Point:
    return Point("flat", "baseline", "", swap, level, 1, (12.0,), {"kid": kid, "similarity": similarity}, {}, gates)


def test_gain_is_similarity_minus_the_baselines_at_the_same_kid(tmp_path: Path) -> None:
    """Swapping weights takes the baseline from (KID 20, 0.4) to (80, 0.8): at KID 40, half way in log KID, 0.6."""
    for seed in ("s0", "s1"):
        rows = [cell("none", 0, 20, 0.4), cell("weights", 8, 80, 0.8), cell("features", 8, 50, 0.45)]
        write_evaluation(tmp_path, ("baseline", "flat", seed), rows)
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), [cell("none", 0, 40, 0.75), cell("weights", 8, 90, 0.95)])
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s1"), [cell("none", 0, 40, 0.55), cell("weights", 8, 90, 0.95)])
    (view,) = views_of(measured_of(tmp_path, "baseline", "freeze_sg", seeds=2))
    plain, swapped = gains(view.points, view.cells, ("freeze_sg", "baseline"), view.scale)
    assert plain.baseline == pytest.approx(0.6)
    assert plain.gain == pytest.approx(0.65 - 0.6)
    assert plain.per_seed == pytest.approx({"s0": 0.15, "s1": -0.05})
    assert plain.seeds_won == 1
    assert swapped.gain == pytest.approx(0.95 - 0.8)  # beyond its curve: its most similar point
    strict, lax = (replace(view.scale, limit=limit) for limit in (50.0, 100.0))
    assert best_gain([plain, swapped], strict) is plain  # a KID over the limit is no drawing
    assert best_gain([plain, swapped], lax) is swapped
    claim = as_claim([plain, swapped], strict)
    assert claim is not None
    assert (claim["kid"], claim["gain"], claim["seeds_won"], claim["seeds"]) == pytest.approx((40.0, 0.05, 1, 2))


def test_below_its_lowest_kid_the_baseline_is_given_its_best_point(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), levels(20, 0.4))
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), [cell("none", 0, 10, 0.5)])
    (view,) = views_of(measured_of(tmp_path, "baseline", "freeze_sg"))
    (gain,) = gains(view.points, view.cells, ("freeze_sg", "baseline"), view.scale)
    assert gain.baseline == pytest.approx(0.4)


def test_without_a_baseline_there_is_no_claim(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), levels(20, 0.4))
    (view,) = views_of(measured_of(tmp_path, "freeze_sg"))
    assert gains(view.points, view.cells, ("freeze_sg", "baseline"), view.scale) == []
    assert view.rivals == []


def test_what_a_gate_fails_is_neither_offered_nor_compared(tmp_path: Path) -> None:
    """A memoriser has a wonderful KID: it must not become the curve that others are measured by."""
    memorised = cell("weights", 8, 1.0, 0.95, gate_memorisation="fail")
    write_evaluation(tmp_path, ("baseline", "flat", "s0"), [cell("none", 0, 20, 0.4), memorised])
    write_evaluation(tmp_path, ("freeze_sg", "flat", "s0"), [cell("none", 0, 20, 0.5), memorised])
    (view,) = views_of(measured_of(tmp_path, "baseline", "freeze_sg"))
    (gain,) = gains(view.points, view.cells, ("freeze_sg", "baseline"), view.scale)
    assert gain.gain == pytest.approx(0.1)
    assert [p.swap for p in view.chosen.values() if p is not None] == ["none", "none"]
    assert dominated(view.points, KID) == {0}  # by the other method's start, not by a memoriser


def test_the_recommended_level_regains_more_likeness_than_it_loses_style() -> None:
    """From (KID 10, 0.2) to the source at (KID 1000, 1): KID 100 has lost half of the style."""
    points = [
        point("none", 0, 10, 0.2), point("weights", 8, 31.6, 0.5), point("weights", 16, 100, 0.9),
        point("features", 8, 100, 0.3),
    ]  # fmt: skip
    assert recommended(points, SCALE) is points[2]
    assert recommended(points, replace(SCALE, limit=50.0)) is points[1]  # 16 px no longer counts as drawn
    assert recommended([points[0], points[3]], SCALE) is points[0]
    assert recommended(points[1:], SCALE) is points[1]  # nothing to start from: the lowest KID
    assert recommended(points, replace(SCALE, source=math.inf, limit=math.inf)) is points[0]
    failed = [replace(p, gates={"gate_collapse": "fail"}) for p in points]
    assert recommended([*failed[:2], points[2], failed[3]], SCALE) is points[2]
    assert recommended(failed, SCALE) is None


def test_a_kid_of_zero_or_less_is_read_at_the_floor() -> None:
    points = [point("none", 0, -0.3, 0.2), point("weights", 8, 0.4, 0.3), point("weights", 16, 100, 0.9)]
    assert recommended(points[:2], SCALE) is points[1]  # both below the floor: no style is lost
    curves = frontiers(points, "kid")
    assert at_comparable_style(curves, 0.1, SCALE)[0] == pytest.approx(0.3)
    assert at_comparable_style(curves, -5.0, SCALE)[0] == pytest.approx(0.2)
    similarity, shares = at_comparable_style(curves, math.sqrt(0.5 * 100), SCALE)
    assert similarity == pytest.approx(0.6)
    assert shares == pytest.approx({("", "weights", 8): 0.5, ("", "weights", 16): 0.5})


def test_points_beaten_in_kid_and_similarity_are_dominated() -> None:
    points = [point("none", 0, 10, 0.2), point("weights", 8, 20, 0.2), point("weights", 16, 20, 0.5)]
    points.append(point("features", 8, 10, 0.2))
    assert dominated(points, "kid") == {1}  # equal points do not beat each other


@given(
    st.lists(st.tuples(st.floats(-1.0, 200), st.floats(-1, 1)), min_size=1, max_size=5),
    st.tuples(st.floats(-1.0, 200), st.floats(-1, 1)),
    st.floats(-2.0, 300),
    st.floats(-2.0, 300),
)
def test_neither_a_worse_kid_nor_another_kind_of_swap_takes_likeness_away(
    pairs: list[tuple[float, float]], other: tuple[float, float], kid: float, worse: float
) -> None:
    points = [point("weights" if n else "none", n, *pair) for n, pair in enumerate(pairs)]
    curves = frontiers(points, "kid")
    offered, shares = at_comparable_style(curves, kid, SCALE)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert offered <= at_comparable_style(curves, max(kid, worse), SCALE)[0] + 1e-9
    assert min(s for _, s in pairs) - 1e-9 <= offered <= max(s for _, s in pairs) + 1e-9
    if len(pairs) > 1:
        more = frontiers([*points, point("features", 8, *other)], "kid")
        assert at_comparable_style(more, kid, SCALE)[0] >= offered - 1e-9
