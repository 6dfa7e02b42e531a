from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from model.metrics import kid as kid_module
from model.metrics.kid import kid, kid_permutation, kid_subset


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 3), (7, 12, 5), (20, 9, 1)])
def test_value_equals_the_definition(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) + 0.3
    assert kid(x, y).value == pytest.approx(brute_force(x, y), rel=1e-12)


def test_blocking_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 8)), rng.standard_normal((70, 8)) + 0.1
    whole = kid(x, y)
    monkeypatch.setattr(kid_module, "TILE_ROWS", 3)
    assert kid(x, y).value == pytest.approx(whole.value, rel=1e-12)
    assert kid(x, y).std == pytest.approx(whole.std, rel=1e-9)


def test_equal_distributions_average_to_zero() -> None:
    draws = [kid(*np.random.default_rng(i).standard_normal((2, 60, 16))).value for i in range(200)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws))


def test_jackknife_error_is_the_spread_over_repeated_draws() -> None:
    results = [
        kid(rng.standard_normal((200, 8)), rng.standard_normal((200, 8)) + 0.5)
        for rng in map(np.random.default_rng, range(60))
    ]
    spread = np.std([result.value for result in results])
    assert np.mean([result.std for result in results]) == pytest.approx(spread, rel=0.35)


def test_error_of_tiny_sets_is_unknown() -> None:
    assert np.isnan(kid(np.eye(3), np.eye(3) + 1).std)


def test_the_jackknife_leaves_out_a_block_of_one_side_at_a_time() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((43, 4)), rng.standard_normal((9, 4)) + 0.4
    variance = 0.0
    for which, side in enumerate((x, y)):
        blocks = np.array_split(np.arange(len(side)), min(kid_module.JACKKNIFE_BLOCKS, len(side) // 2))
        left = [np.delete(side, block, axis=0) for block in blocks]
        estimates = [brute_force(*((rest, y) if which == 0 else (x, rest))) for rest in left]
        variance += (len(blocks) - 1) * np.var(estimates)
    assert kid(x, y).std == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_single_precision_features_are_compared_in_double_precision() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 300, 16)).astype(np.float32)
    assert kid(x, y) == kid(x.astype(np.float64), y.astype(np.float64))


def test_the_subset_form_is_the_mean_over_the_subsets_it_is_given() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 6)), rng.standard_normal((40, 6)) + 0.2
    picks = [(rng.choice(50, 12, replace=False), rng.choice(40, 12, replace=False)) for _ in range(5)]
    values = [brute_force(x[i], y[j]) for i, j in picks]
    found = kid_subset(x, y, seed=0, picks=picks)
    assert found is not None
    assert (found.value, found.std) == pytest.approx((np.mean(values), np.std(values)), rel=1e-12)


def test_random_subsets_are_those_of_the_seed_and_agree_with_the_full_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 6)), rng.standard_normal((200, 6)) + 0.5
    first, second, other = (kid_subset(x, y, seed, subsets=50, size=100) for seed in (1, 1, 2))
    assert first == second
    assert first is not None
    assert first != other
    assert first.value == pytest.approx(kid(x, y).value, abs=4 * first.std / np.sqrt(50))


@pytest.mark.parametrize(("n", "m"), [(100, 300), (300, 100), (20, 20)])
def test_a_side_of_no_more_images_than_the_subset_has_no_subset_form(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
    assert kid_subset(x, y, seed=0, subsets=3, size=100) is None


def test_subsets_that_cannot_be_measured_are_refused() -> None:
    x = np.eye(5)
    with pytest.raises(ValueError, match="at least 2 of each"):
        kid_subset(x, x, seed=0, picks=[(np.array([1]), np.array([1, 2]))])
    with pytest.raises(ValueError, match="no subset"):
        kid_subset(x, x, seed=0, picks=[])
    with pytest.raises(ValueError, match="0 subsets of 3"):
        kid_subset(x, x, seed=0, subsets=0, size=3)


def test_permutation_p_values_of_equal_distributions_are_uniform() -> None:
    p = [kid_permutation(*np.random.default_rng(i).standard_normal((2, 25, 4)), i, 99).p for i in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_permutation_test_sees_a_shift_and_its_value_is_the_full_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((120, 8)), rng.standard_normal((60, 8)) + 0.4
    result = kid_permutation(x, y, seed=1, permutations=499)
    assert result.p == 1 / 500
    assert result.value == pytest.approx(kid(x, y).value, rel=1e-10)
    assert kid_permutation(x, y, seed=1, permutations=499) == result


def test_permutations_that_only_rename_the_sides_count_as_extreme_as_the_data() -> None:
    x, y = np.array([[0.0], [0.1]]), np.array([[5.0], [5.1]])
    # Of the six divisions of four images two are the data's own: p is about 1/3, whatever round-off says.
    assert kid_permutation(x, y, seed=0, permutations=3000).p == pytest.approx(1 / 3, abs=0.04)


def test_a_permutation_test_of_too_many_images_says_what_it_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kid_module, "GRAM_ROWS", 10)
    with pytest.raises(ValueError, match=r"12 images.*at most 10"):
        kid_permutation(np.eye(6), np.eye(6), seed=0, permutations=9)
    with pytest.raises(ValueError, match="0 permutations"):
        kid_permutation(np.eye(5), np.eye(5), seed=0, permutations=0)
