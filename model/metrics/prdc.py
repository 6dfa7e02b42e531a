"""Precision, recall, density and coverage: quality and variety apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.frechet import Features, Values, checked_pair

PRECISION_K = 3  # Kynkaanniemi et al. 2019, the published value
COVERAGE_K = 5  # Naeem et al. 2020, the published value
SUBSETS = 5
EQUAL = 1e-12  # squared distances below this share of the squared lengths are round-off


@dataclass(frozen=True)
class Prdc:
    """The four shares; means over the fixed subsets when the two sides differ in size."""

    precision: float
    recall: float
    density: float
    coverage: float
    coverage_expected: float  # of two samples of one distribution, at this n and k
    n: int  # images per side after equalising


def distances(x: Features, y: Features) -> Features:
    """Euclidean distances ``[N, M]``; rows that are equal up to round-off are exactly 0 apart, as ``<=`` needs."""
    scale = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :]
    squares = scale - 2.0 * (x @ y.T)
    squares[squares < EQUAL * scale] = 0.0
    roots: Features = np.sqrt(squares, out=squares)
    return roots


def radii(own: Features, k: int) -> Features:
    """Distance of each point to its ``k``-th nearest *other* point, ``[N]``.

    Args:
        own: distances ``[N, N]`` of a set to itself.
        k: which neighbour.

    Raises: ValueError if N <= k.
    """
    if len(own) <= k:
        raise ValueError(f"{len(own)} images: neighbour {k} needs at least {k + 1}")
    # The point itself sits at distance 0 in position 0, so position k is the k-th other one, duplicates included.
    nearest: Features = np.partition(own, k, axis=1)[:, k]
    return nearest


def precision_recall(real: Values, generated: Values, k: int = PRECISION_K) -> tuple[float, float]:
    """Share of generated images inside the manifold of the real ones, and the reverse.

    A point belongs to a manifold if its distance to some point of it is ``<=`` that point's ``k``-neighbour radius.
    Recall grows with the number of generated images: equalise first (:func:`prdc` does).

    Args:
        real: features ``[N, d]``.
        generated: features ``[M, d]``.
        k: neighbour that sets the radius.

    Returns: (precision, recall), each in [0, 1].
    Source: Kynkaanniemi et al. 2019, equations 1 and 2.
    """
    a, b = checked_pair(real, generated, ("real", "generated"))
    return _precision_recall(distances(a, b), distances(a, a), distances(b, b), k)


def density_coverage(real: Values, generated: Values, k: int = COVERAGE_K) -> tuple[float, float]:
    """Mean number of real balls around a generated image over ``k``, and share of real balls that hold one.

    Source: Naeem et al. 2020, equations 3 and 4, with ``<=`` (with ``<`` duplicates count as nothing).
    """
    a, b = checked_pair(real, generated, ("real", "generated"))
    return _density_coverage(distances(a, b), distances(a, a), k)


def _precision_recall(between: Features, own_real: Features, own_generated: Features, k: int) -> tuple[float, float]:
    precision = (between <= radii(own_real, k)[:, None]).any(axis=0).mean()
    recall = (between <= radii(own_generated, k)[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def _density_coverage(between: Features, own_real: Features, k: int) -> tuple[float, float]:
    inside = between <= radii(own_real, k)[:, None]
    return float(inside.sum(axis=0).mean() / k), float(inside.any(axis=1).mean())


def expected_coverage(n: int, m: int, k: int = COVERAGE_K) -> float:
    """Coverage to expect of ``n`` reals by ``m`` samples of the same distribution: ``1 - prod (n-i)/(n+m-i)``."""
    steps = np.arange(1, k + 1)
    return float(1.0 - np.prod((n - steps) / (n + m - steps)))


def prdc(real: Values, generated: Values, seed: int) -> Prdc:
    """All four, with the larger side cut to the size of the smaller by fixed random subsets (mean over five).

    Args:
        real: features ``[N, d]``.
        generated: features ``[M, d]``.
        seed: of the subsets; the same seed picks the same images every time.
    """
    a, b = checked_pair(real, generated, ("real", "generated"))
    between, own_real, own_generated = distances(a, b), distances(a, a), distances(b, b)
    n = min(len(a), len(b))
    rows = []
    for draw in range(1 if len(a) == len(b) else SUBSETS):
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, draw]))
        i, j = (_subset(len(side), n, rng) for side in (a, b))
        cut = between[np.ix_(i, j)], own_real[np.ix_(i, i)], own_generated[np.ix_(j, j)]
        rows.append((*_precision_recall(*cut, PRECISION_K), *_density_coverage(*cut[:2], COVERAGE_K)))
    precision, recall, density, coverage = np.mean(rows, axis=0).tolist()
    return Prdc(precision, recall, density, coverage, expected_coverage(n, n), n)


def _subset(count: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(count) if count == n else np.sort(rng.choice(count, n, replace=False))
