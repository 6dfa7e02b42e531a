from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from model.metrics.diversity import Diversity, feature_ruler
from model.metrics.gates import Limits, Verdict, gate, memorisation, worst_of
from model.metrics.memorisation import nn_ratio, nn_ratio_tenth
from tests.metrics.toys import COLLAPSED, COPIERS, WORLDS, World, honest

PARAMS = yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())["evaluate"]["gates"]
COPYING, VARIETY = Limits(**PARAMS["nn_ratio"]), Limits(**PARAMS["variety"])
SEEDS = range(20)
Generator = Callable[[World, np.random.Generator], np.ndarray]


def verdicts(world: World, generator: Generator, seed: int) -> tuple[Verdict, Verdict]:
    """Memorisation, collapse."""
    drawn = generator(world, np.random.default_rng(1000 + seed))
    ratios = (ratio(drawn, world.train, world.heldout) for ratio in (nn_ratio, nn_ratio_tenth))
    variety = Diversity(feature_ruler("toy"), world.train, seed=0).variety(drawn)
    return memorisation(*ratios, COPYING), gate(variety, VARIETY)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_an_honest_generator_is_flagged_in_at_most_one_of_twenty_seeds(world: str) -> None:
    found = [verdicts(WORLDS[world](seed), honest, seed) for seed in SEEDS]
    assert sum(both != ("pass", "pass") for both in found) <= 1


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("toy", COPIERS)
def test_a_generator_that_copies_fails_for_memorisation_and_nothing_else_in_twenty_of_twenty_seeds(
    world: str, toy: str
) -> None:
    assert {verdicts(WORLDS[world](seed), COPIERS[toy], seed) for seed in SEEDS} == {("fail", "pass")}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("toy", COLLAPSED)
def test_a_collapsed_generator_is_flagged_for_collapse_in_twenty_of_twenty_seeds(world: str, toy: str) -> None:
    found = {verdicts(WORLDS[world](seed), COLLAPSED[toy], seed)[1] for seed in SEEDS}
    assert "pass" not in found
    assert found == {"fail"} or toy == "low variance"


def test_limits_are_passed_at_and_above_them() -> None:
    limits = Limits(alarm=0.7, fail=0.4)
    assert [gate(value, limits) for value in (1.2, 0.7, 0.69, 0.4, 0.39, 0.0)] == [
        "pass", "pass", "alarm", "alarm", "fail", "fail",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="NaN"):
        gate(float("nan"), limits)


@pytest.mark.parametrize(("alarm", "fail"), [(0.4, 0.7), (0.7, -0.1)])
def test_limits_in_the_wrong_order_are_refused(alarm: float, fail: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= fail <= alarm"):
        Limits(alarm, fail)


def test_the_gravest_verdict_counts_and_what_cannot_be_measured_is_left_out() -> None:
    limits = Limits(alarm=0.7, fail=0.4)
    assert worst_of("pass", "fail", "alarm") == "fail"
    assert worst_of() == "pass"
    assert memorisation(1.0, 0.3, limits) == "fail"
    assert memorisation(0.6, 1.0, limits) == "alarm"
    assert memorisation(1.0, float("nan"), limits) == "pass"
