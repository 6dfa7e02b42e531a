from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from model.metrics.bootstrap import mean_interval


def test_interval_equals_scipy_bca_up_to_resampling_noise() -> None:
    x = np.random.default_rng(0).exponential(size=80)
    ours = mean_interval(x, seed=1, resamples=20_000)
    reference = bootstrap(
        (x,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.03 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.03 * width)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for i in range(200):
        interval = mean_interval(np.random.default_rng(i).normal(3.0, 1.0, 50), seed=i, resamples=500)
        covered += interval.low <= 3.0 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_equal_values_have_no_width_and_the_seed_fixes_the_rest() -> None:
    constant = mean_interval(np.full(5, 2.0), seed=0)
    assert (constant.low, constant.mean, constant.high) == (2.0, 2.0, 2.0)
    x = np.random.default_rng(0).normal(size=20)
    assert mean_interval(x, seed=3) == mean_interval(x, seed=3)


def test_one_value_or_a_broken_one_is_refused() -> None:
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="at least 2 finite values"):
            mean_interval(np.array(bad), seed=0)
