"""Frechet distance between two sets of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from model.metrics.moments import Moments

Values = NDArray[np.floating]
Features = NDArray[np.float64]

ROWS = 4096  # features held in float64 at once: 4096 x 2048 x 8 B = 64 MB
# Round-off in the trace term is about 1e-12 of the traces; a result below this share of them is a bug, not round-off.
NEGATIVE_TOLERANCE = 1e-6
LARGEST = 1e150  # squared distance and traces whose squares are still finite
# Squared pivots of a covariance below this share of the largest are round-off: its root then comes from the features.
SMALLEST_PIVOT = 1e-11
# The same of squared singular values: then they are computed without squares.
SMALLEST_SQUARE = 1e-13


def checked_values(name: str, values: Values) -> Values:
    """Return ``values`` as they are, in their own type, once they are known to be usable features ``[N, d]``.

    Raises: ValueError if it is not a matrix, has fewer than two rows or no columns, or holds a number that is not
        finite (the message names the first such row).
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name}: features have shape {values.shape}, expected [N, d]")
    if len(values) < 2:
        raise ValueError(f"{name}: {len(values)} image(s); a distribution metric needs at least 2")
    starts = range(0, len(values), ROWS)
    broken = np.concatenate([~np.isfinite(values[at : at + ROWS]).all(axis=1) for at in starts])
    if broken.any():
        first, count = int(broken.argmax()), int(broken.sum())
        raise ValueError(f"{name}: features of image {first} are not finite ({count} such images)")
    return values


def checked_features(name: str, values: Values) -> Features:
    """Return ``values`` as float64 ``[N, d]``, checked by :func:`checked_values`."""
    return np.asarray(checked_values(name, values), dtype=np.float64)


def checked_pair(x: Values, y: Values, names: tuple[str, str]) -> tuple[Values, Values]:
    """Check both sets with :func:`checked_values` and that they have the same ``d`` (else ValueError); types stay."""
    first, second = checked_values(names[0], x), checked_values(names[1], y)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{names[0]} has {first.shape[1]} features per image, {names[1]} has {second.shape[1]}")
    return first, second


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian fitted to a set of features, ready to be compared: fit a set once, compare it with many.

    No ``eps * I`` is ever added: a covariance without full rank is as good as any other here.
    """

    mean: Features  # [d]
    root: Features  # [r, d], r <= d: root^T root is the covariance (divided by N - 1)
    trace: float  # of the covariance
    n: int  # features it was fitted to

    @classmethod
    def fit(cls, values: Values, name: str = "features") -> Gaussian:
        """Fit features ``[N, d]`` of any real type; ``name`` says in errors which set is meant.

        A set smaller than ``d`` is its own root (nothing is squared). Memory: O(min(N, d) d) beside the features.

        Raises: ValueError for broken features (see :func:`checked_values`).
        """
        values = checked_values(name, values)
        n, d = values.shape
        mean = values.mean(axis=0, dtype=np.float64)
        if n <= d:
            root = (values - mean) / np.sqrt(n - 1)
            return cls(mean, root, _square(root), n)
        covariance = np.zeros((d, d))
        for at in range(0, n, ROWS):
            rows = values[at : at + ROWS] - mean
            covariance += rows.T @ rows
        covariance /= n - 1
        upper = _cholesky(covariance)
        return cls(mean, _triangle(values, mean) if upper is None else upper, float(np.trace(covariance)), n)

    @classmethod
    def of_moments(cls, moments: Moments) -> Gaussian:
        """The Gaussian of a mean and a covariance; less accurate than :meth:`fit` where the rank is not full.

        A zero eigenvalue of the covariance is known to about 1e-16 of the largest, so its root to 1e-8.

        Raises: ValueError for fewer than two features or moments that are not finite; ArithmeticError for a covariance
            with a negative eigenvalue beyond round-off.
        """
        if moments.count < 2:
            raise ValueError(f"moments of {moments.count} image(s); a distribution metric needs at least 2")
        covariance = moments.covariance
        if not np.isfinite(covariance).all() or not np.isfinite(moments.mean).all():
            raise ValueError("moments are not finite: an image had broken features")
        trace = float(np.trace(covariance))
        upper = _cholesky(covariance)
        if upper is None:
            values, vectors = np.linalg.eigh(covariance)
            if values[0] < -NEGATIVE_TOLERANCE * trace:
                raise ArithmeticError(f"covariance with eigenvalue {values[0]:.3e} at trace {trace:.3e}: not of images")
            upper = np.sqrt(values.clip(min=0.0))[:, None] * vectors.T
        return cls(moments.mean, upper, trace, moments.count)


def frechet_distance(x: Values, y: Values) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    ``|mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)`` with covariances divided by N-1, in float64, without
    ``sqrtm``: nothing complex appears, and a set smaller than ``d`` costs a problem of its own size only.

    Args:
        x: features ``[N, d]``, N >= 2.
        y: features ``[M, d]``, M >= 2.

    Returns: the distance, never negative. It depends on N and M: quote them with it.
    Raises: ValueError for broken features (see :func:`checked_values`); ArithmeticError if the result is negative
        beyond round-off, or overflows.
    Source: Heusel et al. 2017 (FID), equation 6.
    """
    checked_pair(x, y, ("x", "y"))
    return frechet_between(Gaussian.fit(x, "x"), Gaussian.fit(y, "y"))


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """Return the distance of two sets of which only count, mean and covariance are kept (:mod:`model.metrics.moments`).

    It equals :func:`frechet_distance` to 1e-10 of the traces with full rank, and to about 1e-6 of them without.
    """
    return frechet_between(Gaussian.of_moments(a), Gaussian.of_moments(b))


