"""Perceptual path length: how far a picture moves when its style moves a little. Smooth generators score low."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.metrics.extractors.base import Instrument

EPSILON = 1e-4  # share of the way between two w; the published value
Distance = Callable[[Tensor, Tensor], Tensor]  # pictures [N, 3, H, W] in [-1, 1], not rounded -> [N]


def smooth_distance(instrument: Instrument) -> Distance:
    """Return an instrument's distance between pictures that were never rounded to bytes.

    Steps of 1e-4 vanish in 8 bits, so the uint8 call of the protocols cannot be used. Taken is, in this order, its
    method ``between(first, second)`` (LPIPS on tensors in [-1, 1]), or the squared Euclidean distance of its
    ``net.features(images)``.

    Raises: UsageError if it has neither.
    """
    raise NotImplementedError


def path_lengths(
    draw: Callable[[Tensor], Tensor], starts: Tensor, ends: Tensor, distance: Distance
) -> NDArray[np.float64]:
    """Distance per squared step along the way from one style to another, at its start.

    Args:
        draw: ws ``[B, num_ws, w_dim]`` -> pictures ``[B, 3, H, W]``, with fixed noise.
        starts: ws of the first z, ``[N, num_ws, w_dim]``.
        ends: ws of the second z, same shape.
        distance: see :func:`smooth_distance`.

    Returns: ``[N]``.
    Source: Karras et al. 2019, equation 3, with the conventions of StyleGAN2's ``ppl2_wend``.
    """
    raise NotImplementedError


def path_length(lengths: NDArray[np.float64]) -> float:
    """Mean of :func:`path_lengths` without the lowest and the highest percent: PPL."""
    raise NotImplementedError
