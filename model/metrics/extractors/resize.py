"""Resizing as published metrics do it: how a picture is enlarged changes FID more than many a method does."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.metrics.extractors.base import Floats, Images


def clean(images: Images, size: int) -> Floats:
    """Bicubic, antialiased, each channel in floating point: no rounding to bytes in between.

    Args:
        images: uint8 ``[N, H, W, 3]``.
        size: px.

    Returns: float32 ``[N, 3, size, size]`` in [0, 255].
    Source: Parmar et al. 2022 (On Aliased Resizing and Surprising Subtleties in GAN Evaluation), "clean" FID.
    """
    resized = np.empty((len(images), 3, size, size), dtype=np.float32)
    for image, out in zip(images, resized, strict=True):
        for channel in range(3):
            plane = Image.fromarray(image[:, :, channel].astype(np.float32))
            out[channel] = np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(resized, 0.0, 255.0, out=resized)


def pillow(images: Images, size: int) -> Images:
    """Bicubic, antialiased, to bytes: the usual way into vision transformers.

    Args:
        images: uint8 ``[N, H, W, 3]``.
        size: px.

    Returns: uint8 ``[N, size, size, 3]``.
    """
    shape, how = (size, size), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(i)).resize(shape, how)) for i in images])


def tensorflow(images: Images, size: int) -> Tensor:
    """Bilinear as TensorFlow 1 did it, with which the first FIDs and those of StyleGAN2-ADA were computed.

    Pixels count from their corner, so the picture shifts by half a pixel, and nothing is antialiased.

    Args:
        images: uint8 ``[N, H, W, 3]``.
        size: px.

    Returns: float32 ``[N, 3, size, size]`` in [0, 255].
    """
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()
    top, bottom, down = _neighbours(planes.shape[2], size)
    left, right, across = _neighbours(planes.shape[3], size)
    upper, lower = planes[:, :, top], planes[:, :, bottom]
    upper = upper[..., left] + (upper[..., right] - upper[..., left]) * across
    lower = lower[..., left] + (lower[..., right] - lower[..., left]) * across
    return upper + (lower - upper) * down[:, None]


def _neighbours(before: int, after: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel along an axis: the old ones on both sides of its corner, and the weight of the second."""
    places = torch.arange(after, dtype=torch.float32) * torch.tensor(before / after, dtype=torch.float32)
    first = places.long()
    return first, (first + 1).clamp_max(before - 1), places - first.float()
