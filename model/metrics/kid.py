"""Kernel distance (KID): unbiased for every sample size, with its uncertainty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.frechet import Features, Values, checked_pair

TILE_ROWS = 2048  # of the kernel matrix held at once: 2048 x 2048 x 8 B = 32 MB
JACKKNIFE_BLOCKS = 20
SUBSETS, SUBSET_SIZE = 100, 1000  # Binkowski et al. 2018, as torch-fidelity and StyleGAN3 have it
GRAM_ROWS = 20_000  # of the matrix that a permutation test keeps: 3.2 GB
PERMUTATIONS_AT_ONCE = 256
EQUAL = 1e-12  # statistics closer than this share of the kernel's mean are equal


@dataclass(frozen=True)
class Kid:
    """A kernel distance and its standard error."""

    value: float  # may be slightly negative: the estimator is unbiased
    std: float  # jackknife over blocks of both sides; of the subset form, the spread over subsets


@dataclass(frozen=True)
class KidTest:
    """Are the two sides samples of one distribution?"""

    value: float  # the full-sample estimate
    p: float  # share of random divisions that are at least as far apart; never 0
    permutations: int


def polynomial_kernel(x: Features, y: Features) -> Features:
    """Cubic kernel ``(x.y / d + 1)^3``, ``[N, M]``. Source: Binkowski et al. 2018, section 4."""
    base = x @ y.T
    base /= x.shape[1]
    base += 1.0
    kernel: Features = base * base
    kernel *= base
    return kernel


def kid(x: Values, y: Values) -> Kid:
    """Squared maximum mean discrepancy of two feature sets under the cubic kernel, from all pairs.

    Uses every pair once (no random subsets, so nothing depends on a seed), tile by tile, in float64.

    Args:
        x: features ``[N, d]``, N >= 2.
        y: features ``[M, d]``, M >= 2.

    Returns: the unbiased estimate and its jackknife standard error (NaN when a side has fewer than 4 images).
    Raises: ValueError for broken features (see :func:`model.metrics.frechet.checked_values`).
    Source: Gretton et al. 2012, equation 3; Binkowski et al. 2018.
    """
    x, y = checked_pair(x, y, ("x", "y"))
    x_blocks, y_blocks = _blocks(x), _blocks(y)
    xx, yy, xy = _within(x_blocks), _within(y_blocks), _between(x_blocks, y_blocks)
    n, m = len(x), len(y)
    value = float(_estimate(xx.sum(), yy.sum(), xy.sum(), n, m))
    if min(n, m) < 4:
        return Kid(value, float("nan"))
    # Leave out one block of one side at a time; the variances of the two sides add.
    left = xx.sum() - 2.0 * xx.sum(axis=1) + np.diag(xx), xy.sum() - xy.sum(axis=1), n - _lengths(x_blocks)
    right = yy.sum() - 2.0 * yy.sum(axis=1) + np.diag(yy), xy.sum() - xy.sum(axis=0), m - _lengths(y_blocks)
    estimates = (
        _estimate(left[0], yy.sum(), left[1], left[2], m),
        _estimate(xx.sum(), right[0], right[1], n, right[2]),
    )
    variance = sum((len(side) - 1) * side.var() for side in estimates)
    return Kid(value, float(np.sqrt(variance)))


def kid_subset(
    x: Values, y: Values, seed: int, subsets: int = SUBSETS, size: int = SUBSET_SIZE,
    picks: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]] | None = None,
) -> Kid | None:  # fmt: skip
    """KID as published tables have it: mean and standard deviation over random subsets of both sides.

    Args:
        x: features ``[N, d]``.
        y: features ``[M, d]``.
        seed: of the subsets.
        subsets: how many.
        size: images of each side in a subset, at least 2.
        picks: indices into x and into y, a pair per subset, instead of random ones; seed, subsets and size are then
            not used.

    Returns: the mean, and the standard deviation over subsets (a spread, no standard error); None if a side has no more
        than ``size`` images: every subset would then be the whole set and the deviation would mean nothing.
    Raises: ValueError for broken features, a subset of fewer than 2 images, or no subset at all.
    """
    x, y = checked_pair(x, y, ("x", "y"))
    if picks is None:
        if size < 2 or subsets < 1:
            raise ValueError(f"{subsets} subsets of {size} images: expected at least one, of at least 2 images")
        if min(len(x), len(y)) <= size:
            return None
        rng = np.random.Generator(np.random.Philox(key=seed))
        picks = ([rng.choice(len(side), size, replace=False) for side in (x, y)] for _ in range(subsets))  # type: ignore[misc]
    values = []
    for i, j in picks:
        if min(len(i), len(j)) < 2:
            raise ValueError(f"a subset of {len(i)} and {len(j)} images: expected at least 2 of each side")
        left, right = [x[i].astype(np.float64)], [y[j].astype(np.float64)]
        sums = (_within(left).sum(), _within(right).sum(), _between(left, right).sum())
        values.append(_estimate(*sums, len(i), len(j)))
    if not values:
        raise ValueError("picks name no subset, so there is no mean over subsets")
    return Kid(float(np.mean(values)), float(np.std(values)))


def kid_permutation(x: Values, y: Values, seed: int, permutations: int) -> KidTest:
    """Permutation test of "both sides are samples of one distribution" with the full-sample KID as its statistic.

    The kernel matrix of all images is computed once; each random division is one product with it.

    Args:
        x: features ``[N, d]``, N >= 2.
        y: features ``[M, d]``, M >= 2, N + M at most 20,000.
        seed: of the divisions.
        permutations: how many; the smallest p is 1 / (permutations + 1).

    Raises: ValueError for broken features, too many of them, or no permutation.
    Source: Gretton et al. 2012, section 5; Phipson, Smyth 2010 (why p is never 0).
    """
    x, y = checked_pair(x, y, ("x", "y"))
    n, total = len(x), len(x) + len(y)
    if total > GRAM_ROWS:
        raise ValueError(
            f"{total} images: the kernel matrix of a permutation test would take {8e-9 * total**2:.1f} GB; "
            f"pass at most {GRAM_ROWS} images of both sides together"
        )
    if permutations < 1:
        raise ValueError(f"{permutations} permutations: expected at least 1")
    both = np.concatenate([x.astype(np.float64), y.astype(np.float64)])
    gram = polynomial_kernel(both, both)
    np.fill_diagonal(gram, 0.0)
    rng = np.random.Generator(np.random.Philox(key=seed))
    first = np.arange(total) < n
    value = float(_divided(gram, first[:, None])[0])
    limit = value - EQUAL * float(np.abs(gram).mean())
    extreme = 0
    for start in range(0, permutations, PERMUTATIONS_AT_ONCE):
        count = min(PERMUTATIONS_AT_ONCE, permutations - start)
        sides = rng.permuted(np.repeat(first[None], count, axis=0), axis=1)
        extreme += int((_divided(gram, sides.T) >= limit).sum())
    return KidTest(value, (1 + extreme) / (1 + permutations), permutations)


def _divided(gram: Features, first: NDArray[np.bool_]) -> Features:
    """Estimates ``[P]`` for divisions ``[N + M, P]``, True for the first side; ``gram`` has no diagonal."""
    mine = first.astype(np.float64)
    against = gram @ mine  # [N + M, P]: sums over the first side
    xx, all_x = (mine * against).sum(axis=0), against.sum(axis=0)
    xy = all_x - xx
    n = int(first[:, 0].sum())
    return _estimate(xx, gram.sum() - xx - 2.0 * xy, xy, n, len(gram) - n)


def _estimate(xx: Features, yy: Features, xy: Features, n: Features | int, m: Features | int) -> Features:
    """Unbiased estimate from sums over ordered pairs; xx and yy without pairs of an image with itself."""
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2.0 * xy / (n * m)


def _blocks(side: Values) -> list[Values]:
    return np.array_split(side, max(1, min(JACKKNIFE_BLOCKS, len(side) // 2)))


def _lengths(blocks: list[Values]) -> Features:
    return np.array([len(block) for block in blocks], dtype=np.float64)


def _within(blocks: list[Values]) -> Features:
    """Sums of the kernel over pairs of different images, by block: symmetric, so half of it is computed."""
    sums = np.zeros((len(blocks), len(blocks)))
    for i, block in enumerate(blocks):
        sums[i, i] = _total(block, block) - float(_diagonal(block).sum())
        for j in range(i):
            sums[i, j] = sums[j, i] = _total(block, blocks[j])
    return sums


def _between(x_blocks: list[Values], y_blocks: list[Values]) -> Features:
    return np.array([[_total(a, b) for b in y_blocks] for a in x_blocks])


def _total(x: Values, y: Values) -> float:
    """Sum of the kernel over all pairs."""
    x, y = (np.asarray(side, dtype=np.float64) for side in (x, y))
    tiles = ((i, j) for i in range(0, len(x), TILE_ROWS) for j in range(0, len(y), TILE_ROWS))
    return sum(float(polynomial_kernel(x[i : i + TILE_ROWS], y[j : j + TILE_ROWS]).sum()) for i, j in tiles)


def _diagonal(block: Values) -> Features:
    rows = np.asarray(block, dtype=np.float64)
    diagonal: Features = ((rows * rows).sum(axis=1) / rows.shape[1] + 1.0) ** 3
    return diagonal
