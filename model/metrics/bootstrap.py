"""Confidence intervals of means over image pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.significance import bca_interval


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
        values: one number per pair, ``[N]``, N >= 2. For a difference of two methods see
            :func:`model.metrics.significance.paired_difference`.
        seed: of the resamples, which measures of equally many pairs share.
        resamples: number of resamples.
        level: confidence level in (0, 1).

    Raises: ValueError for fewer than two values or one that is not finite.
    """
    low, high = bca_interval(values, seed, resamples, level)
    return Interval(float(np.asarray(values, dtype=np.float64).mean()), low, high)
