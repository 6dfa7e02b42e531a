from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity import metric_fid

from model.metrics.frechet import _centred, _trace_root_full, _trace_root_small, frechet_distance


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spectrum = 1.0 / np.sqrt(np.arange(1, d + 1))
    return (rng.standard_normal((n, d)) * spectrum) @ rng.standard_normal((d, d)) * scale + shift


def exact_sample(n: int, covariance_root: np.ndarray, seed: int) -> np.ndarray:
    """Rows whose sample mean is exactly 0 and sample covariance exactly ``root root^T``."""
    raw = np.random.default_rng(seed).standard_normal((n, len(covariance_root)))
    q, _ = np.linalg.qr(raw - raw.mean(axis=0))
    return q * np.sqrt(n - 1) @ covariance_root.T


def oracle(x: np.ndarray, y: np.ndarray) -> float:
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    return metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]


@pytest.mark.parametrize(("n", "m", "d"), [(300, 500, 64), (1500, 400, 128), (65, 64, 64)])
def test_full_rank_distance_equals_torch_fidelity(n: int, m: int, d: int) -> None:
    x, y = features(0, n, d), features(1, m, d, 1.2, 0.3)
    assert frechet_distance(x, y) == pytest.approx(oracle(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 16), (10, 300, 64), (300, 10, 64), (40, 50, 200)])
def test_rank_deficient_distance_equals_torch_fidelity(n: int, m: int, d: int) -> None:
    x, y = features(0, n, d), features(1, m, d, 1.2, 0.3)
    # The oracle itself errs here: it sums square roots of round-off eigenvalues of a rank-deficient product.
    assert frechet_distance(x, y) == pytest.approx(oracle(x, y), abs=1e-5 * max(1.0, float(np.var(x, axis=0).sum())))


def test_commuting_covariances_have_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.standard_normal((24, 24)))
    a, b = rng.uniform(0.1, 3.0, 24), rng.uniform(0.1, 3.0, 24)
    x = exact_sample(200, basis * np.sqrt(a), 4)
    y = exact_sample(150, basis * np.sqrt(b), 5) + 0.7
    expected = 24 * 0.7**2 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 30), st.integers(0, 10_000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_both_routes_agree_with_the_eigenvalues_of_the_product_on_any_shape(n: int, m: int, d: int, seed: int) -> None:
    x, y = features(seed, n, d), features(seed + 1, m, d)
    x[:, 0] = 1.0  # a constant column
    y[-1] = y[0]  # a duplicate
    a, b = _centred(x), _centred(y)
    scale = float((a * a).sum() + (b * b).sum())
    values = np.linalg.eigvals((a.T @ a) @ (b.T @ b)).real
    reference = float(np.sqrt(values.clip(min=0.0)).sum())
    assert _trace_root_full(a, b) == pytest.approx(_trace_root_small(a, b), abs=1e-6 * scale + 1e-12)
    if np.isfinite(reference):  # sqrtm has no answer for some singular products; the two routes always have
        assert _trace_root_small(a, b) == pytest.approx(reference, abs=3e-5 * scale + 1e-12)


@pytest.mark.parametrize("n", [5, 200])
def test_distance_to_itself_is_zero_and_order_does_not_matter(n: int) -> None:
    x = features(0, n, 32)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    y = features(1, 60, 32)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)
    assert frechet_distance(x[::-1], y) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_a_large_common_offset_does_not_change_the_distance() -> None:
    x, y = features(0, 200, 32), features(1, 200, 32)
    assert frechet_distance(x + 1e4, y + 1e4) == pytest.approx(frechet_distance(x, y), rel=1e-7)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} image"):
        frechet_distance(np.zeros((n, 4)), np.zeros((5, 4)))


def test_a_non_finite_feature_names_its_image() -> None:
    x = features(0, 10, 4)
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match="y: features of image 7"):
        frechet_distance(features(1, 10, 4), x)


def test_sets_with_different_numbers_of_features_are_refused() -> None:
    with pytest.raises(ValueError, match="4 features per image, y has 5"):
        frechet_distance(np.zeros((3, 4)), np.zeros((3, 5)))
