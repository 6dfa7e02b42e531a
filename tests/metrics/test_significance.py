from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from model.metrics import significance
from model.metrics.significance import (
    bca_interval,
    block_difference,
    holm,
    hypervolume,
    hypervolume_interval,
    hypervolumes,
    knee,
    knee_frequency,
    paired_difference,
    resampled_means,
    seed_difference,
    spearman,
)


def pairs(seed: int, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(n) * 3
    return common + rng.exponential(size=n) - 1 + shift, common


def test_it_needs_neither_torch_nor_another_metric() -> None:
    code = "import sys, model.metrics.significance; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in loaded
    assert {name for name in loaded if name.startswith("model.metrics.")} == {"model.metrics.significance"}


# --- paired differences


def test_a_paired_difference_has_scipys_bca_interval_up_to_resampling_noise() -> None:
    a, b = pairs(0, 90, 0.3)
    ours = paired_difference(a, b, seed=1, resamples=20_000, confidence=0.9)
    theirs = stats.bootstrap(
        (a - b,), np.mean, n_resamples=20_000, confidence_level=0.9, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx((a - b).mean(), rel=1e-12)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)
    assert (ours.n, ours.unit) == (90, "pairs")


def test_bca_follows_the_skew_that_a_symmetric_interval_misses() -> None:
    a, b = pairs(0, 40, 0.0)
    found = paired_difference(a, b, seed=1, resamples=10_000, confidence=0.95)
    assert found.high - found.value > 1.1 * (found.value - found.low)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_all_signs_of_few_pairs_give_scipys_exact_p(shift: float) -> None:
    a, b = pairs(3, 9, shift)
    exact = stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    found = paired_difference(a, b, seed=0, resamples=1000, confidence=0.95)
    assert found.p == pytest.approx(exact.pvalue, abs=1e-12)


def test_random_signs_approach_the_exact_p() -> None:
    a, b = pairs(4, 12, 0.5)
    exact = paired_difference(a, b, seed=0, resamples=4096, confidence=0.95).p
    sampled = paired_difference(a, b, seed=0, resamples=4095, confidence=0.95).p
    assert sampled == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4095))


def test_p_values_without_a_difference_are_uniform_and_intervals_cover_as_often_as_they_say() -> None:
    found = [paired_difference(*pairs(seed, 60, 0.0), seed=7, resamples=1000, confidence=0.9) for seed in range(300)]
    assert 0.84 <= np.mean([f.low <= 0.0 <= f.high for f in found]) <= 0.95
    rng = np.random.default_rng(0)
    p = [paired_difference(rng.normal(size=40), np.zeros(40), 7, 999, 0.9).p for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_family_of_measures_shares_its_resamples() -> None:
    significance._draws.cache_clear()
    for shift in (0.0, 0.1, 0.2):
        paired_difference(*pairs(1, 50, shift), seed=3, resamples=200, confidence=0.95)
    assert significance._draws.cache_info().misses == 1


def test_resamples_in_batches_draw_every_index_as_often_as_chance_would() -> None:
    counts, signs = significance._draws.__wrapped__(300, 5, 1200)
    assert (counts.sum(axis=1) == 300).all()
    assert counts.var() == pytest.approx(1 - 1 / 300, rel=0.02)
    assert signs.mean() == pytest.approx(0.5, abs=0.005)
    assert counts.sum(axis=0).std() == pytest.approx(np.sqrt(1200), rel=0.15)


def test_columns_share_each_resample() -> None:
    x = np.random.default_rng(0).normal(size=30)
    both = resampled_means(np.stack([x, 2 * x + 1], axis=1), seed=1, resamples=100)
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0] + 1, rtol=1e-12)
    np.testing.assert_array_equal(both[:, 0], resampled_means(x, seed=1, resamples=100))


