"""Is a difference more than chance? Intervals, tests and the geometry of trade-off curves, on plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Numbers = NDArray[np.float64]

AT_ONCE = 500  # resamples drawn at once
LEAST_UNITS = 3  # seeds or blocks: fewer cannot show how much they differ by chance
EQUAL = 1e-12  # statistics closer than this share of their scale are equal


@dataclass(frozen=True)
class Difference:
    """A mean difference with its confidence interval."""

    value: float  # mean of first - second
    low: float
    high: float
    p: float  # two-sided, of "there is no difference"
    n: int  # differences averaged
    unit: str  # what they are of: pairs, seeds or blocks

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does."""
        return self.low > 0.0 or self.high < 0.0


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int, resamples: int, confidence: float) -> Difference:
    """Mean of ``a - b`` over the same z, with its BCa bootstrap interval and a sign-flip permutation test.

    Differences of equally many pairs share their resamples (kept for the last few counts), so a family of measures is
    drawn once: about 0.2 s for 10,000 resamples of 2,000 pairs, then some 20 ms for each measure.

    Args:
        a: one number per z, ``[N]``, N >= 2.
        b: of the same z in the same order, ``[N]``.
        seed: of resamples and signs.
        resamples: number of both; the smallest p is 1 / (resamples + 1), or exact where all 2^N signs are fewer.
        confidence: level of the interval, in (0, 1).

    Raises: ValueError for numbers that are not finite, or lists of different or too small lengths.
    Source: Efron 1987 (BCa); Pitman 1937 (sign flips of paired differences, under symmetry about 0).
    """
    differences = _paired(a, b, 2, "pairs")
    low, high = bca_interval(differences, seed, resamples, confidence)
    p = _sign_flip(differences, seed, resamples)
    return Difference(float(differences.mean()), low, high, p, len(differences), "pairs")


def seed_difference(a: ArrayLike, b: ArrayLike, confidence: float) -> Difference:
    """Mean of ``a - b`` over trainings with the same seeds: paired t interval and test, whose unit is the seed.

    The one reading that speaks of methods and not of one training each. A permutation test has nothing to say here:
    three signs have p >= 1/4 whatever they are.

    Args:
        a: a number per seed, ``[S]``, S >= 3.
        b: of the same seeds in the same order, ``[S]``.
        confidence: level of the interval, in (0, 1).

    Raises: ValueError for fewer than three seeds, whose scatter is not known well enough to say anything.
    """
    return _t_difference(_paired(a, b, LEAST_UNITS, "seeds"), confidence, "seeds")


def block_difference(a: ArrayLike, b: ArrayLike, confidence: float) -> Difference:
    """Mean of ``a - b`` of a distribution metric (FID, KID) over disjoint blocks of z that both sides generated from.

    Covers the chance in what was generated, with trainings and real images as they are: it speaks of two networks, not
    of two methods. Both sides of a block have as many images, so the bias of FID at that size mostly cancels.
    Never resample images instead: ties bias FID upwards.

    Arguments and errors as :func:`seed_difference`, with a number per block, ``[B]``, B >= 3.
    """
    return _t_difference(_paired(a, b, LEAST_UNITS, "blocks"), confidence, "blocks")