def frechet_between(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Frechet distance of two fitted sides; errors and source as :func:`frechet_distance`."""
    if len(a.mean) != len(b.mean):
        raise ValueError(f"one side has {len(a.mean)} features per image, the other {len(b.mean)}")
    shift = a.mean - b.mean
    traces = a.trace + b.trace
    if not float(shift @ shift) + traces < LARGEST:
        raise ArithmeticError(f"traces {traces:.3e}: the features are too large to be squared twice")
    full = len(a.root) == len(b.root) == len(a.mean)
    distance = float(shift @ shift) + traces - 2.0 * _nuclear_norm(a.root @ b.root.T, full)
    if distance < -NEGATIVE_TOLERANCE * traces:
        raise ArithmeticError(f"Frechet distance {distance:.3e} with traces {traces:.3e}: the features are degenerate")
    return max(distance, 0.0)


def _nuclear_norm(product: Features, full: bool) -> float:
    """Sum of singular values of ``R1 R2^T``, which is ``tr (C1 C2)^(1/2)`` for any roots of the two covariances.

    ``full``: both may have full rank; then the eigenvalues of its square, which take half the time, may do.
    """
    if full:
        squares = np.linalg.eigvalsh(product.T @ product)
        if squares[0] > SMALLEST_SQUARE * squares[-1]:
            return float(np.sqrt(squares).sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _cholesky(covariance: Features) -> Features | None:
    """Upper triangle ``U`` with ``U^T U`` the covariance; None where its rank is not full, as far as numbers tell."""
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # not positive definite: no error here, but another form is needed
        return None
    pivots = np.diag(lower) ** 2
    return np.asarray(lower.T, dtype=np.float64) if pivots.min() > SMALLEST_PIVOT * pivots.max() else None


def _triangle(values: Values, mean: Features) -> Features:
    """Root ``[d, d]`` of the covariance by QR of the rows themselves, block by block: nothing is squared."""
    root: Features = np.zeros((0, values.shape[1]))
    for at in range(0, len(values), ROWS):
        root = np.asarray(np.linalg.qr(np.concatenate([root, values[at : at + ROWS] - mean]), mode="r"))
    scaled: Features = root / np.sqrt(len(values) - 1)
    return scaled


def _square(root: Features) -> float:
    return float((root * root).sum())
