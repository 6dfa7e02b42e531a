"""Perceptual path length: how far a picture moves when its style moves a little. Smooth generators score low."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import UsageError
from model.metrics.extractors.base import Instrument

EPSILON = 1e-4  # share of the way between two w; the published value
TRIM = 1.0  # percent left out at each end, as published
BATCH = 8  # steps drawn at once, two pictures each
Distance = Callable[[Tensor, Tensor], Tensor]  # pictures [N, 3, H, W] in [-1, 1], not rounded -> [N]


def smooth_distance(instrument: Instrument) -> Distance:
    """Return an instrument's distance between pictures that were never rounded to bytes.

    Steps of 1e-4 vanish in 8 bits, so the uint8 call of the protocols cannot be used. Taken is, in this order, its
    method ``between(first, second)`` (LPIPS on tensors in [-1, 1]), or the squared Euclidean distance of its
    ``net.features(images)``.

    Raises: UsageError if it has neither.
    """
    between = getattr(instrument, "between", None)
    if between is not None:
        distance: Distance = between
        return distance
    net: Any = getattr(instrument, "net", None)
    if not isinstance(net, nn.Module) or not hasattr(net, "features"):
        raise UsageError(
            f"evaluate.diversity: {instrument.name} measures only pictures of 8 bits, in which the steps of a "
            "path length vanish; set evaluate.path_length to 0, or measure diversity with stylenet or lpips_vgg"
        )
    place, features = next(net.parameters()).device, cast("Callable[[Tensor], Tensor]", net.features)

    def squared(first: Tensor, second: Tensor) -> Tensor:
        a, b = (features(side.to(place)).double() for side in (first, second))
        return (a - b).square().sum(dim=1)

    return squared


@torch.inference_mode()
def path_lengths(
    draw: Callable[[Tensor], Tensor], starts: Tensor, ends: Tensor, distance: Distance
) -> NDArray[np.float64]:
    """Distance per squared step along the way from one style to another, at its start.

    Two pictures are drawn per way, at shares 0 and 1e-4 of it, whole (no crop), in one batch of fixed size, so that
    what is left of float32's round-off is the same for both and for every N.

    Args:
        draw: ws ``[B, num_ws, w_dim]`` -> pictures ``[B, 3, H, W]`` about [-1, 1], with fixed noise and no rounding.
        starts: ws of the first z, ``[N, num_ws, w_dim]``.
        ends: ws of the second z, same shape.
        distance: see :func:`smooth_distance`; it must grow with the square of a small step, as LPIPS does.

    Returns: ``[N]``. Of the shipped generator, float32 changes one number by 0.4 % and their mean by 0.1 %; pictures of
        8 bits would give eleven times the mean.
    Source: Karras et al. 2019, equation 3, with the conventions of StyleGAN2's ``ppl2_wend`` (ends of ways in W).
    """
    if starts.shape != ends.shape or starts.ndim != 3 or not len(starts):
        raise ValueError(f"expected ws [N, num_ws, w_dim] on both ends, got {tuple(starts.shape)}, {tuple(ends.shape)}")
    lengths = []
    for first in range(0, len(starts), BATCH):
        a, b = starts[first : first + BATCH], ends[first : first + BATCH]
        count = len(a)
        a, b = (torch.cat([side, side[-1:].expand(BATCH - count, -1, -1)]) for side in (a, b))
        here, there = draw(torch.cat([a, torch.lerp(a, b, EPSILON)])).chunk(2)
        apart = distance(here, there)[:count]
        lengths.append(apart.double().cpu().numpy() / EPSILON**2)
    return np.concatenate(lengths)


def path_length(lengths: NDArray[np.float64]) -> float:
    """Mean of :func:`path_lengths` without the lowest and the highest percent: PPL.

    Raises: ValueError for lengths that are not finite.
    """
    if not np.isfinite(lengths).all():
        raise ValueError(f"{int((~np.isfinite(lengths)).sum())} of {len(lengths)} path lengths are not finite")
    low = np.percentile(lengths, TRIM, method="lower")
    high = np.percentile(lengths, 100.0 - TRIM, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
