"""Smooth curves through a few control points."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

_STEPS = 8
_T = np.linspace(0.0, 1.0, _STEPS, endpoint=False)
# Catmull-Rom basis: rows are positions inside a segment, columns the weights of its four control points.
_BASIS = 0.5 * np.stack(
    [
        -_T + 2 * _T**2 - _T**3,
        2 - 5 * _T**2 + 3 * _T**3,
        _T + 4 * _T**2 - 3 * _T**3,
        -(_T**2) + _T**3,
    ],
    axis=1,
)


@lru_cache(maxsize=8)
def circle(count: int) -> tuple[Points, Points]:
    """(cosine, sine) of ``count`` even steps around a circle, each ``[count]``; do not write into them."""
    t = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    return np.cos(t), np.sin(t)


def closed_curve(control: ArrayLike) -> Points:
    """A closed Catmull-Rom curve through ``control [N, D]``, eight points per segment ``[8 N, D]``."""
    points = np.asarray(control, dtype=np.float64)
    n = len(points)
    index = (np.arange(n)[:, None] + np.arange(-1, 3)[None, :]) % n
    return np.asarray(np.einsum("tk,nkd->ntd", _BASIS, points[index]).reshape(n * _STEPS, -1))


def open_curve(control: ArrayLike) -> Points:
    """An open Catmull-Rom curve from the first to the last of ``control [N, D]``."""
    points = np.asarray(control, dtype=np.float64)
    n = len(points)
    index = np.clip(np.arange(n - 1)[:, None] + np.arange(-1, 3)[None, :], 0, n - 1)
    inner = np.einsum("tk,nkd->ntd", _BASIS, points[index]).reshape((n - 1) * _STEPS, -1)
    return np.concatenate([inner, points[-1:]])


def ribbon(spine: Points, widths: ArrayLike) -> Points:
    """The outline of a stroke along ``spine [N, 2]`` whose full width at each point is ``widths [N]``."""
    tangent = np.gradient(spine, axis=0)
    length = np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / length
    half = 0.5 * np.asarray(widths, dtype=np.float64)[:, None]
    return np.concatenate([spine + normal * half, (spine - normal * half)[::-1]])
