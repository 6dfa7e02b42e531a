"""Precision, recall, density and coverage: quality and variety apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.frechet import Features, Values, checked_pair

PRECISION_K = 3  # Kynkaanniemi et al. 2019, the published value
COVERAGE_K = 5  # Naeem et al. 2020, the published value
SUBSETS = 5
EQUAL = 1e-12  # squared distances that differ by less than this share of the squared lengths differ by round-off
BLOCK = 2**23  # distances held at once: 64 MB


@dataclass(frozen=True)
class Prdc:
    """The four shares; means over the fixed subsets when the two sides differ in size."""

    precision: float
    recall: float
    density: float
    coverage: float
    coverage_expected: float  # of two samples of one distribution, at this n and k
    n: int  # images per side after equalising


@dataclass(frozen=True)
class _Shares:
    """The four shares of one k."""

    precision: float
    recall: float
    density: float
    coverage: float


def distances(x: Features, y: Features) -> Features:
    """Euclidean distances ``[N, M]``; rows that are equal up to round-off are exactly 0 apart, as ``<=`` needs."""
    centre = y.mean(axis=0)  # far from 0 the squares would lose the differences
    x, y = x - centre, y - centre
    scale = _lengths(x)[:, None] + _lengths(y)[None, :]
    squares = scale - 2.0 * (x @ y.T)
    squares[squares < EQUAL * scale] = 0.0
    roots: Features = np.sqrt(squares, out=squares)
    return roots


def precision_recall(real: Values, generated: Values, k: int = PRECISION_K) -> tuple[float, float]:
    """Share of generated images inside the manifold of the real ones, and the reverse.

    A point belongs to a manifold if its distance to some point of it is ``<=`` that point's ``k``-neighbour radius;
    distances that are equal but for round-off count as equal, so that copies and ties count the same on any machine.
    Recall grows with the number of generated images: equalise first (:func:`prdc` does).

    Args:
        real: features ``[N, d]``, N > k.
        generated: features ``[M, d]``, M > k.
        k: neighbour that sets the radius.

    Returns: (precision, recall), each in [0, 1].
    Raises: ValueError for broken features or a side of no more than ``k`` images.
    Source: Kynkaanniemi et al. 2019, equations 1 and 2.
    """
    a, b = _centred(*checked_pair(real, generated, ("real", "generated")))
    shares = _shares(a, b, _radii(a, [k]), _radii(b, [k]), [k])[0]
    return shares.precision, shares.recall


def density_coverage(real: Values, generated: Values, k: int = COVERAGE_K) -> tuple[float, float]:
    """Mean number of real balls around a generated image over ``k``, and share of real balls that hold one.

    Source: Naeem et al. 2020, equations 3 and 4, with ``<=`` (with ``<`` duplicates count as nothing).
    """
    a, b = _centred(*checked_pair(real, generated, ("real", "generated")))
    shares = _shares(a, b, _radii(a, [k]), np.zeros((1, len(b))), [k])[0]
    return shares.density, shares.coverage


def expected_coverage(n: int, m: int, k: int = COVERAGE_K) -> float:
    """Coverage to expect of ``n`` reals by ``m`` samples of the same distribution: ``1 - prod (n-i)/(n+m-i)``."""
    steps = np.arange(1, k + 1)
    return float(1.0 - np.prod((n - steps) / (n + m - steps)))


def prdc(real: Values, generated: Values, seed: int) -> Prdc:
    """All four, with the larger side cut to the size of the smaller by fixed random subsets (mean over five).

    Memory beside the features: the two subsets in float64 and some blocks of 64 MB, however many images there are.

    Args:
        real: features ``[N, d]``, N > 5.
        generated: features ``[M, d]``, M > 5.
        seed: of the subsets; the same seed picks the same images every time.

    Raises: ValueError for broken features or a side of five images or fewer.
    """
    sides = checked_pair(real, generated, ("real", "generated"))
    n, ks = min(len(real), len(generated)), [PRECISION_K, COVERAGE_K]
    known: dict[int, Features] = {}  # radii of the smaller side, which is the same in every draw
    rows = []
    for draw in range(1 if len(real) == len(generated) else SUBSETS):
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, draw]))
        a, b = _centred(*(side[_subset(len(side), n, rng)] for side in sides))
        for which, side in enumerate((a, b)):
            if which not in known or len(sides[which]) != n:
                known[which] = _radii(side, ks)
        near, wide = _shares(a, b, known[0], known[1], ks)
        rows.append((near.precision, near.recall, wide.density, wide.coverage))
    precision, recall, density, coverage = np.mean(rows, axis=0).tolist()
    return Prdc(precision, recall, density, coverage, expected_coverage(n, n), n)


def _centred(real: Values, generated: Values) -> tuple[Features, Features]:
    """Both sides in float64 less the real mean: what is left of rounding is a share of the spread, not of an offset."""
    centre = real.mean(axis=0, dtype=np.float64)
    return real - centre, generated - centre


def _radii(side: Features, ks: list[int]) -> Features:
    """Squared distance of each point to its k-th nearest *other* point, ``[len(ks), N]``."""
    if len(side) <= max(ks):
        raise ValueError(f"{len(side)} images: neighbour {max(ks)} needs at least {max(ks) + 1}")
    # The point itself is at distance 0 in position 0, so position k is the k-th other one, duplicates included.
    nearest = [np.partition(squares, max(ks), axis=1)[:, : max(ks) + 1] for _, squares in _squares(side, side)]
    return np.sort(np.concatenate(nearest), axis=1)[:, ks].T


def _shares(real: Features, generated: Features, own: Features, others: Features, ks: list[int]) -> list[_Shares]:
    """Shares for every k, given the squared radii of the real (``own``) and the generated images (``others``)."""
    own = own + EQUAL * (_lengths(real) + _lengths(generated).max())
    others = others + EQUAL * (_lengths(generated) + _lengths(real).max())
    balls = np.zeros((len(ks), len(generated)), dtype=np.int64)  # real balls around each generated image
    hit = np.zeros((len(ks), len(real)), dtype=np.bool_)  # whether a real ball holds a generated image
    held = np.zeros((len(ks), len(real)), dtype=np.bool_)  # whether a generated ball holds a real image
    for rows, squares in _squares(real, generated):
        for at in range(len(ks)):
            inside = squares <= own[at, rows, None]
            balls[at] += inside.sum(axis=0)
            hit[at, rows] = inside.any(axis=1)
            held[at, rows] = (squares <= others[at]).any(axis=1)
    return [
        _Shares(float((near > 0).mean()), float(inner.mean()), float(near.mean() / k), float(outer.mean()))
        for near, inner, outer, k in zip(balls, held, hit, ks, strict=True)
    ]


def _squares(x: Features, y: Features) -> Iterator[tuple[slice, Features]]:
    """Squared distances from some rows of ``x`` to all of ``y``, block by block."""
    x_lengths, y_lengths = _lengths(x), _lengths(y)
    step = max(1, BLOCK // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        squares = x[rows] @ y.T
        squares *= -2.0
        squares += x_lengths[rows, None]
        squares += y_lengths
        yield rows, squares


def _lengths(rows: Features) -> Features:
    """Squared length of each row."""
    return np.asarray(np.einsum("nd,nd->n", rows, rows))


def _subset(count: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(count) if count == n else np.sort(rng.choice(count, n, replace=False))
