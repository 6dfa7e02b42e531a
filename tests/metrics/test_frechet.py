from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.metrics import frechet as frechet_module
from model.metrics.frechet import Gaussian, frechet_between, frechet_distance, frechet_of_moments
from model.metrics.moments import Moments, moments_of


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spectrum = 1.0 / np.sqrt(np.arange(1, d + 1))
    return (rng.standard_normal((n, d)) * spectrum) @ rng.standard_normal((d, d)) * scale + shift


def exact_sample(n: int, covariance_root: np.ndarray, seed: int) -> np.ndarray:
    """Rows whose sample mean is exactly 0 and sample covariance exactly ``root root^T``."""
    raw = np.random.default_rng(seed).standard_normal((n, len(covariance_root)))
    q, _ = np.linalg.qr(raw - raw.mean(axis=0))
    return q * np.sqrt(n - 1) @ covariance_root.T


def traces(x: np.ndarray, y: np.ndarray) -> float:
    return float(x.var(axis=0, ddof=1).sum() + y.var(axis=0, ddof=1).sum())


@pytest.mark.parametrize(("rank_a", "rank_b"), [(24, 24), (24, 5), (7, 12), (1, 24)])
def test_commuting_covariances_of_any_rank_have_the_closed_form(rank_a: int, rank_b: int) -> None:
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.standard_normal((24, 24)))
    a, b = rng.uniform(0.1, 3.0, 24), rng.uniform(0.1, 3.0, 24)
    a[rank_a:], b[: 24 - rank_b] = 0.0, 0.0
    x = exact_sample(200, basis * np.sqrt(a), 4)
    y = exact_sample(150, basis * np.sqrt(b), 5) + 0.7
    expected = 24 * 0.7**2 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_a_set_smaller_than_its_features_has_the_closed_form_too() -> None:
    basis, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((60, 60)))
    a, b = np.zeros(60), np.random.default_rng(4).uniform(0.1, 3.0, 60)
    a[:9] = np.arange(1, 10)
    x = exact_sample(10, np.eye(9), 4) @ (basis[:, :9] * np.sqrt(a[:9])).T
    y = exact_sample(150, basis * np.sqrt(b), 5)
    assert frechet_distance(x, y) == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 30), st.integers(0, 10_000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_features_and_moments_agree_with_the_eigenvalues_of_the_product_on_any_shape(
    n: int, m: int, d: int, seed: int
) -> None:
    x, y = features(seed, n, d), features(seed + 1, m, d)
    x[:, 0] = 1.0  # a constant column
    y[-1] = y[0]  # a duplicate
    scale = traces(x, y)
    exact = frechet_distance(x, y)
    assert frechet_of_moments(moments_of(x), moments_of(y)) == pytest.approx(exact, abs=1e-6 * scale + 1e-12)
    a, b = (np.cov(side, rowvar=False).reshape(d, d) for side in (x, y))
    values = np.linalg.eigvals(a @ b)
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    reference = shift + np.trace(a) + np.trace(b) - 2.0 * np.sqrt(values.astype(complex)).real.sum()
    assert exact == pytest.approx(reference, abs=3e-5 * scale + 1e-12)


@pytest.mark.parametrize("n", [5, 32, 33, 200])
def test_distance_to_itself_is_zero_and_order_does_not_matter(n: int) -> None:
    x = features(0, n, 32)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    y = features(1, 60, 32)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)
    assert frechet_distance(x[::-1], y) == pytest.approx(frechet_distance(x, y), rel=1e-10)


@pytest.mark.parametrize("n", [20, 200])
def test_a_large_common_offset_does_not_change_the_distance(n: int) -> None:
    x, y = features(0, n, 32), features(1, 200, 32)
    assert frechet_distance(x + 1e4, y + 1e4) == pytest.approx(frechet_distance(x, y), rel=1e-7)


@pytest.mark.parametrize("damage", ["none", "constant column", "half of the columns twice"])
def test_the_fast_forms_are_as_exact_as_the_features_own_singular_values(damage: str) -> None:
    x, y = features(0, 90, 40), features(1, 300, 40, 1.1, 0.2)
    if damage == "constant column":
        x[:, 3], y[:, 3] = 0.0, 0.0
    if damage == "half of the columns twice":
        x[:, 20:], y[:, 20:] = x[:, :20], y[:, :20]
    a, b = ((side - side.mean(axis=0)) / np.sqrt(len(side) - 1) for side in (x, y))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(shift + traces(x, y) - 2 * root, rel=1e-12)


def test_a_side_fitted_once_gives_what_fitting_it_every_time_gives_bit_for_bit() -> None:
    real = Gaussian.fit(features(0, 300, 48))
    for n in (2, 20, 48, 49, 120):
        cell = features(n, n, 48)
        assert frechet_between(Gaussian.fit(cell), real) == frechet_distance(cell, features(0, 300, 48))


def test_single_precision_features_are_compared_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(0, 100, 16).astype(np.float32), features(1, 400, 16).astype(np.float32)
    whole = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(frechet_module, "ROWS", 7)
    assert frechet_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_rank_deficiency_hidden_in_blocks_is_still_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(0, 100, 16), features(1, 400, 16)
    x[:, 5] = x[:, 6]
    whole = frechet_distance(x, y)
    monkeypatch.setattr(frechet_module, "ROWS", 9)
    assert frechet_distance(x, y) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"x: {n} image"):
        frechet_distance(np.zeros((n, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match=f"moments of {n} image"):
        frechet_of_moments(moments_of(np.zeros((n, 4))), moments_of(np.zeros((5, 4))))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_feature_names_its_image(value: float) -> None:
    x = features(0, 10, 4)
    x[7, 2] = value
    with pytest.raises(ValueError, match="y: features of image 7"):
        frechet_distance(features(1, 10, 4), x)
    with pytest.raises(ValueError, match="real: features of image 7"):
        Gaussian.fit(x, "real")


def test_sets_with_different_numbers_of_features_are_refused() -> None:
    with pytest.raises(ValueError, match="4 features per image, y has 5"):
        frechet_distance(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="4 features per image, the other 5"):
        frechet_of_moments(moments_of(np.zeros((3, 4))), moments_of(np.zeros((3, 5))))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("n", [3, 30])
def test_features_whose_squares_overflow_are_refused(n: int) -> None:
    with pytest.raises(ArithmeticError, match="too large"):
        frechet_distance(features(0, n, 4) * 1e200, features(1, n, 4))


def test_a_matrix_that_is_no_covariance_is_refused() -> None:
    broken = Moments(10, np.zeros(3), np.diag([1.0, 1.0, -0.5]))
    with pytest.raises(ArithmeticError, match="eigenvalue -5"):
        frechet_of_moments(broken, moments_of(features(0, 10, 3)))
    broken = Moments(10, np.zeros(3), np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        frechet_of_moments(broken, moments_of(features(0, 10, 3)))


def test_identical_images_are_no_error() -> None:
    x, y = np.ones((5, 3)), np.ones((9, 3)) * 3
    assert frechet_distance(x, y) == pytest.approx(12.0)
    assert frechet_of_moments(moments_of(x), moments_of(y)) == pytest.approx(12.0)
