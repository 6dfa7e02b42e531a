from __future__ import annotations

import functools

import numpy as np
import pytest

from model.metrics.moments import PILOT, Moments, MomentStream, moments_of


def features(n: int, d: int, offset: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + offset


def assert_same(a: Moments, b: Moments, tolerance: float) -> None:
    assert a.count == b.count
    np.testing.assert_allclose(a.mean, b.mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=0, atol=tolerance * np.abs(b.scatter).max())


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("n", [2, PILOT - 1, PILOT, PILOT + 1, 2000])
def test_mean_and_covariance_equal_numpys_however_far_from_zero(n: int, offset: float) -> None:
    x = features(n, 12, offset)
    found, expected = moments_of(x), np.cov(x, rowvar=False)
    assert found.count == n
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found.covariance, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_raw_sums_would_fail_where_centred_ones_do_not() -> None:
    x = features(2000, 12, 1e4)
    expected = np.cov(x, rowvar=False)
    raw = (x.T @ x - len(x) * np.outer(x.mean(axis=0), x.mean(axis=0))) / (len(x) - 1)
    errors = [np.abs(way - expected).max() / np.abs(expected).max() for way in (raw, moments_of(x).covariance)]
    assert errors[0] > 1e4 * errors[1]


def test_batch_sizes_do_not_change_a_bit() -> None:
    x = features(1500, 5, 3.0).astype(np.float32)
    results = []
    for size in (1, 7, 64, 512, 1500):
        stream = MomentStream(5)
        for at in range(0, len(x), size):
            stream.add(x[at : at + size])
        results.append(stream.moments())
    for other in results[1:]:
        assert np.array_equal(other.mean, results[0].mean)
        assert np.array_equal(other.scatter, results[0].scatter)


def test_parts_merge_in_any_order_to_the_whole() -> None:
    x = features(3000, 8, 1e4)
    x[:300] += 50.0  # parts that are not alike
    parts = [moments_of(part) for part in np.split(x, [1, 300, 301, 1700, 2998])]
    whole = moments_of(x)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(parts))
        assert_same(functools.reduce(Moments.merged, [parts[i] for i in order]), whole, 1e-12)
    assert_same(moments_of(x[::-1]), whole, 1e-12)


def test_a_stream_may_be_read_at_any_time_and_goes_on() -> None:
    x = features(1200, 4, 2.0)
    stream = MomentStream(4)
    for at in range(0, 1200, 100):
        stream.add(x[at : at + 100])
        assert_same(stream.moments(), moments_of(x[: at + 100]), 1e-13)


def test_a_stream_keeps_its_own_copy_of_a_batch() -> None:
    batch = np.ones((3, 2))
    stream = MomentStream(2)
    stream.add(batch)
    batch[:] = 7.0
    assert stream.moments().mean.tolist() == [1.0, 1.0]


def test_nothing_merges_with_something() -> None:
    x = moments_of(features(10, 3, 0.0))
    nothing = MomentStream(3).moments()
    assert_same(x.merged(nothing), x, 0.0)
    assert_same(nothing.merged(x), x, 0.0)
    assert nothing.merged(nothing).count == 0


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 3\), expected \[N, 2\]"):
        MomentStream(2).add(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="expected"):
        moments_of(np.zeros(4))
    with pytest.raises(ValueError, match="moments of 1 image"):
        _ = moments_of(np.zeros((1, 3))).covariance
    with pytest.raises(ValueError, match="of 2 and of 3 features"):
        moments_of(np.zeros((5, 2))).merged(moments_of(np.zeros((5, 3))))


def test_a_non_finite_feature_is_named_by_its_place_in_the_whole_stream() -> None:
    stream = MomentStream(2)
    stream.add(np.zeros((600, 2)))
    bad = np.zeros((10, 2))
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match="image 603"):
        stream.add(bad)
