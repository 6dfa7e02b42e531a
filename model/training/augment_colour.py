"""Colour half of the discriminator's augmentation: one affine map of RGB per image.

Source: Karras et al. 2020 (ADA), appendix B, "color transformations".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = torch.ones(3, dtype=torch.float64) / math.sqrt(3.0)  # unit vector of the greys
_GREY = torch.outer(LUMA, LUMA)
_CROSS = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], dtype=torch.float64) / math.sqrt(3.0)


def identity(n: int) -> Tensor:
    """Return ``n`` identity maps ``[n, 4, 4]``, float64."""
    return torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)


def _linear(matrix: Tensor) -> Tensor:
    out = identity(len(matrix))
    out[:, :3, :3] = matrix
    return out


def brightness(shift: Tensor) -> Tensor:
    """Return maps that add ``shift [N]`` to every channel, ``[N, 4, 4]``."""
    out = identity(len(shift))
    out[:, :3, 3] = shift[:, None]
    return out


def contrast(factor: Tensor) -> Tensor:
    """Return maps that multiply every channel by ``factor [N]``, ``[N, 4, 4]``."""
    return _linear(factor[:, None, None] * torch.eye(3, dtype=torch.float64))


def luma_flip(flip: Tensor) -> Tensor:
    """Return maps that mirror luma where ``flip [N]`` is 1 and do nothing where it is 0, ``[N, 4, 4]``."""
    return _linear(torch.eye(3, dtype=torch.float64) - 2.0 * flip[:, None, None] * _GREY)


def hue(angle: Tensor) -> Tensor:
    """Return maps that turn colours about the axis of greys by ``angle [N]`` (radian), ``[N, 4, 4]``."""
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return _linear(cos * torch.eye(3, dtype=torch.float64) + sin * _CROSS + (1.0 - cos) * _GREY)


def saturation(factor: Tensor) -> Tensor:
    """Return maps that multiply the distance from the greys by ``factor [N]``, ``[N, 4, 4]``."""
    return _linear(_GREY + factor[:, None, None] * (torch.eye(3, dtype=torch.float64) - _GREY))


def recolour(images: Tensor, maps: Tensor) -> Tensor:
    """Apply to every image its own map of RGB.

    Args:
        images: ``[N, 3, H, W]``.
        maps: ``[N, 4, 4]`` on the CPU, the last row (0, 0, 0, 1).

    Returns: ``[N, 3, H, W]``.
    """
    n, channels, height, width = images.shape
    maps = maps.to(images.device, images.dtype)
    pixels = images.permute(0, 2, 3, 1).reshape(n, height * width, channels)  # a view of channels_last images
    out = torch.baddbmm(maps[:, None, :3, 3], pixels, maps[:, :3, :3].transpose(1, 2))
    return out.reshape(n, height, width, channels).permute(0, 3, 1, 2)