def test_equal_sides_differ_by_nothing_and_a_constant_difference_has_no_width() -> None:
    a = np.random.default_rng(0).normal(size=40)
    same = paired_difference(a, a, seed=0, resamples=500, confidence=0.95)
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert not same.excludes_zero
    shifted = paired_difference(np.full(40, 2.0), np.full(40, 1.5), seed=0, resamples=500, confidence=0.95)
    assert (shifted.low, shifted.high, shifted.p) == (0.5, 0.5, 1 / 501)
    assert shifted.excludes_zero


def test_an_offset_of_both_sides_changes_nothing() -> None:
    a, b = pairs(0, 60, 0.2)
    near, far = (paired_difference(a + by, b + by, 0, 2000, 0.95) for by in (0.0, 1e6))
    assert (far.value, far.low, far.high, far.p) == pytest.approx((near.value, near.low, near.high, near.p), abs=1e-8)


def test_an_interval_of_two_values_or_extreme_confidence_is_no_error() -> None:
    low, high = bca_interval([0.0, 1.0], seed=0, resamples=100, confidence=0.999999)
    assert 0.0 <= low <= high <= 1.0
    low, high = bca_interval([0.0] * 30 + [1.0], seed=0, resamples=1000, confidence=0.999999)
    assert 0.0 <= low <= high <= 1.0


def test_unusable_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 pairs"):
        paired_difference([1, 2, 3], [1, 2], 0, 10, 0.95)
    with pytest.raises(ValueError, match=r"1 pairs.*at least 2"):
        paired_difference([1], [2], 0, 10, 0.95)
    with pytest.raises(ValueError, match="finite"):
        paired_difference([1, np.nan], [2, 3], 0, 10, 0.95)
    with pytest.raises(ValueError, match="confidence 95"):
        paired_difference([1, 2], [2, 4], 0, 10, 95)
    with pytest.raises(ValueError, match="0 resamples"):
        paired_difference([1, 2], [2, 4], 0, 0, 0.95)


# --- seeds and blocks


@pytest.mark.parametrize(("way", "unit"), [(seed_difference, "seeds"), (block_difference, "blocks")])
def test_seeds_and_blocks_are_compared_by_the_paired_t_test(way: object, unit: str) -> None:
    a, b = [3.1, 2.9, 3.6, 3.0, 3.3], [2.5, 2.8, 2.9, 2.7, 2.6]
    found = way(a, b, confidence=0.95)  # type: ignore[operator]
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert (found.n, found.unit) == (5, unit)
    assert found.excludes_zero


def test_one_or_two_seeds_say_that_they_cannot_tell() -> None:
    for values in ([1.0], [1.0, 2.0]):
        with pytest.raises(ValueError, match=rf"{len(values)} seeds: .* at least 3"):
            seed_difference(values, [0.0] * len(values), 0.95)
    with pytest.raises(ValueError, match=r"2 blocks: .* at least 3"):
        block_difference([1.0, 2.0], [0.0, 1.0], 0.95)


def test_seeds_without_any_scatter_are_the_limit_of_the_t_test() -> None:
    assert seed_difference([1, 1, 1], [1, 1, 1], 0.95).p == 1.0
    apart = seed_difference([2, 2, 2], [1, 1, 1], 0.95)
    assert (apart.low, apart.high, apart.p) == (1.0, 1.0, 0.0)


def test_three_seeds_without_a_difference_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    found = [seed_difference(*rng.normal(size=(2, 3)), confidence=0.95).excludes_zero for _ in range(1000)]
    assert 0.03 <= np.mean(found) <= 0.075


# --- families


def test_holm_gives_the_textbook_values_in_the_given_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, 0.005, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_error_of_the_whole_family() -> None:
    rng = np.random.default_rng(0)
    wrong = [min(holm(list(rng.uniform(size=8)))) < 0.05 for _ in range(4000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, bad])


# --- along a ladder


