from __future__ import annotations

import numpy as np
import pytest
from torch_fidelity.metric_kid import kernel_mmd

from model.metrics import kid as kid_module
from model.metrics.kid import kid


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


def test_value_equals_torch_fidelity_on_one_subset() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 32)), rng.standard_normal((200, 32)) * 1.1
    expected = kernel_mmd(
        x, y, kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1
    )
    assert kid(x, y).value == pytest.approx(float(expected), abs=1e-12)


def test_blocking_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 8)), rng.standard_normal((70, 8)) + 0.1
    whole = kid(x, y)
    monkeypatch.setattr(kid_module, "BLOCK_ROWS", 7)
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
