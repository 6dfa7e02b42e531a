"""Precision, recall, density and coverage: quality and variety apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.metrics.frechet import Features, Values, checked_pair

PRECISION_K = 3  # Kynkaanniemi et al. 2019, the published value
COVERAGE_K = 5  # Naeem et al. 2020, the published value
SUBSETS = 5
BLOCK_ROWS = 1024


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
    """Euclidean distances ``[N, M]``, from differences: equal rows are exactly 0 apart, which ``<=`` relies on."""
    rows, columns = torch.from_numpy(x), torch.from_numpy(y)
    exact = "donot_use_mm_for_euclid_dist"
    blocks = [torch.cdist(block, columns, compute_mode=exact) for block in torch.split(rows, BLOCK_ROWS)]
    matrix: Features = torch.cat(blocks).numpy()
    return matrix


def radii(x: Features, k: int) -> Features:
    """Distance of each row to its ``k``-th nearest *other* row, ``[N]``. Raises: ValueError if N <= k."""
    if len(x) <= k:
        raise ValueError(f"{len(x)} images: the {k}-th neighbour needs at least {k + 1}")
    # The row itself sits at distance 0 in position 0, so position k is the k-th other one, duplicates included.
    nearest: Features = np.partition(distances(x, x), k, axis=1)[:, k]
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
    between = distances(a, b)
    precision = (between <= radii(a, k)[:, None]).any(axis=0).mean()
    recall = (between <= radii(b, k)[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def density_coverage(real: Values, generated: Values, k: int = COVERAGE_K) -> tuple[float, float]:
    """Mean number of real balls around a generated image over ``k``, and share of real balls that hold one.

    Source: Naeem et al. 2020, equations 3 and 4, with ``<=`` (with ``<`` duplicates count as nothing).
    """
    a, b = checked_pair(real, generated, ("real", "generated"))
    inside = distances(a, b) <= radii(a, k)[:, None]
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
    n = min(len(a), len(b))
    draws = 1 if len(a) == len(b) else SUBSETS
    rows = []
    for draw in range(draws):
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, draw]))
        first, second = (_subset(side, n, rng) for side in (a, b))
        rows.append((*precision_recall(first, second), *density_coverage(first, second)))
    precision, recall, density, coverage = np.mean(rows, axis=0).tolist()
    return Prdc(precision, recall, density, coverage, expected_coverage(n, n), n)


def _subset(side: Features, n: int, rng: np.random.Generator) -> Features:
    return side if len(side) == n else side[np.sort(rng.choice(len(side), n, replace=False))]