def test_rank_correlation_is_scipys_and_none_where_there_is_none() -> None:
    assert spearman([1, 2, 3, 4], [2, 4, 8, 16]) == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4], [5, 6, 4, 1]) == pytest.approx(stats.spearmanr([1, 2, 3, 4], [5, 6, 4, 1]).statistic)
    assert spearman([1, 2, 3], [1, 1, 1]) is None
    assert spearman([1], [1]) is None
    with pytest.raises(ValueError, match="3 xs and 2 ys"):
        spearman([1, 2, 3], [1, 2])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_knee_is_where_the_curve_bends_whatever_its_direction_and_scale(sign: int) -> None:
    xs, ys = np.array([1.0, 2, 3, 4, 5]), np.array([0.0, 8, 9, 9.5, 10])
    assert knee(xs, sign * ys) == 2.0
    assert knee(xs[::-1], sign * ys[::-1]) == 2.0
    assert knee(xs * 100, 1e-6 * ys + 5) == 200.0
    assert knee(xs, sign * np.array([0.0, 1, 2, 3, 10])) == 4.0


def test_a_straight_line_and_two_points_have_no_knee() -> None:
    assert knee([1, 2, 3, 4], [2, 4, 6, 8]) is None
    assert knee([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) is None
    assert knee([1, 2], [0, 5]) is None
    assert knee_frequency([1, 2], [0, 5], [[0, 5]]) is None


def test_the_frequency_of_a_knee_tells_a_bend_from_an_accident() -> None:
    rng = np.random.default_rng(0)
    xs, bent, straight = np.arange(6.0), np.array([0.0, 9, 9.2, 9.4, 9.7, 10]), np.arange(6.0) + 0.01 * np.eye(6)[2]
    noise = rng.normal(0.0, 0.3, (500, 6))
    clear, accident = knee_frequency(xs, bent, bent + noise), knee_frequency(xs, straight, straight + noise)
    assert clear == 1.0
    assert accident is not None
    assert accident < 0.5


def test_a_curve_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="in order of x"):
        knee([1, 3, 2, 4], [1, 2, 3, 5])
    with pytest.raises(ValueError, match="expected finite"):
        knee([1, 2, 3], [1, 2])


# --- trade-off curves


def test_the_hypervolume_is_the_area_of_the_union_of_rectangles() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = rng.integers(-2, 12, (int(rng.integers(1, 8)), 2)).astype(float)
        cells = np.zeros((10, 10), dtype=bool)  # from the reference (0, 10) to the right and down
        for x, y in points.astype(int):
            if x > 0 and y < 10:
                cells[: min(x, 10), max(y, 0) :] = True
        inside = points.clip(None, 10).clip([-2, 0], None)
        assert hypervolume(inside, (0.0, 10.0)) == cells.sum()


def test_dominated_and_worse_points_add_nothing_and_better_ones_do() -> None:
    curve, reference = [(0.5, 2.0), (0.8, 4.0)], (0.1, 10.0)
    area = hypervolume(curve, reference)
    assert area == pytest.approx(0.4 * 8 + 0.3 * 6)
    assert hypervolume([*curve, (0.4, 3.0), (0.0, 0.0), (0.9, 11.0)], reference) == pytest.approx(area)
    assert hypervolume([*curve, (0.6, 2.0)], reference) > area
    assert hypervolume([], reference) == 0.0


def test_many_curves_at_once_equal_each_alone_and_give_an_interval() -> None:
    rng = np.random.default_rng(0)
    curves = rng.uniform(0, 1, (200, 5, 2))
    areas = hypervolumes(curves, (0.1, 0.9))
    assert areas.tolist() == [hypervolume(curve, (0.1, 0.9)) for curve in curves]
    low, high = hypervolume_interval(curves, (0.1, 0.9), 0.8)
    assert np.mean((areas >= low) & (areas <= high)) == pytest.approx(0.8, abs=0.02)


def test_a_hypervolume_of_broken_points_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        hypervolume([(0.1, np.nan)], (0.0, 1.0))
    with pytest.raises(ValueError, match=r"\[R, K, 2\]"):
        hypervolumes([[0.1, 0.2]], (0.0, 1.0))
