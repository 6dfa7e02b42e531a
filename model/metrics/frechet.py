"""Frechet distance between two sets of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Features = NDArray[np.float64]

# Round-off in the trace term is about 1e-12 of the traces; a result below this share of them is a bug, not round-off.
NEGATIVE_TOLERANCE = 1e-6


def checked_features(name: str, values: Values) -> Features:
    """Return ``values`` as float64 ``[N, d]``.

    Raises: ValueError if it is not a matrix, has fewer than two rows, or holds a number that is not finite (the
        message names the first such row).
    """
    features = np.asarray(values, dtype=np.float64)
    if features.ndim != 2:
        raise ValueError(f"{name}: features have shape {features.shape}, expected [N, d]")
    if len(features) < 2:
        raise ValueError(f"{name}: {len(features)} image(s); a distribution metric needs at least 2")
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        first, count = int(broken.argmax()), int(broken.sum())
        raise ValueError(f"{name}: features of image {first} are not finite ({count} such images)")
    return features


def checked_pair(x: Values, y: Values, names: tuple[str, str]) -> tuple[Features, Features]:
    """Check both sets with :func:`checked_features` and that they have the same ``d`` (else ValueError)."""
    first, second = checked_features(names[0], x), checked_features(names[1], y)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{names[0]} has {first.shape[1]} features per image, {names[1]} has {second.shape[1]}")
    return first, second


def frechet_distance(x: Values, y: Values) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    ``|mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)`` with covariances divided by N-1, in float64, without
    ``sqrtm``: nothing complex appears, and a set smaller than ``d`` costs a problem of its own size only.

    Args:
        x: features ``[N, d]``, N >= 2.
        y: features ``[M, d]``, M >= 2.

    Returns: the distance, never negative. It depends on N and M: quote them with it.
    Raises: ValueError for broken features (see :func:`checked_features`); ArithmeticError if the result is negative
        beyond round-off.
    Source: Heusel et al. 2017 (FID), equation 6.
    """
    first, second = checked_pair(x, y, ("x", "y"))
    a, b = _centred(first), _centred(second)
    traces = float((a * a).sum() + (b * b).sum())
    full_rank = min(len(a), len(b)) >= a.shape[1]
    root = _trace_root_full(a, b) if full_rank else _trace_root_small(a, b)
    shift = first.mean(axis=0) - second.mean(axis=0)
    distance = float(shift @ shift) + traces - 2.0 * root
    if distance < -NEGATIVE_TOLERANCE * traces:
        raise ArithmeticError(f"Frechet distance {distance:.3e} with traces {traces:.3e}: the features are degenerate")
    return max(distance, 0.0)


def _centred(features: Features) -> Features:
    """Rows minus their mean, scaled so that ``A^T A`` is the covariance."""
    centred: Features = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return centred


def _trace_root_full(a: Features, b: Features) -> float:
    """``tr (C1 C2)^(1/2)`` through the symmetric ``S^T C2 S`` with ``S S^T = C1``: for sets of at least ``d`` rows."""
    values, vectors = np.linalg.eigh(a.T @ a)
    root = vectors * np.sqrt(values.clip(min=0.0))
    inner = np.linalg.eigvalsh(root.T @ (b.T @ b) @ root)
    return float(np.sqrt(inner.clip(min=0.0)).sum())


def _trace_root_small(a: Features, b: Features) -> float:
    """The same trace as the nuclear norm of ``A B^T``: nothing is squared, so rank deficiency costs no accuracy."""
    a, b = (_triangle(side) for side in (a, b))
    return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


def _triangle(side: Features) -> Features:
    """An equivalent of ``side`` (same ``A^T A``) with at most ``d`` rows."""
    if len(side) <= side.shape[1]:
        return side
    return np.asarray(np.linalg.qr(side, mode="r"))
