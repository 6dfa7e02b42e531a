"""Kernel distance (KID): unbiased for every sample size, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.metrics.frechet import Features, Values, checked_pair

BLOCK_ROWS = 2048  # rows of the kernel matrix held at once: 2048 x 10k x 8 B = 160 MB
JACKKNIFE_BLOCKS = 20


@dataclass(frozen=True)
class Kid:
    """A kernel distance and its standard error."""

    value: float  # may be slightly negative: the estimator is unbiased
    std: float  # jackknife over blocks of both sides


@dataclass(frozen=True)
class _Sums:
    """Sums over the kernel matrices, per row: all a leave-block-out estimate needs beside the blocks themselves."""

    xx: Features  # [N], without the diagonal
    yy: Features  # [M], without the diagonal
    xy: Features  # [N]
    yx: Features  # [M]


def polynomial_kernel(x: Features, y: Features) -> Features:
    """Cubic kernel ``(x.y / d + 1)^3``, ``[N, M]``. Source: Binkowski et al. 2018, section 4."""
    kernel: Features = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel


def kid(x: Values, y: Values) -> Kid:
    """Squared maximum mean discrepancy of two feature sets under the cubic kernel, from all pairs.

    Uses every pair once (no random subsets, so nothing depends on a seed), blocked, in float64.

    Args:
        x: features ``[N, d]``, N >= 2.
        y: features ``[M, d]``, M >= 2.

    Returns: the unbiased estimate and its jackknife standard error (NaN when a side has fewer than 4 images).
    Raises: ValueError for broken features (see :func:`model.metrics.frechet.checked_features`).
    Source: Gretton et al. 2012, equation 3; Binkowski et al. 2018.
    """
    first, second = checked_pair(x, y, ("x", "y"))
    sums = _row_sums(first, second)
    value = _estimate(sums.xx.sum(), sums.yy.sum(), sums.xy.sum(), len(first), len(second))
    return Kid(value=value, std=_jackknife(first, second, sums))


def _estimate(xx: float, yy: float, xy: float, n: int, m: int) -> float:
    return float(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2.0 * xy / (n * m))


def _row_sums(x: Features, y: Features) -> _Sums:
    return _Sums(
        xx=_sums_against(x, x) - _diagonal(x),
        yy=_sums_against(y, y) - _diagonal(y),
        xy=_sums_against(x, y),
        yx=_sums_against(y, x),
    )


def _diagonal(x: Features) -> Features:
    diagonal: Features = ((x * x).sum(axis=1) / x.shape[1] + 1.0) ** 3
    return diagonal


def _sums_against(rows: Features, columns: Features) -> Features:
    starts = range(0, len(rows), BLOCK_ROWS)
    return np.concatenate([polynomial_kernel(rows[i : i + BLOCK_ROWS], columns).sum(axis=1) for i in starts])


def _jackknife(x: Features, y: Features, sums: _Sums) -> float:
    """Leave out one block of one side at a time; the variances of the two sides add."""
    n, m = len(x), len(y)
    if min(n, m) < 4:
        return float("nan")
    total_xx, total_yy, total_xy = sums.xx.sum(), sums.yy.sum(), sums.xy.sum()
    variance = 0.0
    for side, own, cross, is_x in ((x, sums.xx, sums.xy, True), (y, sums.yy, sums.yx, False)):
        estimates = []
        for block in np.array_split(np.arange(len(side)), min(JACKKNIFE_BLOCKS, len(side) // 2)):
            inside = side[block]
            lost = 2.0 * own[block].sum() - (polynomial_kernel(inside, inside).sum() - _diagonal(inside).sum())
            rest_xy = total_xy - cross[block].sum()
            if is_x:
                estimates.append(_estimate(total_xx - lost, total_yy, rest_xy, n - len(block), m))
            else:
                estimates.append(_estimate(total_xx, total_yy - lost, rest_xy, n, m - len(block)))
        count = len(estimates)
        variance += (count - 1) / count * float(((np.array(estimates) - np.mean(estimates)) ** 2).sum())
    return float(np.sqrt(variance))
