"""Confidence intervals of means over image pairs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

BATCH = 500  # resamples held at once


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: NDArray[np.floating], seed: int, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Mean of independent values with its BCa bootstrap interval.

    Valid for paired metrics (means over z). Do not feed it distribution metrics: resampling ties bias FID upwards.

    Args:
        values: one number per pair, ``[N]``, N >= 2. For a difference of two methods: their difference per z.
        seed: of the resamples.
        resamples: number of resamples.
        level: confidence level in (0, 1).

    Raises: ValueError for fewer than two values or one that is not finite.
    Source: Efron 1987 (Better bootstrap confidence intervals).
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"an interval needs at least 2 finite values in one row, got shape {x.shape}")
    mean = float(x.mean())
    if np.ptp(x) == 0.0:
        return Interval(mean, mean, mean)
    means = np.sort(_resampled_means(x, seed, resamples))
    centred = x - x.mean()
    # For a mean the jackknife acceleration is the skewness over 6 sqrt(N).
    acceleration = float((centred**3).sum() / (6.0 * (centred**2).sum() ** 1.5))
    normal = NormalDist()
    share = (np.searchsorted(means, mean) + np.searchsorted(means, mean, side="right")) / (2 * resamples)
    bias = normal.inv_cdf(min(max(float(share), 1 / resamples), 1 - 1 / resamples))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(float(np.quantile(means, normal.cdf(bias + z / (1 - acceleration * z)))))
    return Interval(mean, ends[0], ends[1])


def _resampled_means(x: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    rng = np.random.Generator(np.random.Philox(key=seed))
    counts = [min(BATCH, resamples - start) for start in range(0, resamples, BATCH)]
    return np.concatenate([x[rng.integers(0, len(x), (count, len(x)))].mean(axis=1) for count in counts])
