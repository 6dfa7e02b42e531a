"""Small changes to face pictures, so that the measuring networks hold on crops and on generated faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BLUR_SIGMA = 1.5  # px at 64 px, at full strength
BLUR_RADIUS = 4
WARP_GRID = 12  # control points per side of the displacement field
UNTOUCHED = 0.35  # share of pictures that each kind of change leaves exactly as they are


@dataclass(frozen=True)
class Jitter:
    """How strong each change may be; every picture draws its own amount, a third of them none."""

    scale: float  # share of the size, both ways
    shift: float  # share of the image side, both ways
    rotate: float  # degrees, both ways
    brightness: float  # of the range [-1, 1]
    contrast: float  # share, both ways
    tint: float  # share per colour channel, both ways
    grey: float  # 1 may remove all colour
    blur: float  # 1 may blur with 1.5 px
    noise: float  # standard deviation, of the range [-1, 1]
    warp: float  # displacement of neighbouring features, share of the image side


@dataclass(frozen=True)
class Augmented:
    """Changed pictures and what is true of them now."""

    images: Tensor  # [N, 3, H, W]
    points: Tensor  # [N, L, 2]
    turned: Tensor  # degrees clockwise, [N]
    damage: Tensor  # blur, noise and warp in [0, 1] of the most allowed, [N, 3]


def augment(images: Tensor, points: Tensor, jitter: Jitter, rng: torch.Generator) -> Augmented:
    """Move, recolour and damage pictures, and move their landmarks along.

    Args:
        images: ``[N, 3, H, W]`` in [-1, 1].
        points: ``[N, L, 2]`` in [0, 1] of the image.
        jitter: the largest amounts.
        rng: the only source of randomness.
    """
    n = len(images)
    amount = _some(n, rng)
    scale, angle, shift_x, shift_y = (_both_ways(n, rng) * amount for _ in range(4))
    degrees = angle * jitter.rotate
    matrix = _similarity(1.0 + scale * jitter.scale, degrees)
    shift = torch.stack([shift_x, shift_y], dim=1) * jitter.shift
    blur, noise, warp = (_some(n, rng) for _ in range(3))
    moved = _move(images, matrix, shift, _displacements(warp * jitter.warp, rng))
    coloured = _recolour(moved, jitter, rng)
    return Augmented(
        images=_noise(_blur(coloured, blur * jitter.blur), noise * jitter.noise, rng).clamp(-1.0, 1.0),
        points=(points - 0.5) @ matrix.mT + 0.5 + shift[:, None],
        turned=degrees,
        damage=torch.stack([blur, noise, warp], dim=1),
    )


def _both_ways(n: int, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng) * 2.0 - 1.0


def _some(n: int, rng: torch.Generator) -> Tensor:
    """Amounts in [0, 1], of which the share ``UNTOUCHED`` is exactly 0."""
    return ((torch.rand(n, generator=rng) - UNTOUCHED) / (1.0 - UNTOUCHED)).clamp_min(0.0)


def _similarity(scale: Tensor, degrees: Tensor) -> Tensor:
    """Matrices ``[N, 2, 2]`` that enlarge by ``scale`` and turn clockwise (y points down)."""
    angle = degrees * (math.pi / 180.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


def _displacements(amount: Tensor, rng: torch.Generator) -> Tensor:
    """Smooth random fields ``[N, 2, G, G]``, in units of half the image side as ``grid_sample`` counts."""
    field = torch.rand(len(amount), 2, WARP_GRID, WARP_GRID, generator=rng) * 2.0 - 1.0
    return field * (2.0 * amount)[:, None, None, None]


def _move(images: Tensor, matrix: Tensor, shift: Tensor, field: Tensor) -> Tensor:
    """Where each output pixel comes from: the inverse similarity, plus the displacement field."""
    inverse = torch.linalg.inv(matrix)
    offset = -(inverse @ (2.0 * shift)[:, :, None])
    grid = functional.affine_grid(torch.cat([inverse, offset], dim=2), list(images.shape), align_corners=False)
    warp = functional.interpolate(field, size=images.shape[-2:], mode="bilinear", align_corners=True)
    places = grid + warp.permute(0, 2, 3, 1)
    return functional.grid_sample(images, places, padding_mode="reflection", align_corners=False)


def _recolour(images: Tensor, jitter: Jitter, rng: torch.Generator) -> Tensor:
    n = len(images)
    contrast = 1.0 + _both_ways(n, rng) * jitter.contrast
    brightness = _both_ways(n, rng) * jitter.brightness
    tint = 1.0 + (torch.rand(n, 3, generator=rng) * 2.0 - 1.0) * jitter.tint
    grey = _some(n, rng) * jitter.grey
    # Tint acts on light, so black stays black.
    tinted = (images + 1.0) * tint[:, :, None, None] - 1.0
    faded = torch.lerp(tinted, tinted.mean(dim=1, keepdim=True).expand_as(tinted), grey[:, None, None, None])
    return faded * contrast[:, None, None, None] + brightness[:, None, None, None]


def _blur(images: Tensor, amount: Tensor) -> Tensor:
    line = torch.exp(-0.5 * (torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1.0) / BLUR_SIGMA) ** 2)
    line = (line / line.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(images, [BLUR_RADIUS] * 4, mode="replicate")
    soft = functional.conv2d(functional.conv2d(padded, line, groups=3), line.mT, groups=3)
    return torch.lerp(images, soft, amount[:, None, None, None])


def _noise(images: Tensor, sigma: Tensor, rng: torch.Generator) -> Tensor:
    return images + torch.randn(images.shape, generator=rng) * sigma[:, None, None, None]