def bca_interval(values: ArrayLike, seed: int, resamples: int, confidence: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of a mean of independent values ``[N]``, N >= 2.

    Raises: ValueError for fewer than two values, one that is not finite, or a level outside (0, 1).
    Source: Efron 1987 (Better bootstrap confidence intervals).
    """
    x = _row(values, 2, "values")
    _check_level(confidence)
    mean = float(x.mean())
    if np.ptp(x) == 0.0:
        return mean, mean
    centred = x - mean  # so that an offset costs no digits
    means = np.sort(resampled_means(centred, seed, resamples))
    # For a mean the jackknife acceleration is the skewness over 6 sqrt(N).
    acceleration = float((centred**3).sum() / (6.0 * (centred**2).sum() ** 1.5))
    normal = NormalDist()
    share = float(np.searchsorted(means, 0.0) + np.searchsorted(means, 0.0, side="right")) / (2 * resamples)
    bias = normal.inv_cdf(min(max(share, 1 / (resamples + 1)), resamples / (resamples + 1)))
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(mean + float(np.quantile(means, normal.cdf(bias + z / max(1 - acceleration * z, EQUAL)))))
    return ends[0], ends[1]


def resampled_means(values: ArrayLike, seed: int, resamples: int) -> Numbers:
    """Means of ``resamples`` bootstrap samples of rows: ``[N]`` gives ``[R]``, ``[N, k]`` gives ``[R, k]``.

    The k columns share each resample, as measures of the same z must (for :func:`knee_frequency`, hypervolumes).
    """
    x = np.asarray(values, dtype=np.float64)
    counts = _draws(len(x), seed, resamples)[0]
    return _weighted(counts, x) / len(x)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of one family so that comparing them with alpha keeps the family's error below alpha.

    Returns: adjusted values in the same order, each at least its own and at most 1.
    Raises: ValueError for a number outside [0, 1].
    Source: Holm 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]


def spearman(xs: ArrayLike, ys: ArrayLike) -> float | None:
    """Return the rank correlation of two rows; None if there are fewer than two points or one row is constant."""
    x, y = _row(xs, 0, "points"), _row(ys, 0, "points")
    if len(x) != len(y):
        raise ValueError(f"{len(x)} xs and {len(y)} ys: expected as many")
    if len(x) < 2 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return None
    return float(stats.spearmanr(x, y).statistic)


def knee(xs: ArrayLike, ys: ArrayLike) -> float | None:
    """Return the x at which a curve bends most: the point furthest from the chord between its ends.

    Args:
        xs: positions along the curve, ascending or descending, ``[K]``. Levels of a swap double from one to the next:
            pass their logarithms (and take the logarithm back).
        ys: values there, ``[K]``.

    Returns: one of ``xs``; None for fewer than three points or a straight line. Of equally far ones the first.
    Source: Satopaa et al. 2011 (Kneedle), without smoothing.
    """
    x = _row(xs, 0, "points")
    found = int(_knees(x, _row(ys, 0, "points")[None])[0])
    return float(x[found]) if found >= 0 else None


def knee_frequency(xs: ArrayLike, ys: ArrayLike, resampled: ArrayLike) -> float | None:
    """Share of resampled curves ``[R, K]`` whose knee is that of ``ys [K]``; None if ``ys`` has no knee.

    Well below 1: the knee is an accident of the sample.
    """
    x = _row(xs, 0, "points")
    own = int(_knees(x, _row(ys, 0, "points")[None])[0])
    if own < 0:
        return None
    return float((_knees(x, np.asarray(resampled, dtype=np.float64)) == own).mean())


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """Area between a reference and the points ``[K, 2]`` that beat it: one number for a whole trade-off curve.

    A point is (likeness, style distance): a **larger first** and a **smaller second** number is better. Points that do
    not beat the reference in both add nothing; neither do dominated ones.

    Args:
        points: e.g. one per swap level; no point has area 0.
        reference: a worst acceptable point, the same for all curves that are compared.

    Source: Zitzler, Thiele 1998.
    """
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return float(hypervolumes(array[None], reference)[0])


def hypervolumes(points: ArrayLike, reference: tuple[float, float]) -> Numbers:
    """Return :func:`hypervolume` of many curves at once, ``[R, K, 2]`` to ``[R]``."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 3 or array.shape[2] != 2:
        raise ValueError(f"curves have shape {array.shape}, expected [R, K, 2]")
    if not np.isfinite(array).all() or not np.isfinite(reference).all():
        raise ValueError("a hypervolume needs finite points and a finite reference")
    gain = np.maximum(array[..., 0] - reference[0], 0.0)
    saved = np.maximum(reference[1] - array[..., 1], 0.0)
    order = np.argsort(-gain, axis=1, kind="stable")
    gain, saved = np.take_along_axis(gain, order, axis=1), np.take_along_axis(saved, order, axis=1)
    widths = gain - np.concatenate([gain[:, 1:], np.zeros((len(gain), 1))], axis=1)[:, : gain.shape[1]]
    area: Numbers = (widths * np.maximum.accumulate(saved, axis=1)).sum(axis=1)
    return area


def hypervolume_interval(
    resampled: ArrayLike, reference: tuple[float, float], confidence: float
) -> tuple[float, float]:
    """Return the percentile interval of the hypervolume from resampled curves ``[R, K, 2]``, R >= 2."""
    areas = _row(hypervolumes(resampled, reference), 2, "resampled curves")
    _check_level(confidence)
    low, high = np.quantile(areas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _row(values: ArrayLike, least: int, what: str) -> Numbers:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < least or not np.isfinite(x).all():
        raise ValueError(f"expected at least {least} finite {what} in one row, got shape {x.shape}")
    return x


def _paired(a: ArrayLike, b: ArrayLike, least: int, unit: str) -> Numbers:
    first, second = _row(a, 0, unit), _row(b, 0, unit)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} {unit}: a difference needs the same ones on both sides")
    if len(first) < least:
        raise ValueError(f"{len(first)} {unit}: a difference over {unit} needs at least {least} to tell it from chance")
    return first - second


def _check_level(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: expected a level between 0 and 1, such as 0.95")


def _t_difference(differences: Numbers, confidence: float, unit: str) -> Difference:
    _check_level(confidence)
    n, value = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / n**0.5
    if np.ptp(differences) == 0.0:  # no spread at all: the limit of the t test
        return Difference(value, value, value, 0.0 if value else 1.0, n, unit)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p = float(2.0 * stats.t.sf(abs(value) / error, n - 1))
    return Difference(value, value - half, value + half, p, n, unit)


def _sign_flip(differences: Numbers, seed: int, resamples: int) -> float:
    """Two-sided p: how often differences with random signs have a mean as far from 0. All signs where they are few."""
    n, total = len(differences), float(differences.sum())
    limit = abs(total) - EQUAL * float(np.abs(differences).sum())
    if n < 31 and 2**n <= resamples:
        signs = np.array(list(product((0, 1), repeat=n)), dtype=np.uint8)
        return float((np.abs(total - 2.0 * _weighted(signs, differences)) >= limit).mean())
    flipped = np.abs(total - 2.0 * _weighted(_draws(n, seed, resamples)[1], differences))
    return (1 + int((flipped >= limit).sum())) / (1 + resamples)


def _weighted(weights: NDArray[np.uint8], values: Numbers) -> Numbers:
    """``weights [R, N] @ values [N]`` or ``[N, k]``, without BLAS: no bit depends on threads."""
    columns = values.reshape(len(values), -1).T
    sums = np.stack([np.einsum("rn,n->r", weights, np.ascontiguousarray(column)) for column in columns], axis=-1)
    return np.asarray(sums if values.ndim > 1 else sums[:, 0])


@lru_cache(maxsize=4)
def _draws(n: int, seed: int, resamples: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How often each of ``n`` is in each resample, and which signs are flipped: both ``[resamples, n]``."""
    if n < 1 or resamples < 1:
        raise ValueError(f"{resamples} resamples of {n} values: expected at least one of each")
    rng = np.random.Generator(np.random.Philox(key=seed))
    counts = np.empty((resamples, n), dtype=np.uint8)  # more than 255 times the same one of n > 255: never
    for start in range(0, resamples, AT_ONCE):
        rows = counts[start : start + AT_ONCE]
        picked = rng.integers(0, n, rows.shape) + n * np.arange(len(rows))[:, None]
        rows[:] = np.bincount(picked.ravel(), minlength=rows.size).reshape(rows.shape)
    flips = np.frombuffer(rng.bytes(resamples * (-(-n // 8))), dtype=np.uint8).reshape(resamples, -1)
    return counts, np.unpackbits(flips, axis=1)[:, :n]


def _knees(x: Numbers, curves: Numbers) -> NDArray[np.int64]:
    """Index of the knee of each curve ``[R, K]``, -1 where there is none."""
    if curves.ndim != 2 or curves.shape[1] != len(x) or not np.isfinite(curves).all():
        raise ValueError(f"curves have shape {curves.shape}, expected finite [R, {len(x)}]")
    if len(x) < 3 or x[0] == x[-1]:
        return np.full(len(curves), -1)
    if not ((np.diff(x) > 0).all() or (np.diff(x) < 0).all()):
        raise ValueError(f"the points of a curve must be in order of x, got {x.tolist()}")
    along = (x - x[0]) / (x[-1] - x[0])
    first, last = curves[:, :1], curves[:, -1:]
    # Vertical distance to the chord is the perpendicular one times a constant of the curve.
    away = np.abs(curves - first - along * (last - first))
    flat = away.max(axis=1) <= EQUAL * np.maximum(np.abs(curves).max(axis=1), 1e-300)
    return np.where(flat, -1, away.argmax(axis=1))
